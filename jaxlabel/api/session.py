"""`jaxlabel.Session`: a run that requests labels from Python code while it trains."""

import contextlib
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Int

from jaxlabel import data
from jaxlabel.api import recipes, running
from jaxlabel.api.labels import Vocabulary, first_places
from jaxlabel.api.progress import LOGGER, LibraryProgress
from jaxlabel.api.result import Result
from jaxlabel.config import RunConfig
from jaxlabel.data.dataset import Dataset, options_of
from jaxlabel.errors import UsageError
from jaxlabel.experiment.answers import Answers, RunAgain
from jaxlabel.experiment.run import run
from jaxlabel.oracle.named import store_labels

if TYPE_CHECKING:
    from jaxlabel.oracle import LabelStore

PATIENCE = 10.0  # seconds that the end of a session waits for its thread to let go


class Closed(BaseException):
    """An exception that ends the thread of a session after `close`; it does not mean an error."""


class Question:
    """The data that the training thread of a session and the user's thread share.

    The training thread waits for labels here. A `Question` has no reference to its session, so that
    an unused session can be deleted.

    Attributes:
      pending: the images that need a label: the index of the image by its id.
      finished: whether the training thread has ended.
      finished_well: whether the training thread has ended with a result.
      error: the exception that ended the training thread, or None.
    """

    def __init__(self, vocabulary: Vocabulary, workdir: Path):
        self.changed = threading.Condition()
        self.pending: dict[str, int] = {}
        self.finished, self.finished_well = False, False
        self.closed, self.new_classes = False, False
        self.error: BaseException | None = None
        self._vocabulary, self._workdir = vocabulary, workdir
        self._store: LabelStore | None = None
        self._dataset: Dataset | None = None

    def wait_for_answers(self, store: "LabelStore", dataset: Dataset, items: list[str]) -> None:
        """Request labels from the user and wait until all of them are stored in `store`.

        The training thread calls this method with the ids of the images to label, `items`.

        Raises:
          RunAgain: a label names a class that the run did not know.
          Closed: the session was closed while this method waited.
        """
        with self.changed:
            self._store, self._dataset = store, dataset
            places = first_places(dataset, items).tolist()
            self.pending, self.new_classes = dict(zip(items, places, strict=True)), False
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.closed or not self.pending)
            self.check()
            if self.new_classes:
                raise RunAgain(f"{len(store.classes(dataset.name))} classes are known now")

    def tell(self, indices: Any, labels: Any) -> None:
        """Check the user's labels for the images `indices`, and store all of them or none."""
        with self.changed:
            if self._store is None or self._dataset is None or not self.pending:
                raise UsageError("no question is open: call ask() first, which waits for one")
            items = self._requested_ids(indices)
            names = self._vocabulary.read(labels, len(items), "labels")
            answers: dict[str, str] = {}
            for item, name in zip(items, names, strict=True):
                if answers.setdefault(item, name) != name:
                    raise UsageError(f"image {self.pending[item]} is told to be {answers[item]} "
                                     f"and {name}: equal images have one label")  # fmt: skip
            self._vocabulary.save(self._workdir)
            is_new, refused = store_labels(
                self._store, self._dataset.name, list(answers), list(answers.values())
            )
            for item in refused:
                LOGGER.warning("image %d has another label in the store, which stays",
                               self.pending[item])  # fmt: skip
            self.new_classes |= is_new
            for item in answers:
                del self.pending[item]
            if not self.pending:
                self.changed.notify_all()

    def _requested_ids(self, indices: Any) -> list[str]:
        """Return the ids of the images `indices`, whose labels the run must have requested.

        Raises:
          UsageError: an index is not valid, or the label of its image was not requested.
        """
        assert self._dataset is not None
        array = np.asarray(indices)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise UsageError(f"indices is {array.dtype} of shape {array.shape}: it takes those "
                             "that ask() returned, or some of them")  # fmt: skip
        known = self._dataset.train_items
        for index in array.tolist():
            if not 0 <= index < len(known) or str(known[index]) not in self.pending:
                raise UsageError(
                    f"image {index} is not asked about now: tell the labels of indices that ask() "
                    f"returned; {len(self.pending)} are open"
                )
        return [str(known[index]) for index in array.tolist()]

    def check(self) -> None:
        """Raise `Closed` if the session was closed."""
        if self.closed:
            raise Closed

    def close(self, thread: threading.Thread) -> None:
        """Make the training thread end, and wait a few seconds until it has ended."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        if thread.is_alive() and thread is not threading.current_thread():
            thread.join(PATIENCE)


class Session:
    """A run that requests labels while it trains, so that a person or a program can give them.

        with jaxlabel.Session(images, budget=100, workdir="runs/mine") as session:
            while (indices := session.ask()) is not None:
                session.tell(indices, [label_of(images[i]) for i in indices])
            result = session.result()

    The training runs in a second thread, so that compiled code and arrays stay in memory while the
    labels are being found. Each call of `tell` saves its labels in the work directory at once. If
    the program is killed, the same call with the same `workdir` continues the run, and labels that
    were given before are not requested again.

    Args:
      images: an array: uint8 of shape (n, h, w) or (n, h, w, c), or floats from 0 to 1. Or a data
        specification such as "folder:DIR", of a data set without labels.
      budget, recipe, target, confidence, seed, workdir, classes, **settings: as in `jaxlabel.fit`.

    Raises:
      UsageError, DataError: an argument is not valid, as in `jaxlabel.fit`. Errors that occur later
        in the training are raised by `ask` and `result`.

    Attributes:
      workdir: the work directory of the run.
    """

    def __init__(
        self,
        images: Any,
        *,
        budget: float | None = None,
        recipe: str = "flagship",
        target: float | None = None,
        confidence: float | None = None,
        seed: int = 0,
        workdir: str | Path | None = None,
        classes: Sequence[Any] | None = None,
        **settings: Any,
    ):
        given = settings | {
            "budget": budget, "target": target, "confidence": confidence, "seed": seed
        }  # fmt: skip
        self._place = running.Place(workdir)
        self.workdir = self._place.path
        vocabulary = Vocabulary(classes)
        vocabulary.recall(self.workdir)
        with contextlib.ExitStack() as images_in_memory:
            spec = images_in_memory.enter_context(running.specification(images))
            config = recipes.configuration(recipe, spec, given)
            if config.labels:
                raise UsageError("labels names a table that answers: call jaxlabel.fit(...)")
            if data.has_labels(config.data, options_of(config)):
                raise UsageError(f"{spec} brings its own labels: call jaxlabel.fit({spec!r})")
            self._question = Question(vocabulary, self.workdir)
            prepare = running.class_definer(vocabulary, self.workdir)
            asked = self._question.wait_for_answers
            answers = Answers(prepare, asked, classes=vocabulary.names)
            self._thread = threading.Thread(
                target=_run_training, name="jaxlabel.Session", daemon=True,
                args=(self._question, config, self.workdir, answers, images_in_memory.pop_all()),
            )  # fmt: skip
        self._finalizer = weakref.finalize(self, self._question.close, self._thread)
        self._thread.start()

    def ask(self) -> Int[np.ndarray, "m"] | None:
        """Wait until the run needs labels, and return the indices of the images to label.

        This takes seconds to minutes, because the networks train in the meantime. Of several images
        with equal pixels, only one is returned. Images whose label was requested before and not
        given yet are returned again.

        Returns:
          The indices, with the most useful image first; None if the run has ended.

        Raises:
          UsageError: the session is closed.
          JaxlabelError: an error ended the run, for example because the budget buys no label.
        """
        question = self._question
        with question.changed:
            question.changed.wait_for(
                lambda: question.pending or question.finished or question.closed
            )
            self._raise_error()
            if question.finished:
                return None
            return np.array(list(question.pending.values()), np.int64)

    def tell(self, indices: Any, labels: Any) -> None:
        """Store labels of images that `ask` returned; the run continues when all of them have one.

        Args:
          indices: some or all of the indices that `ask` returned, in any order.
          labels: for each index, a class name or an integer.

        Raises:
          UsageError: the run does not wait for the label of one of the images, or the numbers of
            labels and indices differ. Nothing is stored.
          DataError: a label is missing or is not a class. Nothing is stored.
        """
        with self._question.changed:
            self._raise_error()
        self._question.tell(indices, labels)

    def result(self) -> Result:
        """Wait until the run has ended and return its result, which contains the classifier.

        Raises:
          UsageError: the run still needs labels, or the session was closed before the run ended.
        """
        indices = self.ask()
        if indices is not None:
            raise UsageError(f"the run asks for {len(indices)} more labels: ask() and tell() them "
                             "first; result() is there when ask() returns None")  # fmt: skip
        return Result(self.workdir, self._place)

    def close(self) -> None:
        """End the training; the labels that were given stay in the work directory."""
        self._finalizer()

    def __enter__(self) -> Self:
        """Return the session, for use in a `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session at the end of a `with` block."""
        self.close()

    def _raise_error(self) -> None:
        if self._question.error is not None:
            raise self._question.error
        if self._question.closed and not self._question.finished_well:
            raise UsageError("the session is closed: make it again with the same workdir to go on")


def _run_training(
    question: Question, config: RunConfig, workdir: Path, answers: Answers,
    images_in_memory: contextlib.ExitStack,
) -> None:  # fmt: skip
    """Run the training in the session's second thread; keep an exception in `question.error`."""
    try:
        with images_in_memory:
            run(config, workdir, answers=answers, progress=LibraryProgress(question.check))
        question.finished_well = True
    except Closed:
        pass
    except BaseException as error:
        question.error = error
    finally:
        with question.changed:
            question.finished, question.pending = True, {}
            question.changed.notify_all()
