"""The result of a finished run: a classifier, its labels, the purchases and the certificate."""

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from jaxlabel import files
from jaxlabel.api.images import like_training
from jaxlabel.api.labels import Vocabulary
from jaxlabel.api.progress import LOGGER
from jaxlabel.api.running import Place, path_of
from jaxlabel.data.dataset import options_of
from jaxlabel.errors import JaxlabelError, UsageError, reason_of
from jaxlabel.experiment import outside_features
from jaxlabel.experiment import predict as prediction
from jaxlabel.oracle.ledger import Spending
from jaxlabel.predictor import predict_probabilities
from jaxlabel.report import write_report
from jaxlabel.report.run import labels_used
from jaxlabel.runlog.workdir import check_is_replaceable

# What `Result.save` copies: no database of labels, no questions.csv, and no pictures but those of
# the report. Only the final model of the folder checkpoints is copied.
SAVED = (
    "config.json", "result.json", "metrics.jsonl", "session.json", "images.json",
    "label_kinds.json", "report.html", "clusters.csv", "artifacts", "checkpoints", "tensorboard",
    "model.safetensors",  # of a bundle that was loaded
)  # fmt: skip


class Certificate(NamedTuple):
    """A certificate of a run: with probability `confidence`, the accuracy is at least `low`.

    It comes from an audit: the run bought labels of random images and compared them with the
    predictions.

    Attributes:
      low, high: the ends of the confidence interval of the accuracy, as fractions.
      estimate: the estimated accuracy, as a fraction.
      target: the accuracy that the user asked for, as a fraction.
      confidence: the probability with which such an interval contains the accuracy.
      of: the images for which the accuracy holds. "the pool": the training images that were not
        labelled before the audit. "new images": images from the same distribution.
      labels: the number of labels that the audits of the run bought.
    """

    low: float
    high: float
    estimate: float
    target: float
    confidence: float
    of: str
    labels: int


