"""The peers of jaxlabel that `experiments/peers.py` fits: features, and one function per peer."""

import functools
import resource
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

COMPONENTS = 64
NEIGHBOURS = 7  # LabelSpreading's default
LABEL_SPREADING = "label spreading"
UNKNOWN = -1  # scikit-learn's mark of an image without a label


class Problem(NamedTuple):
    """What a peer is given: the features of all images, and the labels that it may use.

    Attributes:
      folder: the folder of the features' files.
      features: "pixels" or "gradients", the name of the features.
      indices: the labelled images, in the order of purchase.
      labels: their labels.
      seed: the seed of the peer's random numbers.
      counts: how many labels to learn from. Only a peer that chooses its own labels has several.
    """

    folder: str
    features: str
    indices: np.ndarray
    labels: np.ndarray
    seed: int
    counts: tuple[int, ...]


class Fitted(NamedTuple):
    """A peer's predictions of the test images, and what they cost.

    Attributes:
      count: the number of labels.
      predictions: the predicted class of each test image.
      processor_seconds: the processor time of fitting and predicting, without the features.
      wall_seconds: the same, in time on the wall.
      megabytes: the largest memory that the process has had.
      steps: the number of training steps; 0 if the peer counts none.
    """

    count: int
    predictions: np.ndarray
    processor_seconds: float
    wall_seconds: float
    megabytes: float
    steps: int = 0


Table = tuple[np.ndarray, np.ndarray]  # the features of training images, of test images


def principal_components(train: np.ndarray, test: np.ndarray) -> Table:
    """Project on the principal components of the training images, at most 64 of them."""
    pca = PCA(min(COMPONENTS, *train.shape), random_state=0).fit(train)
    return pca.transform(train).astype(np.float32), pca.transform(test).astype(np.float32)


def write_features(folder: Path, train: np.ndarray, test: np.ndarray) -> None:
    """Write `pixels.npz` and `gradients.npz`: 64 principal components of each.

    The gradients are `jaxlabel.nets.oriented_gradients`, which are HOG-like.
    """
    import jax

    from jaxlabel.nets import oriented_gradients

    described = jax.jit(oriented_gradients)

    def gradients(images: np.ndarray) -> np.ndarray:
        parts = [images[i : i + 1000] for i in range(0, len(images), 1000)]
        return np.concatenate([described(np.float32(part) / 255) for part in parts])

    def pixels(images: np.ndarray) -> np.ndarray:
        return np.float32(images).reshape(len(images), -1) / 255

    for name, describe in {"pixels": pixels, "gradients": gradients}.items():
        start = time.process_time()
        first, second = principal_components(describe(train), describe(test))
        np.savez(folder / f"{name}.npz", train=first, test=second,
                 processor_seconds=time.process_time() - start)  # fmt: skip


def write_graph(folder: Path, features: str) -> None:
    """Write the graph that `LabelSpreading(kernel="knn")` makes anew in each of its fits.

    It is the same for each number of labels, so it is computed once, and its processor time is
    added to that of every fit.
    """
    start = time.process_time()
    table = np.load(folder / f"{features}.npz")
    search = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(table["train"])
    for split in ("train", "test"):
        graph = search.kneighbors_graph(table[split], mode="connectivity").astype(np.float32)
        sparse.save_npz(folder / f"{features}_{split}_graph.npz", graph.tocsr())
    np.save(folder / f"{features}_graph_seconds.npy", time.process_time() - start)


def logistic_regression(seed: int) -> LogisticRegression:
    """Return the usual logistic regression of scikit-learn."""
    return LogisticRegression(max_iter=1000, random_state=seed)


def supervised(make: Callable[[int], object], problem: Problem, table: Table) -> np.ndarray:
    """Fit a classifier to the labelled images alone and predict the test images."""
    model = make(problem.seed).fit(table[0][problem.indices], problem.labels)
    return model.predict(table[1])


def self_training(problem: Problem, table: Table) -> np.ndarray:
    """Fit a logistic regression that labels further images where it is confident."""
    model = SelfTrainingClassifier(logistic_regression(problem.seed))
    return model.fit(table[0], _partly_known(problem, len(table[0]))).predict(table[1])


