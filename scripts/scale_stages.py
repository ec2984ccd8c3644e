"""The stages of a run that `scripts/bench_scale.py` measures.

A stage is a function of a folder. It reads from this folder what earlier stages have written, and
returns the function whose time is measured.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NUM_NEIGHBOURS = 15
NUM_COMPONENTS = 64
NUM_CLASSES = 10
NUM_QUERIES = 100
NUM_STEPS = 10
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
    from jaxlabel import cluster

    points = np.load(folder / "features.npy")
    return lambda: np.asarray(cluster.knn(points, None, NUM_NEIGHBOURS)[0])


def neighbours(folder: Path) -> Callable[[], Any]:
    """Find each image's 15 nearest neighbours as a run does: approximately if there are many."""
    from jaxlabel import cluster

    points = np.load(folder / "features.npy")

    def run() -> None:
        found = cluster.nearest_neighbours(points, NUM_NEIGHBOURS)
        np.savez(folder / "neighbours.npz", **found._asdict())

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
        lambda rngs: nets.Classifier(nets.make_encoder("conv", shape, rngs), NUM_CLASSES, rngs),
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
            assert len(oracle.prices) == len(items)
            oracle.ask(np.arange(NUM_QUERIES) + next(starts))

    return run


def _labels(folder: Path) -> np.ndarray:
    from jaxlabel.data.idx import read_idx

    return read_idx(folder / "train-labels-idx1-ubyte").astype(np.int64)


STAGES: dict[str, Stage] = {
    "reading": reading, "features": features, "exact neighbours": exact_neighbours,
    "neighbours": neighbours, "graph": graph,
    "eigenvectors": eigenvectors, "query medoids": query("medoids"),
    "query typiclust": query("typiclust"), "query maxherding": query("maxherding"),
    "query coreset": query("coreset"), "query margin": query("margin"),
    "query badge": query("badge"), "training": training, "prediction": prediction,
    "store": storing, "asking": asking,
}  # fmt: skip
