"""Measure how the cost of every stage of a run grows with the number of images.

    python scripts/bench_scale.py --data=DIR                        # 1,000 to 100,000 images
    python scripts/bench_scale.py --data=DIR --largest=1000000      # and a million
    python scripts/bench_scale.py --data=DIR --stages=features,neighbours --out=scale.json

DIR is a folder in MNIST's IDX format, such as MNIST or Fashion-MNIST. Its training images are
deformed at random (`jaxlabel.augment`) until there are enough of them. Each stage runs in a process
of its own and leaves what later stages need in a temporary folder, about 1.5 kB per image. A stage
that takes more than `--limit` seconds is stopped, and larger sizes of it are left out.

Measured are the processor seconds of all threads, which other programs on the machine disturb less
than the time on the clock, and the peak memory of the process, with Python and JAX (about 0.3 GB)
and what the stage was given. If the first call took less than 20 processor seconds, the second call
is measured, so that compilation does not count. The exponent is that of the last two sizes: 1 for
linear, 2 for quadratic growth. The last line is JSON.
"""

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NUM_NEIGHBOURS = 15
NUM_COMPONENTS = 64
NUM_CLASSES = 10
NUM_QUERIES = 100
NUM_STEPS = 10
BRIEF = 20.0  # processor seconds below which a second call is measured
Stage = Callable[[Path], Callable[[], Any]]


def make_images(source: str, count: int, folder: Path) -> None:
    """Write an IDX folder of `count` training images: deformed copies of those in `source`."""
    import jax

    from jaxlabel import data
    from jaxlabel.augment import as_float, deform
    from jaxlabel.data.dataset import DEFAULTS

    read = data.read(f"idx:{source}", DEFAULTS)
    originals, labels = read.train.pixels, data.load_train_labels(f"idx:{source}")
    move = deform(max_shift=0.08, max_rotation=0.2, max_scale=0.15)

    @jax.jit
    def deformed(key: jax.Array, images: jax.Array) -> jax.Array:
        return (255 * move(key, as_float(images))).round().astype("uint8")

    rng, parts, chosen = np.random.default_rng(0), [], []
    for start in range(0, count, 1000):
        rows = rng.integers(len(originals), size=1000)
        key = jax.random.fold_in(jax.random.key(0), start)
        parts.append(np.asarray(deformed(key, originals[rows]))[..., 0])
        chosen.append(rows)
    images, owners = np.concatenate(parts)[:count], labels[np.concatenate(chosen)[:count]]
    for stem, array in (("train", (images, owners)), ("t10k", (images[:1000], owners[:1000]))):
        for name, part in zip(("images-idx3", "labels-idx1"), array, strict=True):
            header = bytes([0, 0, 8, part.ndim]) + np.array(part.shape, ">i4").tobytes()
            (folder / f"{stem}-{name}-ubyte").write_bytes(header + part.astype(np.uint8).tobytes())


def reading(folder: Path) -> Callable[[], Any]:
    """Read an IDX folder and compute the ids of its images."""
    from jaxlabel import data

    def run() -> None:
        dataset = data.load(f"idx:{folder}")
        np.save(folder / "images.npy", dataset.train_images)
        np.save(folder / "items.npy", dataset.train_items)

    return run


def features(folder: Path) -> Callable[[], Any]:
    """Compute HOG-like features and project them onto their principal components."""
    from jaxlabel.pretext import input_components

    images = np.load(folder / "images.npy")

    def run() -> None:
        points = input_components(images, NUM_COMPONENTS, "gradients")
        np.save(folder / "features.npy", np.asarray(points))

    return run


def exact_neighbours(folder: Path) -> Callable[[], Any]:
    """Find each image's 15 nearest neighbours among all others, exactly."""
    import jax.numpy as jnp

    from jaxlabel import cluster

    points = jnp.asarray(np.load(folder / "features.npy"))

    def run() -> None:
        indices, distances = map(np.asarray, cluster.knn(points, None, NUM_NEIGHBOURS))
        np.savez(folder / "neighbours.npz", indices=indices, distances=distances)

    return run


def graph(folder: Path) -> Callable[[], Any]:
    """Make the neighbour graph and propagate 100 labels over it by Poisson learning."""
    from jaxlabel import cluster

    found, labels = dict(np.load(folder / "neighbours.npz")), _labels(folder)
    labels[NUM_QUERIES:] = -1

    def run() -> None:
        joined = cluster.knn_graph(found["indices"], found["distances"])
        cluster.poisson_learning(joined, labels, NUM_CLASSES)

    return run


