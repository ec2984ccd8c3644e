"""Benchmark the nearest-neighbour search: time and peak memory for a million feature vectors.

    python scripts/bench_knn.py                        # 20,000 queries of 1,000,000 x 128
    python scripts/bench_knn.py --num-queries=2000

The queries are the first feature vectors. The last line of the output is JSON. The exit code is 1
if the peak resident memory of the process, including the features and Python itself, exceeded the
limit. On an accelerator the features are in its memory, and the measured memory is the host's.
"""

import argparse
import json
import platform
import resource
import sys
import time

import jax
import numpy as np

from jaxlabel import cluster


def peak_gigabytes() -> float:
    """Return the peak resident memory of this process so far, in gigabytes."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> int:
    """Time a nearest-neighbour search, print the result as JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num-features", type=int, default=1_000_000)
    parser.add_argument("--num-dimensions", type=int, default=128)
    parser.add_argument("--num-queries", type=int, default=20_000)
    parser.add_argument("--num-neighbours", type=int, default=20)
    parser.add_argument(
        "--limit", type=float, default=3.0, help="peak memory allowed, in gigabytes"
    )
    options = parser.parse_args()
    random = np.random.default_rng(0)
    shape = (options.num_features, options.num_dimensions)
    features = jax.numpy.asarray(random.standard_normal(shape, np.float32))
    before, began = peak_gigabytes(), time.perf_counter()
    indices, _ = cluster.knn(features, features[: options.num_queries], options.num_neighbours)
    is_itself = float(np.mean(np.asarray(indices)[:, 0] == np.arange(options.num_queries)))
    seconds = time.perf_counter() - began
    result = {
        "features": shape, "queries": options.num_queries, "neighbours": options.num_neighbours,
        "peak_gigabytes": round(peak_gigabytes(), 3), "before": round(before, 3),
        "seconds": round(seconds, 1), "nearest_is_itself": is_itself,
        "device": jax.devices()[0].device_kind,
    }  # fmt: skip
    print(json.dumps(result))
    return int(peak_gigabytes() > options.limit)


if __name__ == "__main__":
    sys.exit(main())
