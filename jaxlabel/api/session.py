"""`jaxlabel.Session`: ask and tell, for notebooks and services that label while a recipe runs."""

import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Int

from jaxlabel.api import recipes, running
from jaxlabel.api.labels import NewClasses, Vocabulary, first_places, store_labels
from jaxlabel.api.progress import LOGGER, LibraryProgress
from jaxlabel.api.result import Result
from jaxlabel.config import RunConfig
from jaxlabel.data.dataset import Dataset
from jaxlabel.errors import UsageError
from jaxlabel.experiment.answers import Answers

if TYPE_CHECKING:
    from jaxlabel.oracle import LabelStore

PATIENCE = 10.0  # seconds that the end of a session waits for its thread to let go


class Closed(BaseException):
    """Ends the thread of a session that was closed. It is no error of the run's."""


class Question:
    """What the recipe's thread and the caller share; it holds no reference to the session.

    Attributes:
      pending: the ids of the items that have no label yet, and the index of an image of each.
      finished: whether the thread has ended.
      finished_well: whether it has ended with a result.
      error: what ended it, or None.
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

    def prepare(self, store: "LabelStore", dataset: Dataset) -> None:
        """Name the classes in the store, if the caller listed them."""
        if self._vocabulary.fixed:
            store.define(dataset.name, self._vocabulary.names)
        self._vocabulary.save(self._workdir)

    def wait_for_answers(self, store: "LabelStore", dataset: Dataset, items: list[str]) -> None:
        """In the recipe's thread: ask for the labels of the items, and wait until all are stored.

        Raises:
          NewClasses: one of the labels is a class that the run did not know.
          Closed: the session was closed meanwhile.
        """
        with self.changed:
            self._store, self._dataset = store, dataset
            places = first_places(dataset, items).tolist()
            self.pending, self.new_classes = dict(zip(items, places, strict=True)), False
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.closed or not self.pending)
            self.check()
            if self.new_classes:
                raise NewClasses(f"{len(store.classes(dataset.name))} classes are known now")

    def tell(self, indices: Any, labels: Any) -> None:
        """In the caller's thread: check the labels and store them, all or none."""
        with self.changed:
            if self._store is None or self._dataset is None or not self.pending:
                raise UsageError("no question is open: call ask() first, which waits for one")
            items = self._items(indices)
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

    def _items(self, indices: Any) -> list[str]:
        """Return the ids of images that are asked about, or raise a UsageError."""
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
        """Ask the thread to end, and wait some seconds for it."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        if thread.is_alive() and thread is not threading.current_thread():
            thread.join(PATIENCE)


class Session:
    """A run that asks for labels whenever it needs some, and goes on when they are told.

        with jaxlabel.Session(images, budget=100, workdir="runs/mine") as session:
            while (indices := session.ask()) is not None:
                session.tell(indices, [label_of(images[i]) for i in indices])
            result = session.result()

    The recipe runs in a thread of its own, so that compiled code and arrays stay in memory between
    questions. Every `tell` stores its labels in the work directory at once. After a kill, the same
    call with the same `workdir` goes on: labels that were told are not asked for again.

    Args:
      images: uint8 of shape (n, h, w) or (n, h, w, c), floats from 0 to 1, or a data specification
        without labels of its own, such as "folder:DIR".
      budget, recipe, target, confidence, seed, workdir, classes, **settings: as in `jaxlabel.fit`.

    Raises:
      UsageError, DataError: as `jaxlabel.fit`. What the recipe raises later, `ask` and `result`
        raise.

    Attributes:
      workdir: the directory of the run.
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
        holder = running.specification(images)
        spec = holder.__enter__()
        try:
            config = recipes.configuration(recipe, spec, given)
            if running.has_own_labels(config):
                raise UsageError(f"{spec} brings its own labels: call jaxlabel.fit({spec!r})")
            self._question = Question(vocabulary, self.workdir)
            self._thread = threading.Thread(
                target=_work, args=(self._question, config, self.workdir, holder),
                name="jaxlabel.Session", daemon=True,
            )  # fmt: skip
        except BaseException:
            holder.__exit__(None, None, None)
            raise
        self._finalizer = weakref.finalize(self, self._question.close, self._thread)
        self._thread.start()

    def ask(self) -> Int[np.ndarray, "m"] | None:
        """Wait until the recipe needs labels, and return the indices of the images in question.

        Of images that are equal, one is asked about. Called again before all were told, it returns
        those that are still open. Training between two questions takes seconds to minutes.

        Returns:
          Indices of the images, the most wanted first; or None when the run has ended.

        Raises:
          UsageError: the session is closed.
          JaxlabelError: what ended the run, such as a budget that buys no label.
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
        """Store the labels of images that `ask` returned; the run goes on when all are told.

        Args:
          indices: indices that `ask` returned, all or some of them, in any order.
          labels: a class name or an integer for each, in the order of `indices`.

        Raises:
          UsageError: an index that is not asked about, another number of labels than indices, or
            no open question. Nothing is stored.
          DataError: a label that is missing or is no class. Nothing is stored.
        """
        with self._question.changed:
            self._raise_error()
        self._question.tell(indices, labels)

    def result(self) -> Result:
        """Wait for the end of the training and return the classifier.

        Raises:
          UsageError: the run still asks for labels, or the session was closed before its end.
        """
        indices = self.ask()
        if indices is not None:
            raise UsageError(f"the run asks for {len(indices)} more labels: ask() and tell() them "
                             "first; result() is there when ask() returns None")  # fmt: skip
        return Result(self.workdir, self._place)

    def close(self) -> None:
        """End the run's thread and let the work directory go. What was told stays stored."""
        self._finalizer()

    def __enter__(self) -> Self:
        """Return the session itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session."""
        self.close()

    def _raise_error(self) -> None:
        if self._question.error is not None:
            raise self._question.error
        if self._question.closed and not self._question.finished_well:
            raise UsageError("the session is closed: make it again with the same workdir to go on")


def _work(question: Question, config: RunConfig, workdir: Path, holder: Any) -> None:
    """Run the recipe in the session's thread; pass what ends it to the caller."""
    answers = Answers(question.prepare, question.wait_for_answers)
    try:
        running.train(config, workdir, answers, LibraryProgress(question.check))
        question.finished_well = True
    except Closed:
        pass
    except BaseException as error:
        question.error = error
    finally:
        holder.__exit__(None, None, None)
        with question.changed:
            question.finished, question.pending = True, {}
            question.changed.notify_all()
