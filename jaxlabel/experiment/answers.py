"""The type `Answers`: how a run gets labels that its store does not have yet."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from jaxlabel.data.dataset import Dataset
from jaxlabel.oracle import Oracle

if TYPE_CHECKING:
    from jaxlabel.oracle import LabelStore


class RunAgain(Exception):
    """An exception that says that a run must start again from the labels in its store.

    `Answers.answer` raises it if a label names a class that the run did not know, so that its
    networks need another output, or if there is no label for a picture, which the run then leaves
    out. Labels that were bought are kept.
    """


class Answers(NamedTuple):
    """The source of labels of a run that Python code starts with `jaxlabel.fit` or `Session`.

    A run buys labels from its label store, a database. The functions below fill this database.

    Attributes:
      prepare: a function that the run calls once, before it buys labels, with the label store and
        the data set. It may define class names and store labels. None: no function is called.
      answer: a function that the run calls with the label store, the data set, and a list of ids
        of images that have no label in the store. It must store a label for each, or
        raise `RunAgain`. None: the run writes the ids to the file questions.csv instead, and stops.
      oracle: an existing oracle (the object that sells labels and keeps the budget) for the run;
        `prepare` and `answer` are then not called. None: the run makes a new oracle.
      recorded: True if `answer` only looks up labels that exist already, so that nobody is asked.
      classes: the names of all classes in order, if the user has given them.
    """

    prepare: "Callable[[LabelStore, Dataset], None] | None" = None
    answer: "Callable[[LabelStore, Dataset, list[str]], None] | None" = None
    oracle: Oracle | None = None
    recorded: bool = False
    classes: tuple[str, ...] = ()