class Result:
    """The result of a finished run: a classifier, the labels of the images, and the bought labels.

    The functions `jaxlabel.fit` and `jaxlabel.load` and the method `Session.result` return one.

    Args:
      directory: the work directory of a finished run, or a directory that `save` wrote.

    Raises:
      UsageError: the directory is no path, has no finished run, or one of another version of
        jaxlabel.

    Attributes:
      directory: the absolute path of the directory with the files of the run. For a run without
        `workdir` it is a temporary directory, which is removed with this object; call `save` to
        keep the files.
      record: the content of result.json: all numbers of the run by name.
    """

    def __init__(self, directory: str | Path, _place: Place | None = None):
        self._place = _place  # keeps a temporary directory as long as this object
        self.directory = path_of(directory, "directory")
        record = files.read_json(self.directory / "result.json")
        if record is None:
            raise UsageError(f"{directory} holds no finished run: a run that was stopped continues "
                             "with the same call and the same workdir")  # fmt: skip
        self.record: dict[str, Any] = record
        self._vocabulary = Vocabulary()
        self._vocabulary.recall(self.directory)

    def __repr__(self) -> str:
        """Return a line with the method and the numbers of classes and of labels that it used."""
        origin = ", features from outside" if "features_from_outside" in self.record else ""
        return (f"Result({self.record['method']} on {self.record['dataset']}: "
                f"{len(self.classes)} classes, {labels_used(self.record)} labels"
                f"{origin})")  # fmt: skip

    @property
    def classes(self) -> tuple[Any, ...]:
        """The names of the classes, in the order of the columns of `predict_proba`.

        They are strings, or integers if the labels were integers. A cluster that got no label is
        named "cluster 0", "cluster 1" and so on.
        """
        if self.record.get("gives", "classes") == "clusters":
            count = int(self.record.get("clusters", len(self.record["classes"])))
            return tuple(f"cluster {number}" for number in range(count))
        return self._vocabulary.typed(self.record["classes"])

    def predict_proba(self, images: Any) -> Float[np.ndarray, "n classes"]:
        """Return the probability of each class for each image, as one row per image.

        Args:
          images: an array: uint8 of shape (n, h, w) or (n, h, w, c), or floats from 0 to 1. Or a
            data specification such as "folder:DIR"; its test images are used, or its training
            images if it has no test images. The images must have the size of the training images,
            unless the run resized its images (`image_size`); then these images are resized too.
            If the run learned from features from outside, an array with the features of the images,
            one row per image.

        Raises:
          UsageError: the images have another size, or the run has learned features but no classes.
          DataError: the images are not valid.
        """
        trained = self._trained
        if trained.gives == "features":
            raise UsageError(f"{self.record['method']} learned features, no classes: there is "
                             "nothing to predict")  # fmt: skip
        if trained.config.outside_features:
            inputs = outside_features.from_array(images, self.directory, trained.shape[-1])
            return predict_probabilities(trained.model, inputs)
        options = options_of(trained.config)._replace(intensity=trained.intensity)
        shape = (len(images),) if isinstance(images, list | tuple) else getattr(images, "shape", ())
        if shape[:1] == (0,):
            return np.zeros((0, len(self.classes)), np.float32)
        return predict_probabilities(trained.model, like_training(images, trained.shape, options))

    def predict(self, images: Any) -> Shaped[np.ndarray, "n"]:
        """Return the most probable class of each image.

        Args:
          images: the images, as for `predict_proba`.
        """
        return np.array(self.classes)[self.predict_proba(images).argmax(axis=-1)]

    @cached_property
    def train_labels(self) -> Shaped[np.ndarray, "n"] | None:
        """The class that the run gave to each training image, in the order of the images.

        For images whose label was bought, it is that label. None if the training method gives no
        labels.

        Raises:
          JaxlabelError: the run's file of these labels is damaged.
        """
        path = self.directory / "artifacts" / "train_labels.npz"
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                labels = arrays["labels"]
        except (OSError, *files.DAMAGED_NPZ) as error:
            raise JaxlabelError(f"{path} is damaged ({reason_of(error)})") from error
        return np.array(self._vocabulary.typed(self.record["classes"]))[labels]

    @property
    def labels_spent(self) -> int:
        """The number of labels that the run bought.

        Labels that its account had bought before the run are free and not counted; their number is
        `record["labels_bought_earlier"]`.
        """
        return int(self.record["labels_spent"])

    @property
    def ledger(self) -> tuple[Spending, ...]:
        """The list of purchases: one row (purpose, round, labels, cost) for each purpose and round.

        The purpose is "train", or "certify" for an audit. `labels` is the number of labels bought.
        Labels bought after the end of the run, with the purpose "correct", are not in this list;
        `jaxlabel ledger` shows them.
        """
        return tuple(Spending(**entry) for entry in self.record["ledger"])

    @property
    def certificate(self) -> Certificate | None:
        """The certificate that the accuracy reaches the target; None if nothing was certified."""
        record, config = self.record, self.record["config"]
        if not record.get("certified"):
            return None
        return Certificate(
            record["certified_low"], record["certified_high"], record["certified_estimate"],
            config["target"], config["confidence"], record["certified_of"],
            record["labels_to_certify"],
        )  # fmt: skip

    @property
    def accuracy_estimate(self) -> float | None:
        """The run's estimate of its accuracy, as a fraction; None if there is no estimate.

        If an audit (labels bought for random images) succeeded, it is the estimate of that audit.
        Otherwise it is the training method's own estimate from bought labels. If there is none
        either, it is the mean probability of the predicted classes, which is usually too high.
        """
        for name in ("certified_estimate", "estimate", "confidence"):
            if self.record.get(name) is not None:
                return float(self.record[name])
        return None

    def report(self, path: str | Path) -> Path:
        """Write the report, a single HTML file that can be viewed offline, and return its path.

        Args:
          path: the file to write.

        Raises:
          UsageError: `path` is a directory or no path.
        """
        target = path_of(path, "path")
        if target.is_dir():
            raise UsageError(f"{target} is a directory: name the file of the report")
        return write_report(self.directory, target)

    def save(self, directory: str | Path) -> Path:
        """Copy the result to a directory that `jaxlabel.load` can read, and return its path.

        The copy has the model, all numbers, the class of each training image, the training curves
        and the report, which may show small pictures with their labels. It has no database of
        labels, no questions.csv and no other pictures. If the directory contains a saved result, it
        is replaced.

        Args:
          directory: the directory to write.

        Raises:
          UsageError: `directory` is no path, a file, a link or the work directory of another run,
            or contains other files or the current directory.
          JaxlabelError: the directory cannot be written.
        """
        target = path_of(directory, "directory")
        if target.resolve() == self.directory.resolve():
            return target
        files.replace_folder(
            target,
            lambda new: shutil.copytree(
                self.directory, new, ignore=self._unneeded, dirs_exist_ok=True
            ),
            lambda folder: check_is_replaceable(folder, "saved result", _is_result),
        )
        return target

    def _unneeded(self, folder: str, names: list[str]) -> set[str]:
        """Return which of the files `names` in `folder` are not part of a copy of this result."""
        if Path(folder) == self.directory:
            return set(names) - set(SAVED)
        if Path(folder).name == "checkpoints":
            return set(names) - {"predictor"}
        return {name for name in names if name.endswith(".part")}

    @cached_property
    def _trained(self) -> prediction.Trained:
        return prediction.load(self.directory, LOGGER.warning)


def _is_result(folder: Path) -> bool:
    """Return True if a folder has the settings and the numbers of a finished run."""
    record = files.read_json(folder / "result.json") or {}
    return (folder / "config.json").is_file() and {"method", "config"} <= record.keys()


def load(directory: str | Path) -> Result:
    """Load the result of a finished run.

    Args:
      directory: the work directory of the run, such as "runs/digits" after the command
        `jaxlabel train --workdir=runs/digits`; or a directory that `Result.save` wrote.

    Raises:
      UsageError: the directory has no finished run, or one of another version of jaxlabel.
    """
    return Result(directory)
