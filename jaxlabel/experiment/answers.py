"""Where a run gets the labels that its store lacks, when Python code starts the run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from jaxlabel.data.dataset import Dataset
from jaxlabel.oracle import Oracle

if TYPE_CHECKING:
    from jaxlabel.oracle import LabelStore


class Answers(NamedTuple):
    """The source of labels of a run that `jaxlabel.fit` or `jaxlabel.Session` starts.

    Attributes:
      prepare: a function of the open label store and the data set. The run calls it once, before
        its first question; it may name classes and store labels. None: nothing is prepared.
      answer: a function of the store, the data set, and a list of item ids that have no label. It
        stores their labels and returns. None: the run stops and writes its questions to a file.
      oracle: the oracle to ask instead of one that the run makes; `prepare` and `answer` are then
        not used. None: the run makes its own.
    """

    prepare: "Callable[[LabelStore, Dataset], None] | None" = None
    answer: "Callable[[LabelStore, Dataset, list[str]], None] | None" = None
    oracle: Oracle | None = None
