"""The result of a finished run: a classifier, its labels, its ledger and its certificate."""

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
from jaxlabel.api.running import Place
from jaxlabel.data.dataset import options_of
from jaxlabel.errors import UsageError
from jaxlabel.experiment import predict as prediction
from jaxlabel.oracle.ledger import Spending
from jaxlabel.predictor import predict_probabilities
from jaxlabel.report import write_report
from jaxlabel.runlog.workdir import check_is_run_directory

NOT_COPIED = (
    "labels.db",
    "labels.db-wal",
    "labels.db-shm",
    ".lock",
    "run.json",
    "session.json.part",
)


class Certificate(NamedTuple):
    """The statement that an audit has proved the accuracy to be at least `low`.

    Attributes:
      low, high: the interval of the accuracy, as fractions; it holds with `confidence`.
      estimate: the accuracy that the audit estimated, as a fraction.
      target: the accuracy that was to be certified, as a fraction.
      confidence: the probability with which such an interval holds.
      of: the images that the accuracy is of: "the pool" (the training images that were not bought
        before the audit) or "new images".
      labels: the number of labels that audits bought.
    """

    low: float
    high: float
    estimate: float
    target: float
    confidence: float
    of: str
    labels: int


class Result:
    """A finished run. `jaxlabel.fit`, `jaxlabel.load` and `Session.result` return one.

    Args:
      directory: the work directory of a finished run, or a directory that `save` wrote.

    Raises:
      UsageError: the directory holds no finished run, or another version's.

    Attributes:
      directory: where the run's files are. Without a `workdir` it is a temporary directory that is
        removed with this object: call `save` to keep it.
      record: the content of result.json: all numbers of the run by name.
    """

    def __init__(self, directory: str | Path, _place: Place | None = None):
        self._place = _place  # keeps a temporary directory as long as this object
        self.directory = Path(directory).expanduser()
        record = files.read_json(self.directory / "result.json")
        if record is None:
            raise UsageError(f"{directory} holds no finished run: a run that was stopped continues "
                             "with the same call and the same workdir")  # fmt: skip
        self.record: dict[str, Any] = record
        self._vocabulary = Vocabulary()
        self._vocabulary.recall(self.directory)

    def __repr__(self) -> str:
        """Return a line with the method, the number of classes and the number of labels."""
        return (f"Result({self.record['method']} on {self.record['dataset']}: "
                f"{len(self.classes)} classes, {self.labels_spent} labels)")  # fmt: skip

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes in the order of `predict_proba`'s columns: strings, or integers if given so.

        Where the run found clusters that no label has named, they are "cluster 0", "cluster 1"...
        """
        if self.record.get("gives", "classes") == "clusters":
            count = int(self.record.get("clusters", len(self.record["classes"])))
            return tuple(f"cluster {number}" for number in range(count))
        return self._vocabulary.typed(self.record["classes"])

    def predict_proba(self, images: Any) -> Float[np.ndarray, "n classes"]:
        """Return the probability of each class for each image; a row sums to 1.

        Args:
          images: uint8 (n, h, w) or (n, h, w, c), or floats from 0 to 1, of the size of the
            training images; or a data specification such as "folder:DIR", of which the test
            images are taken, or the training images where there are no test images. Where the run
            resized its images (`image_size`), these are resized as well.

        Raises:
          UsageError: the images have another size, or the run learned features without classes.
          DataError: the images cannot be used.
        """
        trained = self._trained
        if trained.gives == "features":
            raise UsageError(f"{self.record['method']} learned features, no classes: there is "
                             "nothing to predict")  # fmt: skip
        options = options_of(trained.config)._replace(intensity=trained.intensity)
        if not isinstance(images, str) and np.shape(images)[:1] == (0,):
            return np.zeros((0, len(self.classes)), np.float32)
        return predict_probabilities(trained.model, like_training(images, trained.shape, options))

    def predict(self, images: Any) -> Shaped[np.ndarray, "n"]:
        """Return the most probable class of each image; the argument is `predict_proba`'s."""
        return np.array(self.classes)[self.predict_proba(images).argmax(axis=-1)]

    @cached_property
    def train_labels(self) -> Shaped[np.ndarray, "n"] | None:
        """The class that the run gave to each training image, in the images' order.

        Labels that were bought are in their places. None where the recipe labels no images.
        """
        path = self.directory / "artifacts" / "train_labels.npz"
        if not path.exists():
            return None
        with np.load(path) as arrays:
            return np.array(self._vocabulary.typed(self.record["classes"]))[arrays["labels"]]

    @property
    def labels_spent(self) -> int:
        """The number of labels that were bought."""
        return int(self.record["labels_spent"])

    @property
    def ledger(self) -> tuple[Spending, ...]:
        """What was bought: a row (purpose, round, labels, cost) for each purpose and round."""
        return tuple(Spending(**entry) for entry in self.record["ledger"])

    @property
    def certificate(self) -> Certificate | None:
        """The certificate that the target is reached, or None where nothing was certified."""
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
        """The run's own estimate of its accuracy, as a fraction, or None where it has none.

        It is the estimate of a successful audit; else that of the recipe, from labels that it
        bought; else the mean probability of the model's predictions, which is mostly too high.
        """
        for name in ("certified_estimate", "estimate", "confidence"):
            if self.record.get(name) is not None:
                return float(self.record[name])
        return None

    def report(self, path: str | Path) -> Path:
        """Write the report, one HTML file that opens offline, and return its path."""
        written, target = write_report(self.directory), Path(path).expanduser()
        if target.is_dir():
            raise UsageError(f"{target} is a directory: name the file of the report")
        if target.resolve() != written.resolve():
            files.write(target, written.read_text(encoding="utf-8"))
        return target

    def save(self, directory: str | Path) -> Path:
        """Copy the result into a directory that `jaxlabel.load` reads, and return its path.

        The copy holds the model, the record, the curves and the report; it holds no images and no
        label store. A result that is there is replaced.

        Raises:
          UsageError: the directory holds something else.
        """
        target = Path(directory).expanduser()
        if target.resolve() == self.directory.resolve():
            return target
        check_is_run_directory(target)
        partial = target.with_name(f".{target.name}.part")
        with files.write_errors(target):
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(self.directory, partial, ignore=_unneeded)
            if target.exists():
                shutil.rmtree(target)
            partial.rename(target)
        return target

    @cached_property
    def _trained(self) -> prediction.Trained:
        return prediction.load(self.directory, LOGGER.warning)


def _unneeded(folder: str, names: list[str]) -> set[str]:
    """Return the names that a copy does without: the store, locks, other checkpoints."""
    if Path(folder).name == "checkpoints":
        return set(names) - {"predictor"}
    return {name for name in names if name in NOT_COPIED or name.endswith(".part")}


def load(directory: str | Path) -> Result:
    """Load a finished run from its work directory, or from a directory that `Result.save` wrote.

    Args:
      directory: for instance `runs/digits`, which `jaxlabel train --workdir=runs/digits` wrote.

    Raises:
      UsageError: the directory holds no finished run, or one of another version of jaxlabel.
    """
    return Result(directory)
