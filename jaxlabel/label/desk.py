"""Decide which picture the page asks which person to label next, and store the answers.

A question is a picture that a person is asked to label. First come the pictures that the run waits
for (the batch). While the run trains, the page may ask "ahead": it chooses further pictures, whose
labels the run's next round will use.
"""

import math
import threading
import time
from collections.abc import Sequence
from typing import Any

from jaxlabel.errors import UsageError
from jaxlabel.experiment.account import num_earlier_purchases
from jaxlabel.experiment.person_time import (
    labels_left,
    note_earlier_answers,
    note_page,
    votes_of_run,
)
from jaxlabel.experiment.questions import QUESTIONS
from jaxlabel.experiment.renaming import rename_class
from jaxlabel.label import snapshot as snapshots
from jaxlabel.label.ahead import Ahead
from jaxlabel.label.project import Project
from jaxlabel.label.questions import RUN, WAIT, Question, read_questions
from jaxlabel.label.records import Records
from jaxlabel.label.snapshot import Snapshot
from jaxlabel.oracle import votes
from jaxlabel.oracle.changes import change_mark
from jaxlabel.oracle.names import checked_name
from jaxlabel.oracle.prices import total_price
from jaxlabel.oracle.votes import NOT_SURE, Rule, Vote

LEASE = 90.0  # seconds after a person's last action for which their pictures stay reserved
PAUSE = 2.0  # seconds between two checks whether the label store has changed
BUSY = 10.0  # the pause is at least this many times as long as the processor time of the last check