def eigenvectors(folder: Path) -> Callable[[], Any]:
    """Compute the 20 leading eigenvectors of the neighbour graph."""
    from jaxlabel import cluster

    found = dict(np.load(folder / "neighbours.npz"))
    joined = cluster.knn_graph(found["indices"], found["distances"])
    return lambda: cluster.spectral_embedding(joined, 20)


def query(strategy: str) -> Stage:
    """Return the stage that chooses 100 images to label, 100 more than are labelled."""

    def prepare(folder: Path) -> Callable[[], Any]:
        import jax
        import jax.numpy as jnp

        from jaxlabel import query

        points, asked = jnp.asarray(np.load(folder / "features.npy")), np.arange(NUM_QUERIES)
        probabilities = jax.nn.softmax(points[:, :NUM_CLASSES])
        key = jax.random.key(0)
        return lambda: query.select(strategy, key, points, NUM_QUERIES, asked, probabilities)

    return prepare


def _classifier(images: np.ndarray) -> Any:
    import jax

    from jaxlabel import nets, train

    shape = images.shape[1:]
    return train.init(
        lambda rngs: nets.Classifier(nets.make_encoder("convnet", shape, rngs), NUM_CLASSES, rngs),
        jax.random.key(0),
    )


def training(folder: Path) -> Callable[[], Any]:
    """Take 10 steps of FreeMatch, the flagship's training, on a device that holds all images."""
    import jax

    from jaxlabel import train
    from jaxlabel.log import NullLog
    from jaxlabel.semisupervised import training
    from jaxlabel.semisupervised.settings import Settings

    images, labels, settings = np.load(folder / "images.npy"), _labels(folder), Settings()
    known, prior = np.arange(NUM_QUERIES), np.full(NUM_CLASSES, 1 / NUM_CLASSES)
    targets = np.zeros((len(images), NUM_CLASSES))
    arrays = training.pad(images, known, labels[known], NUM_QUERIES, targets, prior)
    step = training.make_step(settings, training.views_of("digits"))
    state = training.start(settings, _classifier(images), len(images), NUM_CLASSES)
    key = jax.random.key(1)
    return lambda: train.loop(step, state, arrays, key, NullLog(), name="", num_steps=NUM_STEPS)


def prediction(folder: Path) -> Callable[[], Any]:
    """Compute the features and the class probabilities of all images by the network."""
    from jaxlabel.predictor import predict_all

    images = np.load(folder / "images.npy")
    model = _classifier(images)
    return lambda: predict_all(model, images, NUM_CLASSES)


def storing(folder: Path) -> Callable[[], Any]:
    """Write the labels of all images into a new label store (SQLite) and open an account."""
    from jaxlabel.oracle import LabelStore

    items, labels, tries = np.load(folder / "items.npy"), _labels(folder), iter(range(9))

    def run() -> None:
        url = f"sqlite:///{folder}/labels{next(tries)}.db"
        with LabelStore(url) as store:
            store.define("images", [str(label) for label in range(NUM_CLASSES)])
            store.add_labels("images", items, labels)
            store.open_account("run", "images", 10 * NUM_QUERIES)
        (folder / "store").write_text(url)

    return run


def asking(folder: Path) -> Callable[[], Any]:
    """Start an oracle as a run does, ask for the prices of all labels, and buy 100 labels."""
    from jaxlabel.oracle import LabelStore, Oracle

    items, url = np.load(folder / "items.npy").tolist(), (folder / "store").read_text()
    starts = iter(range(0, 900, NUM_QUERIES))

    def run() -> None:
        with LabelStore(url) as store:
            oracle = Oracle(store, "run", items, num_classes=NUM_CLASSES)
            oracle.prices
            oracle.ask(np.arange(NUM_QUERIES) + next(starts))

    return run


def _labels(folder: Path) -> np.ndarray:
    from jaxlabel.data.idx import read_idx

    return read_idx(folder / "train-labels-idx1-ubyte").astype(np.int64)


