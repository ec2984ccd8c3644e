"""Run a recipe on images in memory, with labels that Python code gives."""

import contextlib
import logging
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
from jaxlabel.api.labels import NewClasses, Vocabulary, first_places, store_labels
from jaxlabel.config import RunConfig
from jaxlabel.data import arrays
from jaxlabel.data.dataset import Dataset, options_of
from jaxlabel.errors import UsageError
from jaxlabel.experiment.answers import Answers
from jaxlabel.experiment.run import run
from jaxlabel.oracle import Oracle
from jaxlabel.runlog.progress import Progress

if TYPE_CHECKING:
    from jaxlabel.oracle import LabelStore

LARGE = 64  # pixels of a side above which a warning is logged
LOGGER = logging.getLogger("jaxlabel")


class Place:
    """A work directory: the caller's, or a temporary one that is removed with this object.

    Attributes:
      path: the directory.
    """

    def __init__(self, workdir: str | Path | None):
        if workdir:
            self.path = Path(workdir).expanduser()
            return
        self.path = Path(tempfile.mkdtemp(prefix="jaxlabel-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@contextlib.contextmanager
def specification(images: Any) -> Iterator[str]:
    """Yield the data specification of the images; an array is held in memory until the end.

    Raises:
      DataError: the images are neither a specification nor an array of images.
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


def train(config: RunConfig, workdir: Path, answers: Answers, progress: Progress) -> None:
    """Run a configuration to its end, again from its checkpoints whenever a class is new."""
    while True:
        try:
            run(config, workdir, answers=answers, progress=progress)
            return
        except NewClasses as found:
            progress.say(f"{found}: the run continues from its labels with more outputs")


def has_own_labels(config: RunConfig) -> bool:
    """Whether the images of a configuration come with labels, as "digits" does."""
    options = options_of(config)
    return data.has_labels(config.data, options)


def by_question(
    vocabulary: Vocabulary, workdir: Path, ask: Callable[[Int[np.ndarray, "n"]], Any]
) -> Answers:
    """Return the source of labels that calls `ask` with indices and stores what it returns."""

    def answer(store: "LabelStore", dataset: Dataset, items: list[str]) -> None:
        names = vocabulary.read(ask(first_places(dataset, items)), len(items), "ask(indices)")
        record(vocabulary, workdir, store, dataset, items, names)

    return Answers(_define(vocabulary, workdir), answer)


def by_array(vocabulary: Vocabulary, workdir: Path, labels: Any, count: int) -> Answers:
    """Return the source of labels that stores all of `labels` before the run begins.

    Raises:
      UsageError, DataError: the labels do not fit the `count` images.
    """
    names = vocabulary.read(labels, count, "ask")

    def prepare(store: "LabelStore", dataset: Dataset) -> None:
        _define(vocabulary, workdir)(store, dataset)
        _, refused = store_labels(store, dataset.name, dataset.train_items.tolist(), names)
        if refused:
            LOGGER.warning("%d labels differ from an earlier label of an equal image, which "
                           "stays; the first is that of image %d", len(refused),
                           first_places(dataset, refused[:1])[0])  # fmt: skip

    return Answers(prepare)


def by_oracle(oracle: Oracle, config: RunConfig, items: list[str]) -> Answers:
    """Return the source of labels that is an oracle of the caller's.

    Raises:
      UsageError: its images are others, or in another order.
    """
    if oracle.items != items:
        raise UsageError("the oracle's items are not those of the images, in their order: make it "
                         "with the item ids of the same images")  # fmt: skip
    return Answers(oracle=oracle)


def record(
    vocabulary: Vocabulary, workdir: Path, store: "LabelStore", dataset: Dataset,
    items: list[str], names: list[str],
) -> None:  # fmt: skip
    """Store labels that were given during a run.

    Raises:
      NewClasses: one of them is a class that the run did not know.
    """
    vocabulary.save(workdir)
    is_new, _ = store_labels(store, dataset.name, items, names)
    if is_new:
        raise NewClasses(f"{len(store.classes(dataset.name))} classes are known now")


def _define(vocabulary: Vocabulary, workdir: Path) -> "Callable[[LabelStore, Dataset], None]":
    """Return a function that names the classes in the store, if the caller listed them."""

    def prepare(store: "LabelStore", dataset: Dataset) -> None:
        vocabulary.save(workdir)
        if vocabulary.fixed:
            store.define(dataset.name, vocabulary.names)

    return prepare