class Desk:
    """Gives people pictures to label, and stores their answers. Several threads may use it.

    At the beginning, pictures without a label get one if their earlier votes decide by `rule`.

    Args:
      project: the run and its pictures.
      rule: the rule by which the votes of several people become a label.

    Attributes:
      records: the reader of the files that the run writes.
      ahead: the choice of pictures that people may label before the run asks for them.
    """

    def __init__(self, project: Project, rule: Rule = Rule()):  # noqa: B008
        self.project, self.rule = project, rule
        self.records = Records(project.workdir)
        self._lock = threading.RLock()
        self._leases: dict[str, tuple[str, float]] = {}  # the person and the end, by item
        self._ends: dict[str, float] = {}  # when the reservations of each person end
        self.ahead = Ahead(project, self.records)
        self._snapshot: Snapshot | None = None
        self._mark: Any = None  # the value of change_mark before the snapshot was read
        self._checked = self._pause = -math.inf
        self._batch: tuple[float, list[Question]] | None = None
        note_earlier_answers(project.workdir, project.store, project.label_set)
        earlier = votes_of_run(project.workdir, votes.all_votes(project.store, project.label_set))
        items = list({vote.item for vote in earlier if vote.class_name != NOT_SURE})
        votes.decide_again(project.store, project.label_set, items, rule)

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

    def snapshot(self, fresh: bool = False) -> Snapshot:
        """Return a snapshot of the votes and labels in the label store.

        Every two seconds the store is read again if it has changed. With very many votes, which
        take long to read, this is done less often. What people do on this page is seen at once.

        Args:
          fresh: True to read the store again now if it has changed.
        """
        with self._lock:
            found, pause_ends = self._snapshot, self._checked + self._pause
            if found is not None and not fresh and time.monotonic() < pause_ends:
                return found
            began = time.thread_time()  # does not count the waiting for a database that is busy
            mark = change_mark(self.project.store.engine)
            if found is None or mark is None or mark != self._mark:
                found = snapshots.read(self.project, found)
            self._snapshot, self._mark, self._checked = found, mark, time.monotonic()
            self._pause = max(PAUSE, BUSY * (time.thread_time() - began))
            return found

    def upcoming(
        self, person: str, count: int = 8, skip: Sequence[str] = (), shown: str | None = None
    ) -> list[Question]:
        """Return the next pictures that a person should label, and reserve them for this person.

        No other person gets a reserved picture until it is labelled, or until LEASE seconds have
        passed since the person last did something. After that, nothing is reserved for the person
        until they do something again. A person whose list became empty within these seconds is
        waiting: the next pictures are reserved for LEASE seconds. The list is empty if there is
        nothing to ask.

        Args:
          person: the name of the person.
          count: the largest number of pictures.
          skip: the items that the person has answered, but whose answers are not stored yet.
          shown: None if the person has just done something. If the page asks by itself, the item
            that it shows, or an empty string; this picture comes first as long as it is open, even
            if it is reserved for another person now.
        """
        with self._lock:
            now, snapshot = time.monotonic(), self.snapshot()
            mine = {v.item for v in snapshot.votes if v.person == person} | set(skip)
            end = now + LEASE if shown is None else self._ends.get(person, now + LEASE)
            found: list[Question] = []
            for question in sorted(self._candidates(snapshot), key=lambda q: q.item != shown):
                holder, until = self._leases.get(question.item, ("", 0.0))
                free = holder == person or until < now
                if question.item not in mine and (free or question.item == shown):
                    if free:
                        self._leases[question.item] = person, end
                    found.append(question)
                    if len(found) == count:
                        break
            self._ends[person] = end
            if not found and end >= now:  # the person waits: the next pictures are reserved anew
                del self._ends[person]
            return found

    def _candidates(self, snapshot: Snapshot) -> list[Question]:
        """Return the questions without an answer, in the order in which they are asked.

        First come the pictures that the run waits for, then pictures that people may label before
        the run asks for them. There are none of the latter if the budget is used up.
        """
        batch, left = self.batch(), self.money_left(snapshot)
        more = self.ahead.items(snapshot, batch, left)
        questions = batch + [Question(item, "train", WAIT) for item in more]
        return [question for question in questions if snapshot.is_open(question.item)]

    def ready(self) -> bool:
        """Return True if people have answered about all pictures whose labels the run waits for.

        The answer about a picture is a label, or "not sure" from somebody.
        """
        snapshot = self.snapshot()
        return not any(snapshot.is_open(q.item) for q in self.batch())

    def chosen(self) -> dict[str, list[int]]:
        """Return the pictures that the page has chosen for the run, by number of the query round.

        The keys are numbers as texts, the values lists of rows (indices of pictures). "0" has the
        first pictures to label. The next round that the run will begin has the pictures that people
        labelled before the run asked for them.
        """
        found = {"0": self.project.first} if self.project.first else {}
        folder = self.project.workdir / "checkpoints"
        begun = [int(p.name[6:]) for p in folder.glob("asked_*") if p.name[6:].isdecimal()]
        ahead = self.ahead.answered(self.snapshot(fresh=True), self.batch())
        if ahead and begun and self.ahead.allowed:
            found[str(max(begun) + 1)] = ahead
        return found

    def money_left(self, snapshot: Snapshot) -> float:
        """Return what remains of the budget after buying all labels that people have given so far.

        The unit is the usual price of a label; infinity if there is no limit. A budget of minutes
        counts as the number of labels that people can give in it for this run.

        `snapshot` is the snapshot of the answers and labels to count.
        """
        account = self.project.payer()
        due = total_price(self.project.store, self.project.label_set, self.waiting(snapshot))
        return max(0.0, min(account.budget - account.spent - due, self._labels_by_time(snapshot)))

    def waiting(self, snapshot: Snapshot) -> list[str]:
        """Return the items whose label is known and which the run has yet to buy."""
        return [item for item in self.labels(snapshot) if item not in snapshot.paid]

    def labels(self, snapshot: Snapshot) -> dict[str, str]:
        """Return the class names by item of those labels in a snapshot that belong to this run.

        People gave these labels on the page of this run, or the run has asked for them. In a label
        store that several runs share, the labels given for other runs do not count.
        """
        of_run = snapshot.own | snapshot.paid | {question.item for question in self.batch()}
        return {item: snapshot.labels[item] for item in of_run if item in snapshot.labels}

    def _labels_by_time(self, snapshot: Snapshot) -> float:
        """Return how many more labels people can give within the run's budget of minutes.

        It is infinity if the run has no such budget. Other runs may share the label store: their
        answers do not count, and their labels count only if this run has bought them.
        """
        if not self.project.settings.minutes:
            return math.inf
        to_buy = (snapshot.own & snapshot.labels.keys()) - snapshot.paid
        earlier = num_earlier_purchases(self.project.workdir)
        num_labels = len(snapshot.paid) - earlier + len(to_buy)
        return labels_left(self.project.settings.minutes, snapshot.own_votes(), num_labels)

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
          JaxlabelError: the run's directory cannot be written.
        """
        unknown = [item for item in items if item not in self.project.rows]
        if unknown or not items:
            raise UsageError("there is no such picture")
        name = checked_name(class_name) if class_name != NOT_SURE else NOT_SURE
        note_page(self.project.workdir, items)
        votes.vote(
            self.project.store, self.project.label_set, items, person, name,
            min(max(float(seconds), 0.0), 600.0), self.rule,
        )  # fmt: skip
        self.refresh(items)

    def undo(self, person: str, item: str = "") -> Vote | None:
        """Delete a person's vote and return it; return None if there is none.

        The page asks for the picture again. The vote is that for `item`, or the person's newest
        vote on this page if `item` is empty.

        Raises:
          UsageError: there is no such picture.
          Locked: an account has already bought the picture's label.
        """
        if item and item not in self.project.rows:
            raise UsageError("there is no such picture")
        if not item:  # the newest vote of all might have been given on the page of another run
            own = [v.item for v in self.snapshot().own_votes() if v.person == person]
            if not own:
                return None
            item = own[-1]
        taken = votes.withdraw(self.project.store, self.project.label_set, person, self.rule, item)
        if taken is not None:
            self.refresh([taken.item])
            with self._lock:
                if taken.item not in {q.item for q in self.batch()}:
                    self.ahead.ask_again(taken.item)
        return taken

    def rename_class(self, old: str, new: str) -> str:
        """Give a class another name, and return this name as it is stored.

        Raises:
          UsageError: there is no class `old`, the name cannot be that of a class, another class
            has it, or the run is finished.
        """
        name = rename_class(self.project.workdir, old, new)
        self.refresh([])
        return name

    def ask_near(self, item: str) -> int:
        """Queue the unlabelled pictures most similar to `item` for labelling; return their number.

        People are asked about them after the pictures that the run waits for.

        Raises:
          UsageError: the run takes only pictures that it has chosen itself, it is finished, or no
            later round would buy the labels.
        """
        with self._lock:
            snapshot = self.snapshot(fresh=True)
            left = self.money_left(snapshot)
            return self.ahead.ask_near(item, snapshot, self.batch(), left)

    def refresh(self, items: Sequence[str]) -> None:
        """Read the votes and labels of the given items again, and end their reservations.

        With an empty list, all votes and labels are read again when they are needed next.
        """
        with self._lock:
            for item in items:
                self._leases.pop(item, None)
            if not items:
                self._mark, self._checked = None, -math.inf
            elif self._snapshot is not None:
                self._snapshot = self._snapshot.updated(self.project, items)
