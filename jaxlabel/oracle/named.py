"""Store labels that are given by the names of their classes, which may be new."""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from jaxlabel.oracle import corrections, label_sets
from jaxlabel.oracle.names import by_number
from jaxlabel.oracle.queries import class_names, locked_label_set_id, lookup
from jaxlabel.oracle.schema import votes

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore


class Added(NamedTuple):
    """What `add_named` did with labels that differ from a label stored before.

    Attributes:
      corrected: the ids of the images whose label was replaced.
      kept: pairs (the id of an image, the name of the class that it keeps).
    """

    corrected: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


def add_named(
    connection: sa.Connection,
    label_set: str,
    items: Sequence[str],
    names: Sequence[str],
    correctable: Container[str] = (),
) -> Added:
    """Store labels by the names of their classes, and define those new classes that get a label.

    Names become indices of classes in the same transaction that stores the labels, because another
    process may add or remove a class at any other time. The arguments are those of
    `LabelStore.add_named`, after a connection in a write transaction.
    """
    key = locked_label_set_id(connection, label_set)
    known = list(class_names(connection, key))
    new = sorted(set(names) - set(known), key=by_number)
    known += new
    label_sets.define(connection, label_set, known)
    number = {name: index for index, name in enumerate(known)}
    given = [number[name] for name in names]
    differing = label_sets.add_labels(connection, label_set, list(items), given, None)
    wrong = {item: label for item, _, label in differing if item in correctable}
    corrected = corrections.correct_labels(connection, key, wrong)
    kept = [(item, known[label]) for item, label, _ in differing if item not in corrected]
    # where people have voted, the label must not depend on their votes alone
    voted = sa.select(votes.c.item).where(votes.c.label_set_id == key)
    kept_items = {item for item, _ in kept}
    unchanged = kept_items | corrections.bought_labels(connection, key, items).keys()
    voted_items = {row.item for row in lookup(connection, voted, votes.c.item, items)} - unchanged
    named = dict(zip(items, names, strict=True))
    corrections.store_file_votes(connection, key, {item: named[item] for item in voted_items})
    labelled = {name for item, name in named.items() if item not in kept_items}
    for name in reversed([name for name in new if name not in labelled]):
        corrections.remove_class_if_empty(connection, key, name)
    return Added(tuple(corrected), tuple(kept))


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
      Whether one of the classes is new in the store, and the ids of the items that already had a
      different label. A class is not added if all items of this class already had another label.

    Raises:
      StoreError: the database cannot be used.
    """
    new = set(names) - set(store.classes(label_set))
    kept = store.add_named(label_set, items, names).kept
    is_new = bool(new) and not new.isdisjoint(store.classes(label_set))
    return is_new, [item for item, _ in kept]
