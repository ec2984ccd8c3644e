"""Label images with the model of a finished run, which is loaded and not trained again."""

import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from jaxlabel import data, files, pretext
from jaxlabel.data.dataset import Dataset, options_of
from jaxlabel.data.images import with_channels
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.experiment.run import METHODS
from jaxlabel.predictor import predict_probabilities
from jaxlabel.runlog import checkpoints

SPLITS = ("test", "train", "all")
COLUMNS = ("split", "index", "file", "label", "probability")
ERROR = "error"  # the last column: why an image could not be read; empty for all others


class Trained(NamedTuple):
    """The trained model of a finished run.

    Attributes:
      model: the network or committee, as `predictor.predict_probabilities` takes it.
      config: the run's configuration.
      classes: the names of the classes.
      shape: the shape (height, width, channels) of an image that the model takes.
      intensity: the rule LOW:HIGH by which pictures with more than 8 bits were scaled; "" if there
        were none.
      gives: "classes" if the model's outputs are class probabilities, "clusters" if they are
        cluster probabilities.
    """

    model: Any
    config: Any
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    gives: str
    intensity: str = ""


def load(workdir: Path, say: Callable[[str], None] = print) -> Trained:
    """Load the trained model of the finished run in `workdir`.

    Raises:
      UsageError: the run is not finished, or was made by another version of jaxlabel.
      JaxlabelError: the checkpoint of the model is missing or does not fit.
    """
    result = files.read_json(workdir / "result.json")
    if result is None:
        raise UsageError(f"{workdir} holds no finished run: train it to its end first")
    methods = {_name(config): config for config in METHODS}
    if result["method"] not in methods or "image_shape" not in result:
        raise UsageError(
            f"{workdir} was written by another version of jaxlabel: its method is "
            f"{result['method']}; use that version, or train again"
        )
    kind = methods[result["method"]]
    try:
        config = kind(**result["config"])
    except TypeError as error:
        raise UsageError(
            f"{workdir} was written by another version of jaxlabel: {error}"
        ) from error
    classes, shape = tuple(result["classes"]), tuple(result["image_shape"])
    make = sys.modules[kind.__module__].make_classifier(config, shape, max(1, len(classes)))
    like = jax.eval_shape(lambda key: make(nnx.Rngs(key)), jax.random.key(0))
    return Trained(
        _restored(workdir, like, say), config, classes, shape, result.get("gives", "classes"),
        result.get("intensity", ""),
    )  # fmt: skip


def _restored(workdir: Path, like: Any, say: Callable[[str], None]) -> Any:
    """Return the saved model of a run, with the structure of `like`.

    Raises:
      JaxlabelError: there is no readable checkpoint of the model.
    """
    folder = workdir / "checkpoints" / "predictor"
    restored = None
    if folder.is_dir():
        manager = checkpoints.open_manager(folder)
        restored = checkpoints.restore(manager, folder, like, say, remove=False)
        manager.close()
    if restored is None:
        raise JaxlabelError(f"{folder} holds no model: train again in another --workdir")
    return restored[1]


