"""Collect the label of each training image of a run, and whether it was bought or predicted."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxlabel import data, files, pretext
from jaxlabel.data.dataset import Dataset, recorded_options
from jaxlabel.data.tables import names_in_source
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.experiment import account, outside_features, purchases
from jaxlabel.experiment.predict import load
from jaxlabel.oracle import LabelStore
from jaxlabel.oracle.ledger import split_purchases
from jaxlabel.predictor import predict_probabilities
from jaxlabel.runlog import dataset_snapshot

BOUGHT, GIVEN, PREDICTED, NOT_SURE = "bought", "given", "predicted", "not sure"


class LabelRow(NamedTuple):
    """The label of a training image, given by a person or predicted.

    Attributes:
      number: the index of the image among the training images.
      item: the id of the image.
      file: the file of the image; empty if the images are not separate files.
      label: the name of the class; empty if nobody gave it and the run has no prediction yet.
      probability: the predicted probability of the class; 1 if the label is no prediction, 0 if
        there is no label.
      known: "bought"; "given" (on a labelling page, in a file or by a program, but not bought yet);
        "predicted"; "not sure" (predicted with a low probability, or not predicted while a person
        was not sure); or "".
      annotator: who gave or bought the label (on the labelling page, a person's name; otherwise the
        user and machine that bought it); empty for a prediction.
      time: when the label was given or bought, in UTC and ISO format; empty for a prediction.
    """

    number: int
    item: str
    file: str
    label: str
    probability: float
    known: str
    annotator: str
    time: str


class ImageLabels(NamedTuple):
    """All training images of a run with their labels.

    Attributes:
      rows: the label of each image.
      images: the images, in the order of the rows.
      classes: the names of the classes.
      name: the name of the data set.
      spec: the data set as the user named it, such as "csv:FILE".
      num_of_others: the number of labels that other runs bought: the run's account bought them
        before the run began or after it had ended, and they are no corrections of it.
    """

    rows: list[LabelRow]
    images: UInt8[np.ndarray, "n h w c"]
    classes: tuple[str, ...]
    name: str
    spec: str
    num_of_others: int = 0

    def shown_rows(self) -> list[LabelRow]:
        """Return the rows with the files as the user's own table names them, if there is one."""
        names = names_in_source(self.spec, [row.file for row in self.rows])
        return [row._replace(file=name) for row, name in zip(self.rows, names, strict=True)]


def collect(workdir: Path, sure: float) -> ImageLabels:
    """Return the labels of a run: those that its account bought, and predictions for all others.

    Until the run has ended, there are no predictions, and labels that were not bought are empty.

    Args:
      workdir: the directory of a run that has started to buy labels.
      sure: the probability below which a predicted label is marked as "not sure".

    Raises:
      UsageError: the run has not started to buy labels, or its model predicts no classes.
      DataError: the images of the run cannot be read.
    """
    settings = files.read_settings(workdir)
    if settings is None:
        raise UsageError(f"{workdir} has asked for no label yet")
    if "data" not in settings:
        raise JaxlabelError(f"{workdir}/config.json is broken, it lacks data: write the data set "
                            "of the run there")  # fmt: skip
    recorded = account.read_run_record(workdir)
    options = recorded_options(settings)
    with account.naming_directory(workdir, settings["data"]):
        dataset = data.load(settings["data"], options)
    dataset = dataset_snapshot.in_first_order(dataset, settings["data"], workdir)
    store = LabelStore(recorded["store"])
    ledger = store.ledger(recorded["account"])
    bought = {row.item: row for row in ledger}
    classes = store.classes(recorded["label_set"])
    predicted = _predictions(workdir, dataset, classes)
    if predicted is not None:
        classes = tuple(dict.fromkeys([*classes, *predicted.names]))
    rows = []
    for number, item in enumerate(map(str, dataset.train_items)):
        file = dataset.paths[number] if dataset.paths else ""
        if (entry := bought.get(item)) is not None:
            rows.append(LabelRow(number, item, file, entry.class_name, 1.0, BOUGHT, entry.asked_by,
                                 entry.asked_time))  # fmt: skip
        elif predicted is None:
            rows.append(LabelRow(number, item, file, "", 0.0, "", "", ""))
        else:
            label, share = predicted.names[predicted.best[number]], predicted.probabilities[number]
            rows.append(predicted_row(number, item, file, label, float(share), sure))
    earlier, _, later = split_purchases(ledger, purchases.own_purchases(workdir))
    return ImageLabels(rows, dataset.train_images, classes, dataset.name, settings["data"],
                       len(earlier) + len(later))  # fmt: skip


class _Predictions(NamedTuple):
    """The most probable class of each training image.

    Attributes:
      names: the names of the classes or clusters that the model predicts.
      best: the index in `names` of the most probable one, for each image.
      probabilities: the probability of the most probable one, for each image.
    """

    names: tuple[str, ...]
    best: np.ndarray
    probabilities: np.ndarray


def _predictions(workdir: Path, dataset: Dataset, classes: tuple[str, ...]) -> _Predictions | None:
    """Return the predictions of the run's model for the training images.

    None is returned if the run has not ended. The names of the classes are those that the database
    has now, `classes`: another run with the same database may have renamed one.
    """
    if not (workdir / "result.json").exists():
        return None
    trained = load(workdir)
    if isinstance(trained.model, pretext.Representation):
        raise UsageError(f"{workdir} learned features, no classes: it has no labels")
    if trained.config.outside_features:
        file = trained.config.outside_features
        with account.naming_directory(workdir, file):
            dataset = outside_features.inputs_of_finished_run(
                file, dataset, workdir, trained.shape[-1]
            )
    shares = predict_probabilities(trained.model, dataset.train_images)
    names = trained.output_names(shares.shape[1])
    if names == trained.classes and len(classes) >= len(names):
        names = classes[: len(names)]  # a renamed class has the same index
    return _Predictions(names, shares.argmax(axis=1), shares.max(axis=1))


def predicted_row(
    number: int, item: str, file: str, label: str, probability: float, sure: float
) -> LabelRow:
    """Return the row of an image whose label is a prediction.

    Args:
      number: the index of the image among the training images.
      item: the id of the image.
      file: the file of the image; empty if the images are not separate files.
      label: the name of the predicted class.
      probability: the predicted probability of this class.
      sure: the probability below which the label is marked as "not sure".
    """
    known = PREDICTED if probability >= sure else NOT_SURE
    return LabelRow(number, item, file, label, probability, known, "", "")
