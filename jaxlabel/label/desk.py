"""Who is asked what: the run's questions, then pictures to label ahead; leases; answers; undo."""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxlabel import files
from jaxlabel.errors import UsageError
from jaxlabel.experiment.account import ASKED, QUESTIONS
from jaxlabel.label.features import cover, neighbours
from jaxlabel.label.names import checked_name
from jaxlabel.label.project import Project
from jaxlabel.label.questions import RUN, WAIT, Question, read_questions
from jaxlabel.label.records import Records
from jaxlabel.oracle import votes
from jaxlabel.oracle.votes import NOT_SURE, Rule, Vote

LEASE = 90.0  # seconds for which a picture is kept for one person
AHEAD = 16  # pictures chosen at a time to be labelled while a round trains


class Standing(NamedTuple):
    """What the label store says at one moment.

    Attributes:
      votes: all votes, the oldest first.
      labels: class name of each labelled item among those that matter to the page.
      bought: the items whose label the account, or another one, has bought.
      refused: the items that somebody is not sure about and nobody has labelled.
    """

    votes: list[Vote]
    labels: dict[str, str]
    bought: dict[str, int]
    refused: frozenset[str]


class Desk:
    """Hands out questions and takes answers. Safe to use from several threads.

    Args:
      project: the run and its pictures.
      rule: how votes become a label.
    """

    def __init__(self, project: Project, rule: Rule = Rule()):  # noqa: B008
        self.project, self.rule = project, rule
        self.records = Records(project.workdir)
        self._lock = threading.RLock()
        self._leases: dict[str, tuple[str, float]] = {}
        self._ahead: list[int] = []
        self._wanted: list[int] = []  # pictures that a person has asked for on the map
        self._standing: tuple[float, Standing] | None = None
        self._batch: tuple[float, list[Question]] | None = None

    # what is asked

    def batch(self) -> list[Question]:
        """Return the run's open batch: its questions.csv, or before that the first batch."""
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
        """Return what the store says, at most two seconds old, or from this moment."""
        with self._lock:
            if self._standing is None or fresh or time.monotonic() - self._standing[0] > 2:
                store, name = self.project.store, self.project.label_set
                found = votes.all_votes(store, name)
                items = list({v.item for v in found} | {q.item for q in self.batch()})
                bought = store.bought(name, items)
                labels = votes.known_labels(store, name, items)
                kept = Standing(found, labels, bought, _refused(found, labels))
                self._standing = time.monotonic(), kept
            return self._standing[1]

    def upcoming(self, person: str, count: int = 8, skip: Sequence[str] = ()) -> list[Question]:
        """Lease and return the next questions for a person; none if there is nothing to ask.

        Args:
          skip: items that the person's browser has answered but not sent yet.
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
        """Return the open questions in the order in which they are asked."""
        batch = [q for q in self.batch() if self._open(q.item, standing)]
        return batch + [
            Question(item, "train", WAIT)
            for item in self._ahead_items(standing)
            if self._open(item, standing)
        ]

    def _open(self, item: str, standing: Standing) -> bool:
        """Return True if the item has neither a label nor a "not sure"."""
        return item not in standing.labels and item not in standing.refused

    def _ahead_items(self, standing: Standing) -> list[str]:
        """Return pictures that may be labelled before the run asks for them.

        With a certificate wanted there are none: a run that certifies takes no pictures from
        outside, so that its stopping rule is the one of `jaxlabel train`.
        """
        project = self.project
        wanted = [project.items[row] for row in self._wanted]
        if self.money_left(standing) < 1:
            return []
        if not self.asks_ahead:
            return wanted
        asked = {q.item for q in self.batch()} | {v.item for v in standing.votes}
        open_ahead = [r for r in self._ahead if self._open(project.items[r], standing)]
        count = min(AHEAD, self._most_ahead() - len(self.ahead_answered(standing)))
        if not open_ahead and count > 0:
            rows = np.array(sorted(project.rows[i] for i in asked if i in project.rows), int)
            seed = project.settings.seed + 1 + len(rows)
            found = cover(project.features, count, rows, self._excluded_ahead(), seed=seed)
            open_ahead = [int(row) for row in found]
            self._ahead += open_ahead
        return wanted + [project.items[row] for row in open_ahead]

    def _excluded_ahead(self) -> np.ndarray:
        """Return rows that are not worth labelling ahead: copies, and what the model is sure of.

        The newest model's least sure quarter is kept. Without a model every picture is.
        """
        project, pool = self.project, self.records.pool()
        excluded = project.duplicates()
        if pool is None:
            return excluded
        sure = pool.probabilities.max(axis=1)
        kept = pool.rows[np.argsort(sure, kind="stable")[: max(AHEAD, len(sure) // 4)]]
        return np.union1d(excluded, np.setdiff1d(np.arange(len(project.items)), kept))

    @property
    def asks_ahead(self) -> bool:
        """True if pictures may be labelled while a round trains."""
        settings = self.project.settings
        done = (self.project.workdir / "result.json").exists()
        takes = hasattr(settings, "initial_labels") and not getattr(settings, "target", 0)
        return takes and not done

    def _most_ahead(self) -> int:
        """Return how many pictures may wait for the round after the next: half of what it buys.

        Towards the end of the budget there are none, because no round would buy them.
        """
        settings = self.project.settings
        growth = getattr(settings, "growth", 1.5)
        asked = files.read_json(self.project.workdir / ASKED) or {}
        now = max(len(set(asked) | {self.project.items[r] for r in self.project.first}), 1)
        next_round = growth * now
        return int(max(0, min((growth - 1) * next_round / 2, settings.budget - next_round)))

    def ahead_answered(self, standing: Standing) -> list[int]:
        """Return the rows with an unbought label that the run has not asked for."""
        asked = files.read_json(self.project.workdir / ASKED) or {}
        first = {self.project.items[row] for row in self.project.first}
        open_items = {q.item for q in self.batch()}
        rows = []
        for item in standing.labels:
            known = item in asked or item in first or item in open_items
            if item in self.project.rows and not known and item not in standing.bought:
                rows.append(self.project.rows[item])
        return rows

    # what the trainer wants to know

    def ready(self) -> bool:
        """Return True if no question of the run's batch is open."""
        standing = self.standing()
        return not any(self._open(q.item, standing) for q in self.batch())

    def chosen(self) -> dict[str, list[int]]:
        """Return the rows that the page has chosen for rounds, by the round's number.

        Round 0 is the first batch. What was labelled ahead comes first in the round after the
        newest that the run has begun.
        """
        found = {"0": self.project.first} if self.project.first else {}
        folder = self.project.workdir / "checkpoints"
        begun = [int(p.name[6:]) for p in folder.glob("asked_*") if p.name[6:].isdecimal()]
        ahead = self.ahead_answered(self.standing(fresh=True))
        if ahead and begun and self.asks_ahead:
            found[str(max(begun) + 1)] = ahead
        return found

    def money_left(self, standing: Standing) -> float:
        """Return what is left of the budget once all answers so far are bought."""
        account = self.project.store.account(self.project.account)
        waiting = sum(item not in standing.bought for item in standing.labels)
        return max(0.0, account.budget - account.spent - waiting)

    # answers

    def answer(
        self, items: Sequence[str], person: str, class_name: str, seconds: float = 0.0
    ) -> None:
        """Store one answer for the items, in one transaction.

        Raises:
          UsageError: no such picture, or no possible name for a class.
          Locked: a label has been bought. StoreError: the store cannot be used.
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
        """Take back the person's last answer, or that for `item`; the picture is asked again."""
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
        """Put the pictures nearest to `item` that nobody has labelled next in line."""
        if not self.asks_ahead:
            raise UsageError("this run asks no pictures but its own: it certifies, or is finished")
        with self._lock:
            standing, project = self.standing(fresh=True), self.project
            taken = {q.item for q in self.batch()} | {v.item for v in standing.votes}
            known = [project.rows[i] for i in taken if i in project.rows]
            free = np.setdiff1d(np.fromiter(project.rows.values(), int), np.array(known, int))
            near = neighbours(project.features, project.rows[item], count, free)
            self._wanted = [*map(int, near), *self._wanted]
            return len(near)

    def refresh(self, items: Sequence[str]) -> None:
        """Read again what the store says of these items, and let go of their leases.

        Without items everything is read again when it is needed next.
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
            self._standing = stamp, Standing(found, labels, bought, _refused(found, labels))


def _refused(found: Sequence[Vote], labels: dict[str, str]) -> frozenset[str]:
    """Return the items that somebody is not sure about and nobody has labelled."""
    return frozenset({v.item for v in found if v.class_name == NOT_SURE} - labels.keys())
