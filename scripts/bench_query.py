"""Benchmark each query strategy: time and peak memory to choose `count` of n points.

    python scripts/bench_query.py                   # choose 100 of 60,000 synthetic points
    python scripts/bench_query.py --data=idx:DIR    # the images' first principal components

Each strategy runs in a separate process. The script measures the seconds of the first call, which
includes compilation, the seconds of a second call, and the peak memory of the process.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np


def synthetic_points(num_points: int, num_dimensions: int) -> np.ndarray:
    """Return random points around 100 overlapping centres."""
    rng = np.random.default_rng(0)
    centres = 1.5 * rng.standard_normal((100, num_dimensions))
    points = centres[rng.integers(100, size=num_points)]
    return (points + rng.standard_normal(points.shape)).astype(np.float32)


def image_components(spec: str, num_dimensions: int) -> np.ndarray:
    """Return the first `num_dimensions` principal components of a data set's training images."""
    import jax.numpy as jnp

    from jaxlabel import data
    from jaxlabel.cluster.pca import fit_pca, project

    pixels = data.load(spec).train_images
    flat = jnp.asarray(pixels.reshape(len(pixels), -1).astype(np.float32) / 255)
    return np.asarray(project(fit_pca(flat, num_dimensions), flat))


def measure(flags: argparse.Namespace) -> dict[str, object]:
    """Measure the seconds and the peak memory of one query strategy in this process."""
    import jax
    import jax.numpy as jnp

    from jaxlabel import query

    if flags.data:
        features = image_components(flags.data, flags.dimensions)
    else:
        features = synthetic_points(flags.points, flags.dimensions)
    rng = np.random.default_rng(1)
    scores = 3 * features @ rng.standard_normal((flags.dimensions, 10)) / flags.dimensions**0.5
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)
    asked = rng.choice(len(features), flags.asked, replace=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for seed in range(2):
        start = time.perf_counter()
        query.select(
            flags.strategy, jax.random.key(seed), jnp.asarray(features), flags.count, asked,
            jnp.asarray(probabilities),
        )  # fmt: skip
        seconds.append(round(time.perf_counter() - start, 2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "strategy": flags.strategy, "n": len(features), "d": flags.dimensions,
        "count": flags.count, "asked": flags.asked, "first_s": seconds[0],
        "second_s": seconds[1], "peak_mb": peak // 1024, "before_mb": before // 1024,
    }  # fmt: skip


def main() -> int:
    """Measure one strategy or all; print one line of JSON for each, and return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="", help="idx:DIR, digits, ...; empty: synthetic points")
    parser.add_argument("--points", type=int, default=60_000, help="number of synthetic points")
    parser.add_argument("--dimensions", type=int, default=64, help="number of features")
    parser.add_argument("--count", type=int, default=100, help="number of points to choose")
    parser.add_argument("--asked", type=int, default=0, help="number of points labelled before")
    parser.add_argument("--strategy", default="", help="strategy to measure; empty: all in turn")
    flags = parser.parse_args()
    if flags.strategy:
        print(json.dumps(measure(flags)))
        return 0
    from jaxlabel.query import STRATEGIES

    for strategy in STRATEGIES:
        command = [sys.executable, __file__, *sys.argv[1:], f"--strategy={strategy}"]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
