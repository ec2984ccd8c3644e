"""Benchmark k-means of jaxlabel against scikit-learn, with equal starts and iterations.

    python scripts/bench_kmeans.py                       # 60,000 synthetic points, 32 dimensions
    python scripts/bench_kmeans.py --data=idx:DIR        # the images' first 32 PCA components

The two libraries run in turn, so that another load on the machine affects both; the ratio is the
median of the ratios of all pairs of runs. The last line of the output is JSON. The exit code is 1
if the inertias differ by more than a fraction of 1e-3.
"""

import argparse
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable

import jax
import numpy as np
import sklearn
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from jaxlabel import cluster


def synthetic_points(num_points: int, num_dimensions: int) -> np.ndarray:
    """Return random points around 1,000 overlapping centres."""
    rng = np.random.default_rng(0)
    centres = 1.5 * rng.standard_normal((1000, num_dimensions))
    points = centres[rng.integers(1000, size=num_points)]
    return (points + rng.standard_normal(points.shape)).astype(np.float32)


def image_components(spec: str, num_dimensions: int) -> np.ndarray:
    """Return the first principal components of a data set's training images."""
    from jaxlabel import data

    pixels = data.load(spec).train_images
    flat = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
    codes = PCA(num_dimensions, svd_solver="covariance_eigh").fit_transform(flat)
    return np.ascontiguousarray(codes, np.float32)


def timed(run: Callable[[], float]) -> tuple[float, float]:
    """Call `run`, which returns an inertia; return the seconds it took and the inertia."""
    time.sleep(0.5)  # the other library's idle threads keep the CPU busy for a while
    start = time.perf_counter()
    inertia = run()
    return time.perf_counter() - start, inertia


def main() -> int:
    """Time k-means, print the result as JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="", help="idx:DIR, digits, ...; empty: synthetic points")
    parser.add_argument("--num-points", type=int, default=60_000, help="number of synthetic points")
    parser.add_argument("--num-dimensions", type=int, default=32)
    parser.add_argument("--num-clusters", type=int, default=256)
    parser.add_argument("--num-iterations", type=int, default=20)
    parser.add_argument("--num-pairs", type=int, default=7)
    args = parser.parse_args()
    d, k, num_iterations = args.num_dimensions, args.num_clusters, args.num_iterations
    features = image_components(args.data, d) if args.data else synthetic_points(args.num_points, d)
    start = features[np.random.default_rng(0).choice(len(features), k, replace=False)]
    device_features, key = jax.device_put(features), jax.random.key(0)

    def ours() -> float:
        result = cluster.kmeans(
            key, device_features, k, init=start, num_iterations=num_iterations, tolerance=0.0
        )
        return float(result.inertia)

    def theirs() -> float:
        model = KMeans(k, init=start, n_init=1, max_iter=num_iterations, tol=0.0, algorithm="lloyd")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that it has not converged, as intended
            return float(model.fit(features).inertia_)

    ours(), theirs()  # the first calls compile and warm the caches
    pairs = [(timed(ours), timed(theirs)) for _ in range(args.num_pairs)]
    (_, inertia), (_, sklearn_inertia) = pairs[0]
    result = {
        "benchmark": "kmeans",
        "data": args.data.partition(":")[0] or "made",
        "num_points": len(features),
        "num_dimensions": d,
        "num_clusters": k,
        "num_iterations": num_iterations,
        "seconds": round(float(np.median([one[0] for one, _ in pairs])), 4),
        "sklearn_seconds": round(float(np.median([other[0] for _, other in pairs])), 4),
        "ratio": round(float(np.median([one[0] / other[0] for one, other in pairs])), 3),
        "ratios": [round(one[0] / other[0], 3) for one, other in pairs],
        "inertia": inertia,
        "sklearn_inertia": sklearn_inertia,
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "sklearn": sklearn.__version__,
        },
        "device": jax.devices()[0].device_kind,
    }
    print(
        f"jaxlabel {result['seconds']} s, scikit-learn {result['sklearn_seconds']} s: "
        f"{result['ratio']} times its time; inertia {inertia:.6g} and {sklearn_inertia:.6g}"
    )
    print(json.dumps(result))
    return int(abs(inertia / sklearn_inertia - 1) > 1e-3)


if __name__ == "__main__":
    sys.exit(main())
