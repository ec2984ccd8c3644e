"""Score predictions against true labels: accuracy, confusion matrix, recall, and cluster scores."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class ClusterScores(NamedTuple):
    """Scores of how well a clustering agrees with the true classes.

    Each score is 1 if every cluster consists of exactly the images of one class. Higher is better.

    Attributes:
      matched_accuracy: the accuracy when clusters are matched to classes one to one in the best
        possible way and each cluster predicts its class.
      purity: the accuracy when each cluster predicts its most frequent class.
      homogeneity: 1 - H(class | cluster) / H(class), Rosenberg & Hirschberg 2007, eq. 1.
      normalized_mutual_information: 2 I(class; cluster) / (H(class) + H(cluster)).
      adjusted_rand: the Rand index, corrected for chance, Hubert & Arabie 1985, eq. 5.
    """

    matched_accuracy: float
    purity: float
    homogeneity: float
    normalized_mutual_information: float
    adjusted_rand: float


def accuracy(labels: Int[np.ndarray, "n"], predictions: Int[np.ndarray, "n"]) -> float:
    """Return the fraction of images whose predicted class equals the true label.

    Args:
      labels: the true class of each image.
      predictions: the predicted class of each image.

    Raises:
      ValueError: the arrays are empty or differ in length.
    """
    labels, predictions = _checked_pair(labels, predictions)
    return float(np.mean(labels == predictions))


def confusion_matrix(
    labels: Int[np.ndarray, "n"], predictions: Int[np.ndarray, "n"], num_classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Return the confusion matrix: the number of images per [true class, predicted class].

    Args:
      labels: the true class of each image.
      predictions: the predicted class of each image.
      num_classes: the number of classes, which are 0 ... num_classes - 1.

    Raises:
      ValueError: a class is out of range, or the arrays are empty or differ in length.
    """
    labels, predictions = _checked_pair(labels, predictions)
    for values in (labels, predictions):
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(f"classes {values.min()} to {values.max()} of {num_classes}")
    matrix = np.zeros((num_classes, num_classes), int)
    np.add.at(matrix, (labels, predictions), 1)
    return matrix


def per_class_recall(matrix: Int[np.ndarray, "classes classes"]) -> Float[np.ndarray, "classes"]:
    """Return the recall of each class: the fraction of its images that are predicted correctly.

    The recall of a class without images is NaN.

    Args:
      matrix: the confusion matrix: the number of images per [true class, predicted class].
    """
    totals = matrix.sum(axis=1)
    shares = np.full(len(matrix), np.nan)
    return np.divide(np.diag(matrix), totals, out=shares, where=totals > 0)


def clustering_scores(
    labels: Int[np.ndarray, "n"], clusters: Int[np.ndarray, "n"]
) -> ClusterScores:
    """Return several scores of how well a clustering of images agrees with their true classes.

    The scores do not depend on how the clusters are numbered. The one-to-one matching of clusters
    and classes with the highest accuracy is found by the Hungarian algorithm (Kuhn 1955); images of
    unmatched clusters count as wrong.

    Args:
      labels: the true class of each image.
      clusters: the cluster of each image.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics

    labels, clusters = _checked_pair(labels, clusters)
    table = metrics.cluster.contingency_matrix(labels, clusters)
    matched = table[linear_sum_assignment(table, maximize=True)].sum()
    with warnings.catch_warnings():
        # With many clusters of few images, scikit-learn takes their numbers for measurements.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater")
        return ClusterScores(
            matched_accuracy=float(matched / len(labels)),
            purity=float(table.max(axis=0).sum() / len(labels)),
            homogeneity=metrics.homogeneity_score(labels, clusters),
            normalized_mutual_information=metrics.normalized_mutual_info_score(labels, clusters),
            adjusted_rand=metrics.adjusted_rand_score(labels, clusters),
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
    """Return the test accuracy of a k-nearest-neighbour classifier on feature vectors.

    The training images with the highest cosine similarity to a test image vote for their labels,
    and the class with the most votes is predicted. The accuracy measures the quality of the
    features. If classes tie, the smallest label wins.

    Args:
      features: the feature vector of each training image, a row per image.
      labels: the label of each training image.
      test_features: the feature vector of each test image.
      test_labels: the label of each test image.
      num_neighbours: the number of training images that vote on each test image.
      temperature: the vote of a training image with cosine similarity s to the test image has the
        weight exp(s / temperature) (Wu et al. 2018, section 3.4). None: every weight is 1.
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


def _checked_pair(
    labels: Int[np.ndarray, "n"], predictions: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Convert labels and predictions to int64 arrays, and check that their lengths are equal.

    Raises:
      ValueError: the arrays are empty, not one-dimensional, or differ in length.
    """
    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    if labels.shape != predictions.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"shapes {labels.shape} and {predictions.shape}: one label per prediction")
    return labels, predictions
