"""Compare training on images that stay on the disk with training on images in memory.

    python scripts/bench_streaming.py                                  # 400,000 images of 28x28
    python scripts/bench_streaming.py --images=60000 --side=96 --channels=3 --network=resnet

The images are random numbers, written once to a file in a temporary folder. Each measurement runs
in a process of its own, in turn with the images in memory and with images that do not fit: then the
process takes the device's memory for as small as 1 byte, and reads batches from the memory-mapped
file. It takes FreeMatch steps of the given network, and computes the features and probabilities of
some images. The results are the steps and the images per second, on the clock and per processor
second, and the most memory that the process had for itself. The pages of a memory-mapped file do
not count, because the system takes them back when it needs memory. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NUM_LABELS = 100
NUM_CLASSES = 10
PART = 10_000  # images that are written to the file at once


class PeakMemory(threading.Thread):
    """A thread that finds the largest size of the memory that belongs to this process alone."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.gigabytes = 0.0

    def run(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            (own,) = (line.split()[1] for line in lines if line.startswith("RssAnon"))
            self.gigabytes = max(self.gigabytes, int(own) * 1024 / 1e9)
            time.sleep(0.02)


def write_images(file: Path, shape: tuple[int, ...]) -> None:
    """Write random images of the given shape (count, height, width, channels) to an NPY file."""
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    for start in range(0, len(images), PART):
        part = images[start : start + PART]
        part[:] = rng.integers(0, 256, part.shape, np.uint8)
    images.flush()


def rate(count: int, run: Callable[[], Any]) -> tuple[float, float]:
    """Call `run`, and return `count` per second on the clock, and per processor second."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return (
        round(count / (time.perf_counter() - clock), 2),
        round(count / (time.process_time() - processor), 2),
    )


def measure(file: Path, flags: argparse.Namespace) -> dict[str, Any]:
    """Train and predict in this process, and return the speeds and the peak memory."""
    peak = PeakMemory()
    peak.start()
    import jax

    from jaxlabel import nets, train
    from jaxlabel.log import NullLog
    from jaxlabel.nets import devices
    from jaxlabel.predictor import predict_all
    from jaxlabel.semisupervised import training
    from jaxlabel.semisupervised.settings import Settings

    if flags.child == "disk":
        devices.memory = lambda: 1
    images = np.load(file, mmap_mode="r" if flags.child == "disk" else None)
    known, prior = np.arange(NUM_LABELS), np.full(NUM_CLASSES, 1 / NUM_CLASSES)
    targets = np.zeros((len(images), NUM_CLASSES), np.float32)
    data = training.pad(images, known, known % NUM_CLASSES, NUM_LABELS, targets, prior)
    model = train.init(
        lambda rngs: nets.Classifier(
            nets.make_encoder(flags.network, images.shape[1:], rngs, flags.width), NUM_CLASSES, rngs
        ),
        jax.random.key(0),
    )
    settings = Settings(steps=flags.steps)
    step = training.make_step(settings, training.views_of("digits"))
    start = training.start(settings, model, len(images), NUM_CLASSES)
    found: list[Any] = []

    def run(num_steps: int) -> None:
        key = jax.random.key(1)
        state = train.loop(step, start, data, key, NullLog(), name="", num_steps=num_steps)
        found.append(jax.block_until_ready(state))

    run(3)  # compile
    steps = rate(flags.steps, lambda: run(flags.steps))
    some = images[: flags.predict]
    predict_all(model, images[:2048], NUM_CLASSES)  # compile
    predicted = rate(len(some), lambda: predict_all(model, some, NUM_CLASSES))
    digest = sum(float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(found[-1].teacher))
    return {
        "images": flags.child, "steps": steps[0], "steps_by_processor": steps[1],
        "predicted": predicted[0], "predicted_by_processor": predicted[1],
        "gigabytes": round(peak.gigabytes, 3), "sum_of_weights": digest,
    }  # fmt: skip


def main() -> int:
    """Measure both ways in turn, print every measurement and the medians, and return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=400_000)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--network", default="conv")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--predict", type=int, default=40_000, help="images to predict")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.child:
        print(json.dumps(measure(Path(flags.file), flags)))
        return 0
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npy"
        write_images(file, (flags.images, flags.side, flags.side, flags.channels))
        for _ in range(flags.repeats):
            for kind in ("memory", "disk"):
                command = [*sys.argv, f"--child={kind}", f"--file={file}"]
                done = subprocess.run([sys.executable, *command], check=True, capture_output=True)
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                print(json.dumps(rows[-1]), flush=True)
    medians = {
        kind: {
            name: float(np.median([row[name] for row in rows if row["images"] == kind]))
            for name in rows[0]
            if name != "images"
        }
        for kind in ("memory", "disk")
    }
    print(json.dumps(medians))
    return 0


if __name__ == "__main__":
    sys.exit(main())
