"""Compare the speed of exported networks in ONNX Runtime with that of `jaxlabel predict`.

    python scripts/bench_export.py --networks=gradient_conv,fine_gradient_conv

Both label the same random images. ONNX Runtime works as in a bundle's predict.py: each processor
core labels batches of 32 images. The two are timed in turns, several times, and the fastest time of
each counts, because other programs may disturb some of the runs. The ratio is also given in
processor time, which other programs disturb less.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from flax import nnx

from jaxlabel import nets
from jaxlabel.experiment.export.onnx_convert import to_onnx
from jaxlabel.experiment.export.tracing import Program
from jaxlabel.nets.linear import Ensemble
from jaxlabel.predictor import predict_probabilities

BATCH = 32


def onnx_runner(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from images to probabilities that computes as a bundle's predict.py."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> np.ndarray:
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = pool.map(lambda part: session.run(None, {"images": part})[0], parts)
            return np.concatenate(list(rows))

    return run


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds and the seconds of processor time that a function takes."""
    start, work = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start, time.process_time() - work


def compare(name: str, shape: tuple[int, ...], count: int, repeats: int) -> str:
    """Measure one network, and return a line of a table."""
    encoder = nets.make_encoder(name.removesuffix("+mirror"), shape, nnx.Rngs(0))
    model: Any = nets.Classifier(encoder, 10, nnx.Rngs(1))
    if name.endswith("+mirror"):
        model = Ensemble([model], mirror=True)
    images = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)
    run = onnx_runner(to_onnx(Program(model, shape)))
    got, wanted = run(images), predict_probabilities(model, images)
    assert np.array_equal(got.argmax(1), wanted.argmax(1)), name
    both = [(timed(lambda: run(images)), timed(lambda: predict_probabilities(model, images)))
            for _ in range(repeats)]  # fmt: skip
    (wall, work), (jax_wall, jax_work) = np.array(both).min(axis=0)
    return (f"| {name} | {count / wall:,.0f} | {count / jax_wall:,.0f} | {jax_wall / wall:.2f} | "
            f"{jax_work / work:.2f} | {np.abs(got - wanted).max():.1e} |")  # fmt: skip


def main() -> None:
    """Measure each network and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="gradient_conv,fine_gradient_conv,conv,dense")
    parser.add_argument("--shape", default="28,28,1")
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    shape = tuple(map(int, given.shape.split(",")))
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print("| network | ONNX images/s | predict images/s | ratio | ratio (processor time) | "
          "difference |\n|---|---|---|---|---|---|")  # fmt: skip
    for name in given.networks.split(","):
        print(compare(name, shape, given.images, given.repeats), flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