STAGES: dict[str, Stage] = {
    "reading": reading, "features": features, "neighbours": exact_neighbours, "graph": graph,
    "eigenvectors": eigenvectors, "query medoids": query("medoids"),
    "query typiclust": query("typiclust"), "query maxherding": query("maxherding"),
    "query coreset": query("coreset"), "query margin": query("margin"),
    "query badge": query("badge"), "training": training, "prediction": prediction,
    "store": storing, "asking": asking,
}  # fmt: skip


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Run a stage in this process and return its processor seconds, seconds and peak memory."""
    run = STAGES[name](folder)
    for call in (1, 2):
        start, processor = time.perf_counter(), time.process_time()
        run()
        seconds, used = time.perf_counter() - start, time.process_time() - processor
        if used > BRIEF:
            break
    unit = 1 if platform.system() == "Darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return {"processor": round(used, 3), "seconds": round(seconds, 3),
            "gigabytes": round(peak, 3), "call": call}  # fmt: skip


def in_child(arguments: list[str], limit: float) -> dict[str, Any]:
    """Run this script in a child process and return what it prints, or why it printed nothing."""
    command = [sys.executable, __file__, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped after {limit:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"failed": lines[-1][:200]}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def exponent(rows: list[dict[str, Any]], of: str) -> float | None:
    """Return the exponent of growth between the last two sizes, or None if there is only one."""
    good = [row for row in rows if of in row][-2:]
    if len(good) < 2 or min(row[of] for row in good) <= 0:
        return None
    (small, large) = good
    return round(math.log(large[of] / small[of]) / math.log(large["images"] / small["images"]), 2)


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the results as a table in Markdown: a row per stage, a column per size."""
    sizes = sorted({row["images"] for rows in results.values() for row in rows})
    lines = ["| stage | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent |",
             "|---|" + "---|" * (len(sizes) + 1)]  # fmt: skip
    for name, rows in results.items():
        found = {row["images"]: row for row in rows}
        cells = [
            f"{row['processor']:.2f} s, {row['gigabytes']:.2f} GB" if "processor" in row
            else row.get("failed", "not run")
            for row in (found.get(size, {}) for size in sizes)
        ]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {exponent(rows, 'processor')} |")
    return "\n".join(lines)


def main() -> int:
    """Measure the stages at all sizes, print the table and the JSON, and return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="a folder in MNIST's IDX format")
    parser.add_argument("--smallest", type=int, default=1_000, help="the first number of images")
    parser.add_argument("--largest", type=int, default=100_000, help="the last number of images")
    parser.add_argument("--stages", default=",".join(STAGES), help="which stages, with commas")
    parser.add_argument("--limit", type=float, default=600, help="seconds for a stage at a size")
    parser.add_argument("--folder", default="", help="keep the images and arrays in this folder")
    parser.add_argument("--out", default="", help="a file for the JSON")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.child:
        stage, folder = flags.child[0], Path(flags.child[1])
        if stage.isdecimal():
            make_images(flags.data, int(stage), folder)
            print("{}")
        else:
            print(json.dumps(measure(stage, folder)))
        return 0
    if not flags.data or (unknown := set(flags.stages.split(",")) - set(STAGES)):
        parser.error(f"no stage {min(unknown)}" if flags.data else "--data=DIR is needed")
    with tempfile.TemporaryDirectory() as temporary:
        results = run_all(flags, Path(flags.folder or temporary))
    print(table(results))
    record = {"machine": platform.machine(), "cores": os.cpu_count(), "results": results,
              "exponents": {name: exponent(rows, "processor") for name, rows in results.items()}}  # fmt: skip
    if flags.out:
        Path(flags.out).write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))
    return 0


def run_all(flags: argparse.Namespace, place: Path) -> dict[str, list[dict[str, Any]]]:
    """Run the stages at all sizes, each in a child process, and return their measurements."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in flags.stages.split(",")}
    size = flags.smallest
    while size <= flags.largest:
        folder = place / str(size)
        if not (folder / "train-images-idx3-ubyte").exists():
            folder.mkdir(parents=True, exist_ok=True)
            made = in_child([f"--data={flags.data}", "--child", str(size), str(folder)], 3600)
            if made:
                raise SystemExit(f"the images cannot be made: {made['failed']}")
        for name, rows in results.items():
            if rows and "failed" in rows[-1]:
                continue
            rows.append({"images": size, **in_child(["--child", name, str(folder)], flags.limit)})
            print(f"{size:>9,} {name:<17} {rows[-1]}", file=sys.stderr, flush=True)
        size *= 10
    return results


if __name__ == "__main__":
    sys.exit(main())
