"""Store labels that are given by the names of their classes, which may be new."""

from collections.abc import Sequence

import sqlalchemy as sa

from jaxlabel.oracle import label_sets
from jaxlabel.oracle.engine import run_transaction
from jaxlabel.oracle.queries import class_names, locked_label_set_id
from jaxlabel.oracle.store import LabelStore, texts


def store_labels(
    store: LabelStore, label_set: str, items: Sequence[str], names: Sequence[str], *,
    durable: bool = True,
) -> tuple[bool, list[str]]:  # fmt: skip
    """Write labels to the label store (the database of labels), all of them or none.

    If an item already has a label in the store, that label is kept.

    Args:
      store: the label store.
      label_set: the name of the set of labels in the store.
      items: the ids of the images to label.
      names: the class name of each of these images.
      durable: whether the labels must be on the disk when the call returns. If not, they are there
        after the next purchase at the latest. False is for labels that can be read again.

    Returns:
      Whether a class is new to the store, and the ids of the items that already had a different
      label.

    Raises:
      StoreError: the database cannot be used.
    """
    return run_transaction(
        store.engine, _add, label_set, texts(items), texts(names), write=True, durable=durable
    )


def _add(
    connection: sa.Connection, label_set: str, items: list[str], names: list[str]
) -> tuple[bool, list[str]]:
    """Define the classes that are new, and store the labels; the result is that of `store_labels`.

    Args:
      connection: a connection in a write transaction.
      label_set: the name of the set of labels.
      items: the ids of the images.
      names: the class name of each image.
    """
    known = class_names(connection, locked_label_set_id(connection, label_set))
    new = sorted(set(names) - set(known), key=_by_number)
    if new:
        label_sets.define(connection, label_set, [*known, *new])
    number = {name: index for index, name in enumerate([*known, *new])}
    given = [number[name] for name in names]
    refused = label_sets.add_labels(connection, label_set, items, given, None)
    return bool(new), [answer.item for answer in refused]


def _by_number(name: str) -> tuple[float, str]:
    try:
        return float(int(name)), name
    except ValueError:
        return float("inf"), name
