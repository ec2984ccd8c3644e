"""Store labels that are given by the names of their classes, which may be new."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore


def store_labels(
    store: "LabelStore", label_set: str, items: Sequence[str], names: Sequence[str]
) -> tuple[bool, list[str]]:
    """Write labels to the label store (the database of labels), all of them or none.

    If an item already has a label in the store, that label is kept.

    Args:
      store: the label store.
      label_set: the name of the set of labels in the store.
      items: the ids of the images to label.
      names: the class name of each of these images.

    Returns:
      Whether a class is new to the store, and the ids of the items that already had a different
      label.

    Raises:
      StoreError: the database cannot be used.
    """
    known = store.classes(label_set)
    new = sorted(set(names) - set(known), key=_by_number)
    if new:
        store.define(label_set, [*known, *new])
    number = {name: index for index, name in enumerate([*known, *new])}
    refused = store.add_labels(label_set, items, [number[name] for name in names])
    return bool(new), [answer.item for answer in refused]


def _by_number(name: str) -> tuple[float, str]:
    try:
        return float(int(name)), name
    except ValueError:
        return float("inf"), name