def label_spreading(problem: Problem, table: Table) -> np.ndarray:
    """Spread labels over a graph of neighbours, with the defaults of scikit-learn."""
    graph = {
        len(part): sparse.load_npz(f"{problem.folder}/{problem.features}_{split}_graph.npz")
        for split, part in zip(("train", "test"), table, strict=True)
    }  # fmt: skip

    def kernel(_: np.ndarray, others: np.ndarray) -> sparse.csr_matrix:
        known = graph[len(others)]
        return known if len(others) == len(table[0]) else known.T.tocsr()

    known = _partly_known(problem, len(table[0]))
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        # The defaults end after 30 rounds. An image that no label has reached gets the first class.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LabelSpreading(kernel=kernel).fit(table[0], known).predict(table[1])


def _partly_known(problem: Problem, num_images: int) -> np.ndarray:
    known = np.full(num_images, UNKNOWN)
    known[problem.indices] = problem.labels
    return known


def active_loop(strategy: str, problem: Problem, table: Table) -> Iterator[tuple[int, np.ndarray]]:
    """Let scikit-activeml choose images itself, and predict at each number of labels.

    The classifier is a logistic regression. `problem` has the labels of all images: the loop reads
    those that it asks for. TypiClust clusters with MiniBatchKMeans, as its authors do where there
    are many clusters. Margin sampling begins with random images.
    """
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import RandomSampling, TypiClust, UncertaintySampling
    from sklearn.cluster import MiniBatchKMeans

    options = {"missing_label": UNKNOWN, "random_state": problem.seed}
    classes = np.unique(problem.labels)
    known = np.full(len(table[0]), UNKNOWN)
    model = SklearnClassifier(logistic_regression(problem.seed), classes=classes, **options)
    typical = TypiClust(cluster_algo=MiniBatchKMeans, **options)
    for count in problem.counts:
        wanted = {"X": table[0], "y": known, "batch_size": count - int((known >= 0).sum())}
        if strategy == "TypiClust":
            chosen = typical.query(**wanted)
        elif not (known >= 0).any():
            chosen = RandomSampling(**options).query(**wanted)
        else:
            margin = UncertaintySampling("margin_sampling", **options)
            chosen = margin.query(clf=model, fit_clf=False, **wanted)
        known[chosen] = problem.labels[chosen]
        asked = known >= 0
        model.fit(table[0][asked], known[asked])
        yield count, model.predict(table[1])


SAME_LABELS: dict[str, Callable[[Problem, Table], np.ndarray]] = {
    "logistic regression": functools.partial(supervised, logistic_regression),
    "random forest": functools.partial(
        supervised, lambda seed: RandomForestClassifier(500, random_state=seed)
    ),
    LABEL_SPREADING: label_spreading,
    "self-training": self_training,
    "gradient boosting": functools.partial(
        supervised, lambda seed: HistGradientBoostingClassifier(random_state=seed)
    ),
}
OWN_LABELS = {
    "active learning, margin": functools.partial(active_loop, "margin"),
    "active learning, TypiClust": functools.partial(active_loop, "TypiClust"),
}


def fit(peer: str, problem: Problem) -> Sequence[Fitted]:
    """Fit one peer and return its predictions and their cost, once for each number of labels.

    A child process calls this once, so that the memory is that of this peer alone.
    """
    table = np.load(Path(problem.folder) / f"{problem.features}.npz")
    both = table["train"], table["test"]
    start, wall_start = time.process_time(), time.perf_counter()
    if peer == LABEL_SPREADING:
        start -= float(np.load(f"{problem.folder}/{problem.features}_graph_seconds.npy"))
    if peer in OWN_LABELS:
        stages = OWN_LABELS[peer](problem, both)
    else:
        stages = iter([(problem.counts[0], SAME_LABELS[peer](problem, both))])
    return [
        Fitted(
            count, predictions, time.process_time() - start, time.perf_counter() - wall_start,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )
        for count, predictions in stages
    ]  # fmt: skip
