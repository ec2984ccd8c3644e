"""A snapshot of people's answers and of the labels that follow from them."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from jaxlabel.experiment.person_time import votes_of_run
from jaxlabel.label.project import Project
from jaxlabel.oracle import votes
from jaxlabel.oracle.votes import NOT_SURE, Vote


class Snapshot(NamedTuple):
    """A snapshot of people's answers (votes) and of the labels in the label store.

    Several runs may share a label store; each has its own page and its own account.

    Attributes:
      votes: the votes, from the oldest to the newest.
      own: the ids of the pictures that people have answered about on the page of this run.
      labels: class names by picture id, for all pictures of the label set that have a label,
        whether a person, a file or a program gave it.
      bought: class indices by picture id, for the pictures whose label any run has bought.
      paid: the ids of all pictures whose label the account of this run has bought.
      paid_stamp: two numbers that change whenever the account buys labels.
      refused: the ids of pictures without a label for which somebody answered "not sure".
    """

    votes: list[Vote]
    own: frozenset[str]
    labels: dict[str, str]
    bought: dict[str, int]
    paid: frozenset[str]
    paid_stamp: tuple[float, int]
    refused: frozenset[str]

    def is_open(self, item: str) -> bool:
        """Return True if the picture `item` has no label, and nobody answered "not sure" for it."""
        return item not in self.labels and item not in self.refused

    def own_votes(self) -> list[Vote]:
        """Return the votes for pictures that people have answered about on the page of this run."""
        return [vote for vote in self.votes if vote.item in self.own]

    def updated(self, project: Project, items: Sequence[str]) -> Self:
        """Return a snapshot in which the votes and labels of `items` are read again.

        People have just answered about these pictures on the page of this run, or taken an answer
        back.

        Args:
          project: the run and its label store.
          items: the ids of the pictures.
        """
        store, label_set, these = project.store, project.label_set, set(items)
        found = [v for v in self.votes if v.item not in these]
        found += votes.all_votes(store, label_set, items)
        found.sort(key=lambda vote: vote.voted_time)  # some of the votes for `items` are old
        bought = self.bought | store.bought(label_set, items)
        paid, stamp = _paid_items(project, len(bought), self)
        labels = {**self.labels}
        for item in these:
            labels.pop(item, None)
        newly_paid = list(paid - self.paid - these)  # the run bought them in the meantime
        labels |= votes.known_labels(store, label_set, [*items, *newly_paid])
        if newly_paid:
            bought |= store.bought(label_set, newly_paid)
        stamp = stamp[0], len(bought)
        own = (self.own | these) & {vote.item for vote in found}  # these were answered on this page
        return type(self)(found, own, labels, bought, paid, stamp, _unsure_items(found, labels))


def read(project: Project, before: Snapshot | None = None) -> Snapshot:
    """Read all votes and all labels of the project's label set.

    Args:
      project: the run and its label store.
      before: an earlier snapshot; if the account has bought nothing since, its purchases are not
        read again.
    """
    store, label_set = project.store, project.label_set
    found = votes.all_votes(store, label_set)
    labels = votes.known_labels(store, label_set)
    bought = store.bought(label_set)
    own = frozenset(vote.item for vote in votes_of_run(project.workdir, found))
    return Snapshot(found, own, labels, bought, *_paid_items(project, len(bought), before),
                    _unsure_items(found, labels))  # fmt: skip


def _paid_items(
    project: Project, num_bought: int, before: Snapshot | None
) -> tuple[frozenset[str], tuple[float, int]]:
    """Return the items whose label the run's account has bought, and the stamp of this set.

    The ledger can be long, so it is read again only if the stamp has changed: the amount that the
    account has spent, and `num_bought`, which changes when a label is bought that costs nothing.
    """
    stamp = project.store.account(project.account).spent, num_bought
    if before is not None and before.paid_stamp == stamp:
        return before.paid, stamp
    return frozenset(row.item for row in project.store.ledger(project.account)), stamp


def _unsure_items(found: Sequence[Vote], labels: dict[str, str]) -> frozenset[str]:
    """Return the items that have no label, and for which somebody answered "not sure"."""
    unsure = (vote.item for vote in found if vote.class_name == NOT_SURE)
    return frozenset(item for item in unsure if item not in labels)
