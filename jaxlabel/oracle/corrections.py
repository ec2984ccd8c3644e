"""Correct labels that no account has bought yet, and remove classes that become empty.

`label_set` is always the primary key of a label set: the classes and labels of one data set.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from jaxlabel.oracle.queries import class_names, labels_of, lookup
from jaxlabel.oracle.schema import accounts, classes, labels, ledger, votes

FILE = "(file)"  # the person of a vote that stands for a label from a file


def bought_labels(
    connection: sa.Connection, label_set: int, items: Iterable[str] | None
) -> dict[str, int]:
    """Return a dict from item to label for those given items that any account has bought.

    An item is the id of an image; None stands for all images of the label set. An account is the
    budget from which a run buys labels.
    """
    bought = sa.exists().where(
        ledger.c.item == labels.c.item,
        accounts.c.id == ledger.c.account_id,
        accounts.c.label_set_id == label_set,
    )
    return labels_of(connection, label_set, items, bought)


def correct_labels(
    connection: sa.Connection, label_set: int, answers: Mapping[str, int]
) -> list[str]:
    """Replace stored labels by corrected ones, and return the items whose label changed.

    A label that any account has bought is not changed. A class that loses its last label is
    removed, unless this would change the index of a class of which a label was bought.

    Args:
      connection: a connection in a write transaction.
      label_set: the primary key of the label set.
      answers: the corrected label of each item. Items without a stored label are ignored.
    """
    stored = labels_of(connection, label_set, answers)
    labelled = bought_labels(connection, label_set, stored)
    wrong = [item for item in stored if item not in labelled and stored[item] != answers[item]]
    if not wrong:
        return wrong
    changed = sa.update(labels).where(
        labels.c.label_set_id == label_set, labels.c.item == sa.bindparam("changed_item")
    )
    rows = [{"changed_item": item, "label": answers[item]} for item in wrong]
    connection.execute(changed, rows)
    names = class_names(connection, label_set)
    query = sa.select(votes.c.item).where(votes.c.label_set_id == label_set)
    voted = {row.item for row in lookup(connection, query, votes.c.item, wrong)}
    corrected = {item: names[answers[item]] for item in wrong if item in voted}
    store_file_votes(connection, label_set, corrected)
    for label in sorted({stored[item] for item in wrong}, reverse=True):
        remove_class_if_empty(connection, label_set, names[label])
    return wrong


def store_file_votes(connection: sa.Connection, label_set: int, given: Mapping[str, str]) -> None:
    """Store the class names of images as the votes (answers) of FILE, in place of earlier ones."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    common = {"label_set_id": label_set, "person": FILE, "seconds": 0.0, "voted_time": now}
    for item, name in given.items():
        mine = votes.c.label_set_id == label_set, votes.c.item == item, votes.c.person == FILE
        connection.execute(sa.delete(votes).where(*mine))
        connection.execute(sa.insert(votes), [{"item": item, "class_name": name, **common}])


def remove_class_if_empty(connection: sa.Connection, label_set: int, name: str) -> None:
    """Remove a class that has no labels, and decrease the indices of the classes after it by one.

    Do nothing if the class has labels or votes, if an account has bought a label of it or of a
    later class, or if there is no class of this name.
    """
    names = class_names(connection, label_set)
    if name not in names:
        return
    in_label_set, label = labels.c.label_set_id == label_set, names.index(name)
    used = sa.or_(
        sa.exists().where(in_label_set, labels.c.label == label),
        sa.exists().where(votes.c.label_set_id == label_set, votes.c.class_name == name),
    )
    bought = sa.exists().where(
        accounts.c.label_set_id == label_set,
        ledger.c.account_id == accounts.c.id,
        ledger.c.label >= label,
    )
    if connection.scalar(sa.select(used)) or connection.scalar(sa.select(bought)):
        return
    class_in_set = classes.c.label_set_id == label_set
    connection.execute(sa.delete(classes).where(class_in_set, classes.c.label == label))
    later = sa.select(classes.c.label).where(class_in_set, classes.c.label > label)
    for number in connection.execute(later.order_by(classes.c.label)).scalars().all():
        moved = sa.update(classes).where(class_in_set, classes.c.label == number)
        connection.execute(moved.values(label=number - 1))
    after = sa.update(labels).where(in_label_set, labels.c.label > label)
    connection.execute(after.values(label=labels.c.label - 1))
