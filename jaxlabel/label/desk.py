"""Decide which picture the page asks which person to label next, and store the answers.

A question is a picture that a person is asked to label. First come the pictures that the run waits
for (the batch). While the run trains, the page may ask "ahead": it chooses further pictures, whose
labels the run's next round will use.
"""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxlabel import files
from jaxlabel.errors import UsageError
from jaxlabel.experiment.account import ASKED, QUESTIONS
from jaxlabel.experiment.person_time import labels_left
from jaxlabel.label.features import cover, neighbours
from jaxlabel.label.names import checked_name
from jaxlabel.label.project import Project
from jaxlabel.label.questions import RUN, WAIT, Question, read_questions
from jaxlabel.label.records import Records
from jaxlabel.oracle import votes
from jaxlabel.oracle.prices import total_price
from jaxlabel.oracle.votes import NOT_SURE, Rule, Vote

LEASE = 90.0  # seconds for which a picture is reserved for one person
AHEAD = 16  # the number of pictures chosen at a time to be labelled ahead


class Standing(NamedTuple):
    """A snapshot of people's answers (votes) and of the labels in the label store.

    Attributes:
      votes: the votes, from the oldest to the newest.
      labels: the class name of each labelled picture that has votes or for which the run waits, by
        the picture's id.
      bought: the class index of each such picture whose label a run has bought, by its id.
      refused: the ids of pictures without a label for which somebody answered "not sure".
    """

    votes: list[Vote]
    labels: dict[str, str]
    bought: dict[str, int]
    refused: frozenset[str]