def predict(
    workdir: Path, spec: str, out: Path, *, split: str = "", data_dir: str | None = None,
    skip_unreadable: bool = False,
) -> str:  # fmt: skip
    """Write a CSV file with the predicted label of each image, and return a message for the user.

    The images are resized and converted according to the run's settings; pictures with more than 8
    bits are scaled by the run's rule, and grey images become colour images or the other way round.
    The message says which of this was done, and which files were left out.

    Args:
      workdir: the directory of a finished run.
      spec: the data set, such as "folder:DIR".
      out: the CSV file to write; an existing file is replaced only if it holds predictions.
      split: "test", "train" or "all"; "" stands for the test images if there are any, else for the
        training images.
      data_dir: the directory of tfds data sets; None stands for the run's setting.
      skip_unreadable: True to write an image that cannot be read as a line with an error instead of
        a label. False stands for the run's setting, and by default such an image raises an error.

    Raises:
      UsageError: the run is not finished, its images had another shape, or `out` is taken.
      DataError: the images cannot be read.
    """
    if split and split not in SPLITS:
        raise UsageError(f"--split={split}: it takes one of {', '.join(SPLITS)}")
    _check_free(out)
    trained = load(workdir)
    if isinstance(trained.model, pretext.Representation):
        raise UsageError(f"{workdir} learned features, no classes: there is nothing to predict")
    options = options_of(trained.config)._replace(
        folder_labels=False,  # new images need no sub-folders that name their classes
        intensity=trained.intensity,
    )
    if data_dir is not None:
        options = options._replace(data_dir=data_dir)
    if skip_unreadable:
        options = options._replace(skip_unreadable=True)
    dataset = data.load(spec, options)
    shape = dataset.train_images.shape[1:]
    if shape[:2] != trained.shape[:2]:
        raise UsageError(
            f"{spec} has images of {_size(shape)}, the run learned from {_size(trained.shape)}: "
            "convert them, or train with config.image_size and config.image_mode set"
        )
    notes = [*dataset.notes]
    if shape != trained.shape:
        dataset = dataset._replace(
            train_images=with_channels(dataset.train_images, trained.shape[-1]),
            test_images=with_channels(dataset.test_images, trained.shape[-1]),
        )
        notes.append(f"converted from {_mode(shape)} to {_mode(trained.shape)}, as the run's "
                     "images are")  # fmt: skip
    split = split or ("test" if len(dataset.test_images) else "train")
    images = {"train": dataset.train_images, "test": dataset.test_images}
    chosen = {name: images[name] for name in (images if split == "all" else [split])}
    probabilities = {
        name: predict_probabilities(trained.model, part)
        for name, part in chosen.items()
        if len(part)
    }
    if not probabilities:
        raise UsageError(f"{spec} has no {split} images")
    num_outputs = next(iter(probabilities.values())).shape[1]
    names = trained.classes
    if trained.gives == "clusters" or num_outputs != len(names):
        names = tuple(f"cluster {number}" for number in range(num_outputs))
    unread = [one for one in dataset.unread if one.split in chosen]
    files.write(out, table(probabilities, names, dataset._replace(unread=tuple(unread))))
    count = sum(map(len, probabilities.values()))
    message = f"{count} images of {dataset.name} ({split}) labelled by {workdir}: {out}"
    if unread:
        message += f"; {len(unread)} that cannot be read have a line without a label"
    if num_others := sum(len(part) for name, part in images.items() if name not in chosen):
        message += f"; {num_others} images of the other split are not labelled: --split=all"
    return "\n".join([*notes, message])


def _check_free(out: Path) -> None:
    """Check that a file can be written without replacing anything but predictions.

    Raises:
      UsageError: the path is a folder, or a file that holds something else.
    """
    if out.is_dir() or not out.name:
        raise UsageError(f"--out={out} is a folder: name a file in it")
    if out.exists():
        with files.write_errors(out), out.open("rb") as file:
            beginning = file.read(100).decode("utf-8", "replace")
        if beginning and not beginning.startswith(",".join(COLUMNS)):
            raise UsageError(f"--out={out} is there and holds no predictions: name another file")


def table(
    probabilities: dict[str, Float[np.ndarray, "n classes"]],
    classes: tuple[str, ...],
    dataset: Dataset,
) -> str:
    """Return the CSV text of predictions: a header line, and a line per image.

    Args:
      probabilities: per split ("train" or "test"), a row per image with a column per class.
      classes: the names of the columns.
      dataset: the data set, which gives the files of the images, and those that cannot be read.

    Returns:
      Lines with the split, the index in it, the file if there is one, the most probable class, its
      probability, the probability of each class, and an error. An image that cannot be read has a
      line with its split, its file and the error only.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    each = [f"probability {name}" for name in classes]
    writer.writerow([*COLUMNS, *each, ERROR])
    writer.writerows(_rows(probabilities, classes, dataset))
    return text.getvalue()


def _rows(
    probabilities: dict[str, Float[np.ndarray, "n classes"]],
    classes: tuple[str, ...],
    dataset: Dataset,
) -> Iterator[list[Any]]:
    """Yield the cells of each line of the CSV after the header; see `table`."""
    for split, rows in probabilities.items():
        paths = dataset.paths if split == "train" else dataset.test_paths
        for index, row in enumerate(rows):
            best = int(row.argmax())
            numbers = [f"{probability:.6f}" for probability in row]
            path = paths[index] if paths else ""
            yield [split, index, path, classes[best], numbers[best], *numbers, ""]
    for one in dataset.unread:
        yield [one.split, "", one.file, "", "", *[""] * len(classes), one.reason]


def _name(config: type) -> str:
    """Return the method's name in result.json for a Config class, such as "semisup"."""
    return config.__module__.removeprefix("jaxlabel.methods.")


def _size(shape: tuple[int, ...]) -> str:
    """Return an image shape in words, such as "28x28 grey"."""
    return f"{shape[1]}x{shape[0]} {_mode(shape)}"


def _mode(shape: tuple[int, ...]) -> str:
    """Return the colour mode of an image shape, "grey" or "rgb"."""
    return "grey" if shape[-1] == 1 else "rgb"
