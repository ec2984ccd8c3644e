"""Measure the accuracies of a finished run with the labels that the data set comes with.

These labels are only used for evaluation: the run did not train on them.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxlabel import data, train
from jaxlabel.certificate.interval import wilson_interval
from jaxlabel.data.dataset import Dataset, Options
from jaxlabel.errors import DataError
from jaxlabel.oracle import LabelStore, votes
from jaxlabel.predictor import Predictor, predict_probabilities
from jaxlabel.report import evaluate
from jaxlabel.runlog import RunLog
from jaxlabel.runlog.dataset_snapshot import order_of


def final_accuracies(
    spec: str, options: Options, dataset: Dataset, store: LabelStore, predictor: Predictor,
    log: RunLog,
) -> dict[str, Any]:  # fmt: skip
    """Measure the accuracies of a finished run with labels that the run did not buy.

    Args:
      spec: the data set, such as "folder:DIR".
      options: how the images are read, such as their size.
      dataset: the images.
      store: the database of labels; it has the true labels of the training images.
      predictor: the trained model, and its predicted labels of the training images if it has any.
      log: the run's log, in which the confusion matrix of the test images is saved.

    Returns:
      Entries of the file result.json, such as "test_accuracy", a fraction. An accuracy is None if
      it cannot be measured, for example because the data set has no labels, or none of its test
      images has one. A model that outputs clusters gets scores of its clustering, and one that
      outputs features gets nearest-neighbour accuracies.
    """
    scores: dict[str, Any] = {"train_label_accuracy": None, "test_accuracy": None,
                              "test_accuracy_interval": None}  # fmt: skip
    if not data.has_labels(spec, options):
        return scores
    if predictor.train_labels is not None:
        scores["train_label_accuracy"] = _train_label_accuracy(
            spec, options, dataset, store, predictor.train_labels
        )
    if not len(dataset.test_images):
        return scores
    try:
        test_labels = data.load_test_labels(spec, options)
    except DataError as error:  # the run is not to fail now, after its training
        log.say(f"no test accuracy: {error}")
        return scores
    labels = _store_numbers(spec, options, store.classes(dataset.name))[test_labels]
    if predictor.gives == "features":
        train_labels = _train_labels(spec, options, dataset, store)
        return scores | _neighbour_accuracies(dataset, predictor, train_labels, labels)
    predictions = predict_probabilities(predictor.model, dataset.test_images).argmax(axis=-1)
    if predictor.gives == "clusters":
        scores |= {"labels_read_by_the_evaluator": "test labels, to match clusters to classes"}
        return scores | evaluate.clustering_scores(labels, predictions)._asdict()
    classes = max(len(store.classes(dataset.name)), int(labels.max()) + 1)
    matrix = evaluate.confusion_matrix(labels, predictions, classes)
    log.arrays("confusion", matrix=matrix)
    interval = wilson_interval(int(np.trace(matrix)), len(labels))
    return scores | {"test_accuracy": evaluate.accuracy(labels, predictions),
                     "test_accuracy_interval": list(interval)}  # fmt: skip


def _train_label_accuracy(
    spec: str, options: Options, dataset: Dataset, store: LabelStore,
    predicted: Int[np.ndarray, "n"],
) -> float | None:  # fmt: skip
    """Return the share of training images whose predicted label is right.

    If the database lacks true labels, as in a run whose labels come from a table, the labels of the
    data set are used. The result is None if the data set lacks some too, or if none of its classes
    is one of the database's.
    """
    accuracy = store.agreement(dataset.name, dataset.train_items, predicted)
    if not math.isnan(accuracy):
        return accuracy
    classes = store.classes(dataset.name)
    try:
        if not set(classes) & set(data.label_names(spec, options)):
            return None
        return evaluate.accuracy(_labels_of_data(spec, options, dataset, classes), predicted)
    except DataError:
        return None


def _train_labels(
    spec: str, options: Options, dataset: Dataset, store: LabelStore
) -> Int[np.ndarray, "n"]:
    """Return the labels of the training images as indices of the database's classes.

    They are read from the database by image id, because the files may be in another order than when
    the run began. If the database lacks some, as in a run whose labels come from a table, they are
    read from the data set.
    """
    items, classes = dataset.train_items.tolist(), store.classes(dataset.name)
    named = votes.known_labels(store, dataset.name, items)
    if set(items) - named.keys():
        return _labels_of_data(spec, options, dataset, classes)
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[named[item]] for item in items])


def _labels_of_data(
    spec: str, options: Options, dataset: Dataset, classes: tuple[str, ...]
) -> Int[np.ndarray, "n"]:
    """Return the labels of the training images that the data set itself comes with.

    Files may be in another order now than when the run began; the result has the order of
    `dataset`. The labels are indices of the database's classes, `classes`.
    """
    labels = _store_numbers(spec, options, classes)[data.load_train_labels(spec, options)]
    if not dataset.paths:  # images without files keep their order
        return labels
    items = data.load(spec, options).train_items.tolist()
    order = order_of(items, dataset.train_items.tolist())
    if order is None:
        raise DataError(f"{spec} holds other images than when the run began")
    return labels[order]


def _store_numbers(
    spec: str, options: Options, classes: tuple[str, ...]
) -> Int[np.ndarray, "names"]:
    """Return, for each class of the data set, the index of the database's class of that name.

    A class that is not in the database has an index after all of them.
    """
    names = data.label_names(spec, options)
    unknown = [name for name in names if name not in classes]
    return np.array([[*classes, *unknown].index(name) for name in names])


def _neighbour_accuracies(
    dataset: Dataset, predictor: Predictor, labels: Int[np.ndarray, "n"],
    test_labels: Int[np.ndarray, "m"],
) -> dict[str, Any]:  # fmt: skip
    """Score a model's features: classify each test image by a vote of its nearest training images.

    Each of these training images votes for its true label, although the run did not buy all of
    these labels.

    Args:
      dataset: the images.
      predictor: the model that computes the features.
      labels: the true label of each training image, as an index of the database's classes.
      test_labels: the true label of each test image, likewise.

    Returns:
      Entries of the file result.json: the test accuracy with equal votes, the test accuracy with
      votes weighted by similarity, and a note that says which labels were used.
    """
    features, test_features = (
        train.apply_batched(train.outputs_of, predictor.model, images)
        for images in (dataset.train_images, dataset.test_images)
    )
    plain, weighted = (
        evaluate.knn_accuracy(features, labels, test_features, test_labels, temperature=temperature)
        for temperature in (None, 0.1)
    )
    return {
        "knn_accuracy": plain,
        "knn_weighted_accuracy": weighted,
        "labels_read_by_the_evaluator": "all training labels, to measure the features",
    }