class Desk:
    """Gives people pictures to label, and stores their answers. Several threads may use it.

    Args:
      project: the run and its pictures.
      rule: the rule by which the votes of several people become a label.

    Attributes:
      records: the reader of the files that the run writes.
    """

    def __init__(self, project: Project, rule: Rule = Rule()):  # noqa: B008
        self.project, self.rule = project, rule
        self.records = Records(project.workdir)
        self._lock = threading.RLock()
        self._leases: dict[str, tuple[str, float]] = {}
        self._ahead: list[int] = []
        self._wanted: list[int] = []  # rows that a person has chosen on the map, to be asked next
        self._standing: tuple[float, Standing] | None = None
        self._batch: tuple[float, list[Question]] | None = None

    def batch(self) -> list[Question]:
        """Return the questions of the run: the pictures whose labels it needs to go on.

        They are read from the file questions.csv that the run writes. Before there is such a file,
        they are the first pictures of the run, which the page has chosen.
        """
        path = self.project.workdir / QUESTIONS
        try:
            stamp = path.stat().st_mtime
        except FileNotFoundError:
            items = [self.project.items[row] for row in self.project.first]
            return [Question(item, "train", RUN) for item in items]
        if self._batch is None or self._batch[0] != stamp:
            self._batch = stamp, read_questions(path, self.project)
        return self._batch[1]

    def standing(self, fresh: bool = False) -> Standing:
        """Return a snapshot of the votes and labels in the label store, at most two seconds old.

        If `fresh` is True, the store is read again in any case.
        """
        with self._lock:
            if self._standing is None or fresh or time.monotonic() - self._standing[0] > 2:
                store, name = self.project.store, self.project.label_set
                found = votes.all_votes(store, name)
                items = list({v.item for v in found} | {q.item for q in self.batch()})
                bought = store.bought(name, items)
                labels = votes.known_labels(store, name, items)
                kept = Standing(found, labels, bought, _unsure_items(found, labels))
                self._standing = time.monotonic(), kept
            return self._standing[1]

    def upcoming(self, person: str, count: int = 8, skip: Sequence[str] = ()) -> list[Question]:
        """Return the next pictures that a person should label, and reserve them for this person.

        No other person gets a reserved picture for the next LEASE seconds, or until it is labelled.
        The list is empty if there is nothing to ask.

        Args:
          person: the name of the person.
          count: the largest number of pictures.
          skip: the items that the person has answered, but whose answers are not stored yet.
        """
        with self._lock:
            now, standing = time.monotonic(), self.standing()
            mine = {v.item for v in standing.votes if v.person == person} | set(skip)
            found: list[Question] = []
            for question in self._candidates(standing):
                holder, until = self._leases.get(question.item, ("", 0.0))
                free = holder == person or until < now
                if question.item not in mine and free:
                    self._leases[question.item] = person, now + LEASE
                    found.append(question)
                    if len(found) == count:
                        break
            return found

    def _candidates(self, standing: Standing) -> list[Question]:
        """Return the questions without an answer, in the order in which they are asked.

        First come the pictures that the run waits for, then pictures that people may label before
        the run asks for them.
        """
        batch = [q for q in self.batch() if self._is_open(q.item, standing)]
        return batch + [
            Question(item, "train", WAIT)
            for item in self._ahead_items(standing)
            if self._is_open(item, standing)
        ]

    def _is_open(self, item: str, standing: Standing) -> bool:
        """Return True if the picture `item` has no label, and nobody answered "not sure" for it."""
        return item not in standing.labels and item not in standing.refused

    def _ahead_items(self, standing: Standing) -> list[str]:
        """Return the items that people may label before the run asks for them.

        First come pictures that a person chose on the map, then pictures typical of clusters in
        which nothing is labelled. There are none if the budget is used up. A run that certifies an
        accuracy chooses all its pictures itself, so that it stops exactly as `jaxlabel train`
        would.
        """
        project = self.project
        wanted = [project.items[row] for row in self._wanted]
        if self.money_left(standing) < 1:
            return []
        if not self.asks_ahead:
            return wanted
        asked = {q.item for q in self.batch()} | {v.item for v in standing.votes}
        open_ahead = [r for r in self._ahead if self._is_open(project.items[r], standing)]
        count = min(AHEAD, self._max_ahead() - len(self.ahead_answered(standing)))
        if not open_ahead and count > 0:
            rows = np.array(sorted(project.rows[i] for i in asked if i in project.rows), int)
            seed = project.settings.seed + 1 + len(rows)
            found = cover(project.features, count, rows, self._excluded_ahead(), seed=seed)
            open_ahead = [int(row) for row in found]
            self._ahead += open_ahead
        return wanted + [project.items[row] for row in open_ahead]

    def _excluded_ahead(self) -> np.ndarray:
        """Return the rows (indices) of pictures that people should not label unless the run asks.

        These are copies of other pictures, pictures whose label costs too much, and all but the
        quarter of the pictures for which the newest model has the lowest confidence. Without a
        model the confidence does not matter.
        """
        project, pool = self.project, self.records.pool()
        dear = np.flatnonzero(project.prices() > self.money_left(self.standing()))
        excluded = np.union1d(project.duplicates(), dear)
        if pool is None:
            return excluded
        sure = pool.probabilities.max(axis=1)
        kept = pool.rows[np.argsort(sure, kind="stable")[: max(AHEAD, len(sure) // 4)]]
        return np.union1d(excluded, np.setdiff1d(np.arange(len(project.items)), kept))

    @property
    def asks_ahead(self) -> bool:
        """Return True if people may label pictures that the run has not asked for.

        This holds until the run is finished, if its recipe has the setting `initial_labels` and no
        accuracy target is set.
        """
        settings = self.project.settings
        done = (self.project.workdir / "result.json").exists()
        takes = hasattr(settings, "initial_labels") and not getattr(settings, "target", 0)
        return takes and not done

    def _max_ahead(self) -> int:
        """Return how many pictures people may label before the run asks for them.

        This is half of the labels that the run's next query round adds. Near the end of the budget
        the number is 0, because no later round would buy the labels.
        """
        settings = self.project.settings
        growth = getattr(settings, "growth", 1.5)
        asked = files.read_json(self.project.workdir / ASKED) or {}
        now = max(len(set(asked) | {self.project.items[r] for r in self.project.first}), 1)
        next_round = growth * now
        return int(max(0, min((growth - 1) * next_round / 2, settings.budget - next_round)))

    def ahead_answered(self, standing: Standing) -> list[int]:
        """Return the rows (indices) of pictures that people labelled before the run asked for them.

        Pictures whose label has been bought since are left out.
        """
        asked = files.read_json(self.project.workdir / ASKED) or {}
        first = {self.project.items[row] for row in self.project.first}
        open_items = {q.item for q in self.batch()}
        rows = []
        for item in standing.labels:
            known = item in asked or item in first or item in open_items
            if item in self.project.rows and not known and item not in standing.bought:
                rows.append(self.project.rows[item])
        return rows

    def ready(self) -> bool:
        """Return True if people have answered about all pictures whose labels the run waits for.

        The answer about a picture is a label, or "not sure" from somebody.
        """
        standing = self.standing()
        return not any(self._is_open(q.item, standing) for q in self.batch())

    def chosen(self) -> dict[str, list[int]]:
        """Return the pictures that the page has chosen for the run, by number of the query round.

        The keys are numbers as texts, the values lists of rows (indices of pictures). "0" has the
        first pictures to label. The next round that the run will begin has the pictures that people
        labelled before the run asked for them.
        """
        found = {"0": self.project.first} if self.project.first else {}
        folder = self.project.workdir / "checkpoints"
        begun = [int(p.name[6:]) for p in folder.glob("asked_*") if p.name[6:].isdecimal()]
        ahead = self.ahead_answered(self.standing(fresh=True))
        if ahead and begun and self.asks_ahead:
            found[str(max(begun) + 1)] = ahead
        return found

    def money_left(self, standing: Standing) -> float:
        """Return what remains of the budget after buying all labels that people have given so far.

        A budget of minutes counts as the number of labels that people can give in it.

        `standing` is the snapshot of the answers and labels to count.
        """
        account = self.project.store.account(self.project.account)
        waiting = [item for item in standing.labels if item not in standing.bought]
        due = total_price(self.project.store, self.project.label_set, waiting)
        minutes = self.project.settings.minutes
        by_time = labels_left(minutes, standing.votes, len(standing.labels))
        return max(0.0, min(account.budget - account.spent - due, by_time))

    def answer(
        self, items: Sequence[str], person: str, class_name: str, seconds: float = 0.0
    ) -> None:
        """Store a person's answer for the given pictures, in one transaction.

        Args:
          items: the ids of the pictures.
          person: the name of the person.
          class_name: the name of the class, which may be new; NOT_SURE if the person is not sure.
          seconds: how long the person looked at the pictures; values outside of 0 to 600 are
            clipped.

        Raises:
          UsageError: there is no such picture, or the name cannot be that of a class.
          Locked: a label has been bought already, and it is another class.
          StoreError: the label store cannot be used.
        """
        unknown = [item for item in items if item not in self.project.rows]
        if unknown or not items:
            raise UsageError("there is no such picture")
        name = checked_name(class_name) if class_name != NOT_SURE else NOT_SURE
        votes.vote(
            self.project.store, self.project.label_set, items, person, name,
            min(max(float(seconds), 0.0), 600.0), self.rule,
        )  # fmt: skip
        self.refresh(items)

    def undo(self, person: str, item: str = "") -> Vote | None:
        """Delete a person's vote and return it; return None if there is none.

        The page asks for the picture again. The vote is that for `item`, or the person's newest
        vote if `item` is empty.

        Raises:
          Locked: an account has already bought the picture's label.
        """
        taken = votes.withdraw(self.project.store, self.project.label_set, person, self.rule, item)
        if taken is not None:
            self.refresh([taken.item])
        if taken is not None:
            row = self.project.rows.get(taken.item)
            open_items = {q.item for q in self.batch()}
            if row is not None and taken.item not in open_items and row not in self._ahead:
                self._wanted.append(row)
        return taken

    def ask_near(self, item: str, count: int = 8) -> int:
        """Queue the unlabelled pictures most similar to `item` for labelling; return their number.

        There are at most `count`. People are asked about them after the pictures that the run waits
        for.

        Raises:
          UsageError: the run takes only pictures that it has chosen itself, or it is finished.
        """
        if not self.asks_ahead:
            raise UsageError("this run takes no extra pictures: it certifies, or is finished")
        with self._lock:
            standing, project = self.standing(fresh=True), self.project
            taken = {q.item for q in self.batch()} | {v.item for v in standing.votes}
            known = [project.rows[i] for i in taken if i in project.rows]
            free = np.setdiff1d(np.fromiter(project.rows.values(), int), np.array(known, int))
            near = neighbours(project.features, project.rows[item], count, free)
            self._wanted = [*map(int, near), *self._wanted]
            return len(near)

    def refresh(self, items: Sequence[str]) -> None:
        """Read the votes and labels of the given items again, and end their reservations.

        With an empty list, all votes and labels are read again when they are needed next.
        """
        with self._lock:
            for item in items:
                self._leases.pop(item, None)
            if self._standing is None or not items:
                self._standing = None
                return
            stamp, old = self._standing
            store, name, these = self.project.store, self.project.label_set, set(items)
            known = [v for v in old.votes if v.item not in these]
            found = known + votes.all_votes(store, name, items)
            labels = {i: k for i, k in old.labels.items() if i not in these}
            labels |= votes.known_labels(store, name, items)
            bought = old.bought | store.bought(name, items)
            self._standing = stamp, Standing(found, labels, bought, _unsure_items(found, labels))


def _unsure_items(found: Sequence[Vote], labels: dict[str, str]) -> frozenset[str]:
    """Return the items that have no label, and for which somebody answered "not sure"."""
    return frozenset({v.item for v in found if v.class_name == NOT_SURE} - labels.keys())
