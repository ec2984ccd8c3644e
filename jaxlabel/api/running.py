"""Run a training method on images in memory, with labels that Python code gives."""

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from jaxlabel import data
from jaxlabel.api.images import checked
from jaxlabel.api.labels import Vocabulary, first_places
from jaxlabel.api.progress import LOGGER
from jaxlabel.data import arrays
from jaxlabel.data.dataset import Dataset
from jaxlabel.errors import UsageError
from jaxlabel.experiment.answers import Answers, RunAgain
from jaxlabel.oracle.named import store_labels
from jaxlabel.oracle.votes import known_labels

if TYPE_CHECKING:
    from jaxlabel.oracle import LabelStore

LARGE = 64  # pixels of a side above which a warning is logged


def path_of(directory: str | Path, what: str) -> Path:
    """Return the absolute path of a directory that the user named; "~" is the home directory.

    Args:
      directory: the directory.
      what: the name of the argument in the user's code, for the error message.

    Raises:
      UsageError: `directory` is neither a string nor a path.
    """
    if not isinstance(directory, str | os.PathLike):
        raise UsageError(f"{what} is {directory!r}: it takes the path of a directory or file")
    return Path(directory).expanduser().absolute()


class Place:
    """The work directory of a run, which is temporary if the user named none.

    A temporary directory is removed when this object is deleted.

    Args:
      workdir: the directory that the user named, or None.

    Attributes:
      path: the absolute path of the directory, which a later change of the current directory does
        not affect.
    """

    def __init__(self, workdir: str | Path | None):
        if workdir:
            self.path = path_of(workdir, "workdir")
            return
        self.path = Path(tempfile.mkdtemp(prefix="jaxlabel-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@contextlib.contextmanager
def specification(images: Any) -> Iterator[str]:
    """Yield a string that names the data set of a run, for use in a `with` block.

    If `images` is such a string already ("digits", "folder:DIR"), it is yielded unchanged. If
    `images` is an array, it is kept in memory under a new name until the `with` block ends.

    Raises:
      DataError: `images` is not a valid array of images.
      UsageError: `images` is a path without the type of the data set.
    """
    if isinstance(images, str):
        data.split_spec(images)  # raises for one that is not known
        yield images
        return
    if isinstance(images, Path):
        raise UsageError(
            f"images is a path: write 'folder:{images}' for a folder of pictures, 'npz:{images}' "
            f"or 'idx:{images}'"
        )
    pixels = checked(images)
    if max(pixels.shape[1:3]) > LARGE:
        LOGGER.warning("images of %dx%d pixels take long to train on: image_size=32 resizes them",
                       pixels.shape[2], pixels.shape[1])  # fmt: skip
    spec = arrays.hold(pixels)
    try:
        yield spec
    finally:
        arrays.release(spec)


def by_question(
    vocabulary: Vocabulary, workdir: Path, ask: Callable[[Int[np.ndarray, "n"]], Any]
) -> Answers:
    """Return an `Answers` object that gets labels by calling the user's function `ask`.

    Args:
      vocabulary: the class names, and the rules by which labels name classes.
      workdir: the work directory of the run.
      ask: a function that returns the labels of the images with the given indices.
    """

    def answer(store: "LabelStore", dataset: Dataset, items: list[str]) -> None:
        names = vocabulary.read(ask(first_places(dataset, items)), len(items), "ask(indices)")
        record(vocabulary, workdir, store, dataset, items, names)

    return Answers(class_definer(vocabulary, workdir), answer, classes=vocabulary.names)


def by_array(vocabulary: Vocabulary, workdir: Path, labels: Any, count: int) -> Answers:
    """Return an `Answers` object that takes the labels that a run buys from the array `labels`.

    All labels are checked at once, but the run knows a class only after it has bought one of its
    labels.

    Args:
      vocabulary: the class names, and the rules by which labels name classes.
      workdir: the work directory of the run.
      labels: the label of each training image.
      count: the number of training images.

    Raises:
      UsageError: the number of labels is not `count`.
      DataError: a label is not a class.
    """
    names = vocabulary.read(labels, count, "ask")
    counting: dict[str, str] = {}  # from item to the label that counts; `prepare` fills it

    def prepare(store: "LabelStore", dataset: Dataset) -> None:
        class_definer(vocabulary, workdir)(store, dataset)
        items = dataset.train_items.tolist()
        counting.update(reversed(list(zip(items, names, strict=True))))  # of equal images the first
        counting.update(known_labels(store, dataset.name, items))
        differing = [i for i, item in enumerate(items) if names[i] != counting[item]]
        if differing:
            LOGGER.warning("%d labels differ from the label in the store or of an earlier equal "
                           "image, which counts; the first is that of image %d", len(differing),
                           differing[0])  # fmt: skip

    def answer(store: "LabelStore", dataset: Dataset, items: list[str]) -> None:
        wanted = [counting[item] for item in items]
        record(vocabulary, workdir, store, dataset, items, wanted)

    return Answers(prepare, answer, recorded=True, classes=vocabulary.names)


def record(
    vocabulary: Vocabulary, workdir: Path, store: "LabelStore", dataset: Dataset,
    items: list[str], names: list[str],
) -> None:  # fmt: skip
    """Store labels that the user gave during a run.

    Args:
      vocabulary: the class names, and the rules by which labels name classes.
      workdir: the work directory of the run.
      store: the database of labels.
      dataset: the images of the run.
      items: the ids of the images to label.
      names: the class name of each of these images.

    Raises:
      RunAgain: a label names a class that the run did not know.
    """
    vocabulary.save(workdir)
    is_new, _ = store_labels(store, dataset.name, items, names)
    if is_new:
        raise RunAgain(f"{len(store.classes(dataset.name))} classes are known now")


def class_definer(vocabulary: Vocabulary, workdir: Path) -> "Callable[[LabelStore, Dataset], None]":
    """Return a function that writes the class names to the label store, if the user gave any.

    It is called with the label store and the data set before the run begins.
    """

    def prepare(store: "LabelStore", dataset: Dataset) -> None:
        if vocabulary.fixed:
            store.define(dataset.name, vocabulary.names)
        vocabulary.save(workdir)

    return prepare
