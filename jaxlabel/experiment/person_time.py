"""Limit a run to a number of minutes of a person's time (the setting `minutes`).

Minutes are turned into labels by one rule: the minutes, divided by the mean time per label so far,
are the number of labels that the run may buy in all. Before the first answer, a label counts as
FIRST_GUESS seconds. The time of a purchase is the time of the answers for its labels, and of the
"not sure" answers since the previous purchase. Several runs can share a label store; only answers
given on this run's page or in its files count. If an answer took more than PAUSE seconds, it is
assumed to hold a pause and its time is unknown. The time of a label that another run's people gave
is unknown too. Labels with unknown times are left out of the mean.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from jaxlabel import data, files
from jaxlabel.config import RunConfig
from jaxlabel.data.dataset import Dataset, options_of
from jaxlabel.errors import UsageError
from jaxlabel.experiment.answers import Answers
from jaxlabel.oracle import Oracle

if TYPE_CHECKING:
    from jaxlabel.oracle import LabelStore
    from jaxlabel.oracle.votes import Vote

FIRST_GUESS = 5.0  # seconds per label, assumed before there are answers
PAUSE = 60.0  # seconds; if an answer took longer, the person is assumed to have paused
TIMES = "answer_times.json"  # in the work directory: the time of the labels of each purchase
FROM_FILES = "file_times.json"  # in the work directory: the seconds of each answer from a file
ON_PAGE = "answered_on_page.txt"  # in the work directory: the items answered on the run's page


def labels_in(minutes: float, seconds: float, num_labels: int) -> float:
    """Return how many labels people give in a number of minutes at their speed so far.

    >>> labels_in(30, seconds=400.0, num_labels=40)  # 10 s per label
    180.0

    Args:
      minutes: the minutes.
      seconds: the time that the labels so far took, in seconds.
      num_labels: the number of labels with a known time; if 0, a label takes FIRST_GUESS seconds.
    """
    return 60 * minutes / (seconds / num_labels if num_labels and seconds else FIRST_GUESS)


def labels_left(minutes: float, votes: Sequence["Vote"], num_labels: int) -> float:
    """Return how many more labels people can give; infinity if `minutes` is 0.

    Several people's answers for one image count as one label, as in `TimedOracle`.

    Args:
      minutes: the minutes for all labels; 0 for no limit.
      votes: the answers that people have given on the page of this run (see `votes_of_run`).
      num_labels: the number of labels that the run has bought, or that people have given for it.
    """
    if not minutes:
        return math.inf
    timed = [vote for vote in votes if counted([vote.seconds])]
    named = {vote.item for vote in timed if vote.class_name != ""}  # "" stands for "not sure"
    return labels_in(minutes, sum(vote.seconds for vote in timed), len(named)) - num_labels


def note_page(workdir: Path, items: Sequence[str]) -> None:
    """Record that people answer about items (ids of pictures) on the page of this run.

    Call it before the answers are stored, so that no answer is missing if the process is killed.

    Raises:
      JaxlabelError: the run's directory `workdir` cannot be written.
    """
    path = workdir / ON_PAGE
    with files.write_errors(path), path.open("a", encoding="utf-8") as file:
        file.write("\n".join(["", *items, ""]))  # the first newline ends a half-written line


def note_earlier_answers(workdir: Path, store: "LabelStore", label_set: str) -> None:
    """Create the file of `note_page` in a run's directory if an earlier version did not write it.

    If the label store is the run's own file, all answers so far count as given on its page. If it
    is not, several runs may share the store, so no answer counts.

    Args:
      workdir: the run's directory.
      store: the label store with the answers.
      label_set: the name of the label set.

    Raises:
      JaxlabelError: the directory cannot be written.
    """
    from jaxlabel.oracle.votes import all_votes

    if (workdir / ON_PAGE).exists():
        return
    own = Path(store.engine.url.database or "").resolve() == (workdir / "labels.db").resolve()
    note_page(workdir, [vote.item for vote in all_votes(store, label_set)] if own else [])


def votes_of_run(workdir: Path, votes: Iterable["Vote"]) -> list["Vote"]:
    """Return those of the votes (answers on a page) that people gave on the page of this run.

    Args:
      workdir: the run's directory, with the file that `note_page` writes.
      votes: the votes in the label store, which several runs may share.
    """
    path = workdir / ON_PAGE
    own = set(path.read_text(encoding="utf-8").split("\n")) if path.exists() else set[str]()
    return [vote for vote in votes if vote.item in own]


def counted(seconds: Iterable[float]) -> list[float]:
    """Return the times of answers that are known and hold no pause, in seconds."""
    return [value for value in seconds if 0 < value <= PAUSE]


def check(settings: RunConfig, dataset: Dataset, answers: Answers) -> None:
    """Raise an error if a run's budget is in minutes, but no person's time can be counted.

    Args:
      settings: the configuration of the run.
      dataset: the images, with the prices of their labels if there are any.
      answers: the source of labels; without functions and an oracle, it is a person.

    Raises:
      UsageError: labels come from the data, a table or a program, or they have prices.
    """
    if not settings.minutes:
        return
    own = data.has_labels(settings.data, options_of(settings))
    sources = answers.prepare, answers.answer, answers.oracle
    if own or settings.labels or any(source is not None for source in sources):
        raise UsageError(f"a budget of {settings.minutes:g} minutes is for a person who answers on "
                         "the page or in questions.csv, but no person answers here: set "
                         "config.budget to a number")  # fmt: skip
    if dataset.costs is not None:
        raise UsageError(f"{settings.data} has prices, so that the budget is a sum of prices: set "
                         "it to a number instead of minutes")  # fmt: skip


class TimedOracle(Oracle):
    """An oracle whose `remaining` budget is also limited by the time that people have left.

    The time of each purchase is written to a file once. A continued run reads the file, so that it
    makes the same decisions.

    Args:
      minutes: how many minutes people may take for all labels.
      workdir: the run's directory.
      arguments: positional arguments of `Oracle`.
      options: named arguments of `Oracle`.
    """

    def __init__(self, minutes: float, workdir: Path, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._minutes, self._workdir = minutes, workdir
        note_earlier_answers(workdir, self.store, self._label_set)
        recorded = files.read_json(workdir / TIMES) or {"purchases": []}
        self._purchases: list[dict[str, Any]] = recorded["purchases"]

    def ask(
        self, indices: Int[np.ndarray, "n"], *, purpose: str = "train", round: int = 0
    ) -> Int[np.ndarray, "n"]:
        """Buy labels like `Oracle.ask`, and record the time that people took for new ones."""
        labels = super().ask(indices, purpose=purpose, round=round)
        self._record(set(self._items[np.asarray(indices, int)].tolist()))
        return labels

    @property
    def remaining(self) -> float:
        """Return the number of labels that the budget and the remaining time allow."""
        seconds, num_labels = self._time_of(self._bought)
        paid = self.num_bought - self.num_free
        left = labels_in(self._minutes, seconds, num_labels) - paid
        return max(0.0, min(super().remaining, round(left, 6)))

    @property
    def seconds(self) -> float:
        """Return the counted time that people took for the labels asked for, in seconds."""
        return self._time_of(self._bought)[0]

    def _time_of(self, items: Collection[str]) -> tuple[float, int]:
        """Return the time of purchases in seconds, and their number of labels with a known time."""
        counted_here = [p for p in self._purchases if all(item in items for item in p["items"])]
        return sum(p["seconds"] for p in counted_here), sum(p["timed"] for p in counted_here)

    def _record(self, items: set[str]) -> None:
        """Write the time that people took for the labels of new items to the file of times."""
        known = {item for purchase in self._purchases for item in purchase["items"]}
        new = sorted(items - known)
        if not new:
            return
        asked = {item for purchase in self._purchases for item in purchase["not_sure"]}
        times, unsure = answer_times(self.store, self._label_set, self._workdir)
        unsure = {item: value for item, value in unsure.items() if item not in asked}
        timed = [times[item] for item in new if item in times]
        seconds = round(sum(timed) + (sum(unsure.values()) if timed else 0.0), 3)
        self._purchases.append({"items": new, "not_sure": sorted(unsure) if timed else [],
                                "seconds": seconds, "timed": len(timed)})  # fmt: skip
        files.write_json(self._workdir / TIMES, {"purchases": self._purchases})


def answer_times(
    store: "LabelStore", label_set: str, workdir: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the counted seconds of answers for this run, by item, for labels and for "not sure".

    Args:
      store: the label store, which has the answers given on the pages of all runs that use it.
      label_set: the name of the label set.
      workdir: the run's directory. It has the times of answers from files, and says which answers
        were given on the page of this run.
    """
    from jaxlabel.oracle.votes import NOT_SURE, all_votes

    times = dict[str, float](files.read_json(workdir / FROM_FILES) or {})
    unsure: dict[str, float] = {}
    for vote in votes_of_run(workdir, all_votes(store, label_set)):
        for value in counted([vote.seconds]):
            kind = unsure if vote.class_name == NOT_SURE else times
            kind[vote.item] = kind.get(vote.item, 0.0) + value
    return times, unsure


def note_file(workdir: Path, asked: Path, answered: Path, items: Sequence[str]) -> None:
    """Record the time that a person took for answers in a file, in equal parts.

    The time begins with the question, or with the record of an earlier file if that is later. It
    ends when the file of answers was last saved. If the run has written its questions after that,
    the time is unknown. Nothing is recorded if the run has no budget of minutes.

    Args:
      workdir: the run's directory.
      asked: a file that the run wrote when it asked its last question.
      answered: the file with the answers.
      items: the items that this file, and none before it, has answered.
    """
    config = files.read_json(workdir / "config.json") or {}
    if not config.get("minutes") or not items or not asked.exists():
        return
    before = files.read_json(workdir / FROM_FILES) or {}
    begin = max(path.stat().st_mtime for path in (asked, workdir / FROM_FILES) if path.exists())
    times = counted([(answered.stat().st_mtime - begin) / len(items)] * len(items))
    new = dict(zip(items, times, strict=False))
    files.write_json(workdir / FROM_FILES, before | new)


def entries(oracle: Oracle) -> dict[str, float]:
    """Return the entry of result.json for people's time; {} without a budget of minutes."""
    return {"answer_seconds": round(oracle.seconds, 1)} if isinstance(oracle, TimedOracle) else {}
