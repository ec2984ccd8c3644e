"""Answers that a person takes back before anybody has paid for them, and classes left empty."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from jaxlabel.oracle.queries import lookup
from jaxlabel.oracle.schema import accounts, classes, labels, ledger


def bought(connection: sa.Connection, label_set: int, items: Iterable[str]) -> dict[str, int]:
    """The labels of those of the items that some account has paid for."""
    labelled = sa.select(ledger.c.item).join(accounts).where(accounts.c.label_set_id == label_set)
    query = sa.select(labels.c.item, labels.c.label).where(
        labels.c.label_set_id == label_set, labels.c.item.in_(labelled)
    )
    return {row.item: row.label for row in lookup(connection, query, labels.c.item, items)}


def correct(connection: sa.Connection, label_set: int, answers: Mapping[str, int]) -> list[str]:
    """The items whose label was another one, and is the given one now.

    What somebody has paid for stays as it is. A class that a correction leaves without any label
    goes, if no label that was paid for would change its number by that.
    """
    query = sa.select(labels.c.item, labels.c.label).where(labels.c.label_set_id == label_set)
    there = {row.item: row.label for row in lookup(connection, query, labels.c.item, answers)}
    labelled = bought(connection, label_set, there)
    wrong = [item for item in there if item not in labelled and there[item] != answers[item]]
    for item in wrong:
        connection.execute(
            sa.update(labels)
            .where(labels.c.label_set_id == label_set, labels.c.item == item)
            .values(label=answers[item])
        )
    for label in sorted({there[item] for item in wrong}, reverse=True):
        _remove_empty(connection, label_set, label)
    return wrong


def _remove_empty(connection: sa.Connection, label_set: int, label: int) -> None:
    """Removes a class without labels; those after it move up, unless one of them is paid for."""
    mine = labels.c.label_set_id == label_set
    used = sa.select(sa.func.count()).select_from(labels).where(mine, labels.c.label == label)
    labelled = sa.select(sa.func.count()).select_from(ledger).join(accounts)
    labelled = labelled.where(accounts.c.label_set_id == label_set, ledger.c.label >= label)
    if connection.execute(used).scalar_one() or connection.execute(labelled).scalar_one():
        return
    here = classes.c.label_set_id == label_set
    connection.execute(sa.delete(classes).where(here, classes.c.label == label))
    later = sa.select(classes.c.label).where(here, classes.c.label > label)
    for number in connection.execute(later.order_by(classes.c.label)).scalars().all():
        moved = sa.update(classes).where(here, classes.c.label == number)
        connection.execute(moved.values(label=number - 1))
    after = sa.update(labels).where(mine, labels.c.label > label)
    connection.execute(after.values(label=labels.c.label - 1))
