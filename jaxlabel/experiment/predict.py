"""Labels for new images from a finished run: its model is loaded, not trained again."""

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
from jaxlabel.data.dataset import Dataset, Options
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.experiment.run import METHODS
from jaxlabel.predictor import predict_probabilities
from jaxlabel.runlog import checkpoints

SPLITS = ("test", "train", "all")
COLUMNS = ("split", "index", "file", "label", "probability")


class Trained(NamedTuple):
    """A run's model, and what it takes and gives."""

    model: Any
    config: Any
    classes: tuple[str, ...]
    shape: tuple[int, ...]  # of an image
    gives: str  # "classes" or "clusters"


def load(workdir: Path, say: Callable[[str], None] = print) -> Trained:
    """The model of the finished run in `workdir`.

    Raises:
      UsageError: the run is not finished, or was made by another version of jaxlabel.
      JaxlabelError: its checkpoint is missing or does not fit.
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
        _restored(workdir, like, say), config, classes, shape, result.get("gives", "classes")
    )


def _restored(workdir: Path, like: Any, say: Callable[[str], None]) -> Any:
    folder = workdir / "checkpoints" / "predictor"
    found = None
    if folder.is_dir():
        manager = checkpoints.open_manager(folder)
        found = checkpoints.restore(manager, folder, like, say, remove=False)
        manager.close()
    if found is None:
        raise JaxlabelError(f"{folder} holds no model: train again in another --workdir")
    return found[1]


def predict(
    workdir: Path, spec: str, out: Path, *, split: str = "", data_dir: str | None = None
) -> str:
    """A line that says what was predicted; a CSV file with a row per image is in `out`.

    Images are read as the run read its own: resized and converted where its settings say so.

    Args:
      split: test, train or all; empty: test where there are test images, else train.

    Raises:
      UsageError: the run is not finished, or its images had another shape.
      DataError: the images cannot be read.
    """
    if split and split not in SPLITS:
        raise UsageError(f"--split={split}: it takes one of {', '.join(SPLITS)}")
    _check_free(out)
    trained = load(workdir)
    if isinstance(trained.model, pretext.Representation):
        raise UsageError(f"{workdir} learned features, no classes: there is nothing to predict")
    given = {name: getattr(trained.config, name) for name in Options._fields}
    given["folder_labels"] = False  # sub-folders' names are of no use here, so none is needed
    options = Options(**given | ({} if data_dir is None else {"data_dir": data_dir}))
    dataset = data.load(spec, options)
    shape = dataset.train_images.shape[1:]
    if shape != trained.shape:
        raise UsageError(
            f"{spec} has images of {_size(shape)}, the run learned from {_size(trained.shape)}: "
            "convert them, or train with config.image_size and config.image_mode set"
        )
    split = split or ("test" if len(dataset.test_images) else "train")
    images = {"train": dataset.train_images, "test": dataset.test_images}
    chosen = {name: images[name] for name in (images if split == "all" else [split])}
    found = {
        name: predict_probabilities(trained.model, part)
        for name, part in chosen.items()
        if len(part)
    }
    if not found:
        raise UsageError(f"{spec} has no {split} images")
    width = next(iter(found.values())).shape[1]
    names = trained.classes
    if trained.gives == "clusters" or width != len(names):  # clusters, or a class without a name
        names = tuple(f"cluster {number}" for number in range(width))
    files.write(out, table(found, names, dataset))
    count = sum(map(len, found.values()))
    return f"{count} images of {dataset.name} ({split}) labelled by {workdir}: {out}"


def _check_free(out: Path) -> None:
    """Refuses to write over anything but predictions."""
    if out.is_dir() or not out.name:
        raise UsageError(f"--out={out} is a folder: name a file in it")
    if out.exists():
        with files.refusals(out), out.open("rb") as file:
            begins = file.read(100).decode("utf-8", "replace")
        if begins and not begins.startswith(",".join(COLUMNS)):
            raise UsageError(f"--out={out} is there and holds no predictions: name another file")


def table(
    found: dict[str, Float[np.ndarray, "n classes"]], classes: tuple[str, ...], dataset: Dataset
) -> str:
    """The CSV: where the image is, its label, that label's probability, and each class's."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    each = [f"probability {name}" for name in classes]
    writer.writerow([*COLUMNS, *each])
    writer.writerows(_rows(found, classes, dataset))
    return text.getvalue()


def _rows(
    found: dict[str, Float[np.ndarray, "n classes"]], classes: tuple[str, ...], dataset: Dataset
) -> Iterator[list[Any]]:
    for split, shares in found.items():
        paths = dataset.paths if split == "train" else ()
        for index, row in enumerate(shares):
            best = int(row.argmax())
            numbers = [f"{share:.6f}" for share in row]
            place = paths[index] if paths else ""
            yield [split, index, place, classes[best], numbers[best], *numbers]


def _name(config: type) -> str:
    """What result.json calls the method of a Config class."""
    return config.__module__.removeprefix("jaxlabel.methods.")


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'rgb'}"
