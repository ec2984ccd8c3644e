"""Score predictions against true labels: accuracy, confusion, recall, and cluster scores."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from jaxlabel.certificate.interval import Interval


class Evaluation(NamedTuple):
    """The scores of predictions on a test set.

    Attributes:
      accuracy: the fraction of correct predictions.
      interval: the 95% Wilson interval of the accuracy.
      matrix: the number of images per [true class, predicted class].
    """

    accuracy: float
    interval: "Interval"
    matrix: Int[np.ndarray, "classes classes"]


class ClusterScores(NamedTuple):
    """Scores of the agreement of clusters with classes; each is 1 for identical partitions.

    Attributes:
      matched_accuracy: accuracy under the best one-to-one matching of clusters to classes.
      purity: accuracy when each cluster takes its most frequent class.
      homogeneity: 1 - H(class | cluster) / H(class), Rosenberg & Hirschberg 2007, eq. 1.
      normalized_mutual_information: 2 I / (H(class) + H(cluster)).
      adjusted_rand: the Rand index, corrected for chance, Hubert & Arabie 1985, eq. 5.
    """

    matched_accuracy: float
    purity: float
    homogeneity: float
    normalized_mutual_information: float
    adjusted_rand: float


def evaluate(
    labels: Int[np.ndarray, "n"], predictions: Int[np.ndarray, "n"], num_classes: int
) -> Evaluation:
    """Return the accuracy, its 95% interval, and the confusion matrix of predictions.

    Raises:
      ValueError: the arrays are empty or differ in length, or a class is out of range.
    """
    from jaxlabel.certificate.interval import wilson_interval  # imports JAX

    matrix = confusion_matrix(labels, predictions, num_classes)
    correct = int(np.trace(matrix))
    return Evaluation(
        accuracy(labels, predictions), wilson_interval(correct, len(labels)), matrix
    )  # fmt: skip


def accuracy(labels: Int[np.ndarray, "n"], predictions: Int[np.ndarray, "n"]) -> float:
    """Return the fraction of predictions that equal the labels.

    Raises:
      ValueError: the arrays are empty or differ in length.
    """
    labels, predictions = _pair(labels, predictions)
    return float(np.mean(labels == predictions))


def confusion_matrix(
    labels: Int[np.ndarray, "n"], predictions: Int[np.ndarray, "n"], num_classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Return the number of images per [true class, predicted class].

    Raises:
      ValueError: a class is not in 0 ... num_classes - 1, or the arrays are empty or differ in
        length.
    """
    labels, predictions = _pair(labels, predictions)
    for values in (labels, predictions):
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(f"classes {values.min()} to {values.max()} of {num_classes}")
    return _contingency(labels, predictions, num_classes, num_classes)


def per_class_recall(matrix: Int[np.ndarray, "classes classes"]) -> Float[np.ndarray, "classes"]:
    """Return the recall of each class; NaN for a class without images.

    Args:
      matrix: the number of images per [true class, predicted class].
    """
    totals = matrix.sum(axis=1)
    shares = np.full(len(matrix), np.nan)
    return np.divide(np.diag(matrix), totals, out=shares, where=totals > 0)


def matched_accuracy(labels: Int[np.ndarray, "n"], clusters: Int[np.ndarray, "n"]) -> float:
    """Return the accuracy under the best one-to-one matching of clusters to classes.

    The matching is found by the Hungarian algorithm (Kuhn 1955). With more clusters than classes,
    the images of unmatched clusters count as wrong.
    """
    return clustering_scores(labels, clusters).matched_accuracy


def clustering_scores(
    labels: Int[np.ndarray, "n"], clusters: Int[np.ndarray, "n"]
) -> ClusterScores:
    """Return scores of how well clusters agree with classes, whatever their numbering."""
    from scipy.optimize import linear_sum_assignment

    labels, clusters = _pair(labels, clusters)
    classes, label_ids = np.unique(labels, return_inverse=True)
    names, cluster_ids = np.unique(clusters, return_inverse=True)
    table = _contingency(label_ids, cluster_ids, len(classes), len(names))
    n = len(labels)
    matched = table[linear_sum_assignment(table, maximize=True)].sum()
    of_class, of_cluster = _entropy(table.sum(axis=1)), _entropy(table.sum(axis=0))
    shared = of_class + of_cluster - _entropy(table.ravel())
    return ClusterScores(
        matched_accuracy=float(matched / n),
        purity=float(table.max(axis=0).sum() / n),
        homogeneity=float(shared / of_class) if of_class > 0 else 1.0,
        normalized_mutual_information=(
            float(2 * shared / (of_class + of_cluster)) if of_class + of_cluster > 0 else 1.0
        ),
        adjusted_rand=_adjusted_rand(table),
    )


def knn_accuracy(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    test_features: Float[np.ndarray, "m d"],
    test_labels: Int[np.ndarray, "m"],
    *,
    num_neighbours: int = 20,
    temperature: float | None = None,
) -> float:
    """Return the test accuracy of a vote among the nearest training images by cosine similarity.

    The score measures the quality of features; it uses all training labels.

    Args:
      features: a row per training image.
      labels: the label of each training image.
      test_features: a row per test image.
      test_labels: the label of each test image.
      num_neighbours: the number of training images that vote on a test image.
      temperature: the vote of a neighbour with cosine similarity s weighs exp(s / temperature) (Wu
        et al. 2018, section 3.4); None gives each vote the weight 1. The first class wins a tie.
    """
    import jax.numpy as jnp

    from jaxlabel import cluster

    rows, queries = jnp.asarray(features), jnp.asarray(test_features)
    indices, distances = map(
        np.asarray, cluster.knn(rows, queries, num_neighbours, metric="cosine")
    )
    if temperature is None:
        weights = np.ones_like(distances)
    else:
        weights = np.exp((distances[:, :1] - distances) / temperature)
    classes, label_ids = np.unique(np.asarray(labels), return_inverse=True)
    votes = np.zeros((len(queries), len(classes)))
    np.add.at(votes, (np.arange(len(queries))[:, None], label_ids[indices]), weights)
    return accuracy(test_labels, classes[votes.argmax(axis=1)])


def _adjusted_rand(table: Int[np.ndarray, "classes k"]) -> float:
    """Return the Rand index, corrected for chance, of a table of counts [class, cluster]."""

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1.0) / 2).sum())

    together, of_class, of_cluster = (
        pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    )  # fmt: skip
    possible = pairs(np.array([table.sum()]))
    expected = of_class * of_cluster / possible if possible else 0.0
    largest = (of_class + of_cluster) / 2
    return (together - expected) / (largest - expected) if largest != expected else 1.0


def _entropy(counts: Int[np.ndarray, "k"]) -> float:
    """Return the entropy in nats of the distribution that is proportional to counts."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _contingency(
    rows: Int[np.ndarray, "n"], columns: Int[np.ndarray, "n"], num_rows: int, num_columns: int
) -> Int[np.ndarray, "num_rows num_columns"]:
    """Return how often each pair of values (rows[i], columns[i]) occurs."""
    cells = np.bincount(rows * num_columns + columns, minlength=num_rows * num_columns)
    return cells.reshape(num_rows, num_columns)


def _pair(
    labels: Int[np.ndarray, "n"], predictions: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Return labels and predictions as int64 arrays.

    Raises:
      ValueError: the arrays are empty, not one-dimensional, or differ in length.
    """
    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    if labels.shape != predictions.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"shapes {labels.shape} and {predictions.shape}: one label per prediction")
    return labels, predictions
