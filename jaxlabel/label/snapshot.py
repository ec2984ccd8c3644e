"""A snapshot of people's answers and of the labels that follow from them."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from jaxlabel.oracle import LabelStore, votes
from jaxlabel.oracle.votes import NOT_SURE, Vote


class Snapshot(NamedTuple):
    """A snapshot of people's answers (votes) and of the labels in the label store.

    Attributes:
      votes: the votes, from the oldest to the newest.
      labels: class names by picture id, for the labelled pictures among those that have votes or
        for which the run waits.
      bought: class indices by picture id, for those of these pictures whose label a run has bought.
      refused: the ids of pictures without a label for which somebody answered "not sure".
    """

    votes: list[Vote]
    labels: dict[str, str]
    bought: dict[str, int]
    refused: frozenset[str]

    def is_open(self, item: str) -> bool:
        """Return True if the picture `item` has no label, and nobody answered "not sure" for it."""
        return item not in self.labels and item not in self.refused

    def updated(self, store: LabelStore, label_set: str, items: Sequence[str]) -> Self:
        """Return a snapshot in which the votes and labels of `items` are read again.

        Args:
          store: the label store (a database).
          label_set: the name under which the store keeps the pictures' labels.
          items: the ids of the pictures.
        """
        these = set(items)
        found = [v for v in self.votes if v.item not in these]
        found += votes.all_votes(store, label_set, items)
        labels = {i: k for i, k in self.labels.items() if i not in these}
        labels |= votes.known_labels(store, label_set, items)
        bought = self.bought | store.bought(label_set, items)
        return type(self)(found, labels, bought, _unsure_items(found, labels))


def read(store: LabelStore, label_set: str, items: Sequence[str]) -> Snapshot:
    """Read all votes, and the labels of the pictures that have votes and of `items`.

    Args:
      store: the label store (a database).
      label_set: the name under which the store keeps the pictures' labels.
      items: the ids of the pictures for which the run waits.
    """
    found = votes.all_votes(store, label_set)
    known = list({v.item for v in found} | set(items))
    labels = votes.known_labels(store, label_set, known)
    bought = store.bought(label_set, known)
    return Snapshot(found, labels, bought, _unsure_items(found, labels))


def _unsure_items(found: Sequence[Vote], labels: dict[str, str]) -> frozenset[str]:
    """Return the items that have no label, and for which somebody answered "not sure"."""
    return frozenset({v.item for v in found if v.class_name == NOT_SURE} - labels.keys())
