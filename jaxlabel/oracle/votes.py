"""The answers that people give on the labelling page, one transaction each.

Every answer is a vote: who said what about which item, and when. The label that a run can buy is
decided from the votes in the same transaction. A label that an account has bought never changes.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from jaxlabel.errors import JaxlabelError
from jaxlabel.oracle import corrections
from jaxlabel.oracle.engine import transaction
from jaxlabel.oracle.queries import class_names, label_set_id, locked_label_set_id, lookup
from jaxlabel.oracle.schema import UNITS_PER_LABEL, classes, labels, votes

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore

NOT_SURE = ""  # the class name of a vote that names no class


class Locked(JaxlabelError):
    """The label has been bought, so it can no longer be changed."""


class Vote(NamedTuple):
    """One person's answer to one item; `class_name` is NOT_SURE if the person could not tell."""

    item: str
    person: str
    class_name: str
    seconds: float
    voted_time: str


class Rule(NamedTuple):
    """How votes become a label.

    Attributes:
      needed: the number of votes for a class, by whoever, before the majority decides.
      arbiter: a person whose vote decides alone; empty for none.
    """

    needed: int = 1
    arbiter: str = ""


def vote(
    store: "LabelStore",
    label_set: str,
    items: Sequence[str],
    person: str,
    class_name: str,
    seconds: float = 0.0,
    rule: Rule = Rule(),  # noqa: B008
) -> None:
    """Store a person's answer for each item and decide the items' labels, all or nothing.

    A class that does not exist yet is added. The same answer again changes nothing.

    Args:
      class_name: NOT_SURE for "I cannot tell".
      seconds: how long the person looked at the picture.

    Raises:
      Locked: one of the items has a bought label of another class.
      StoreError: the database cannot be used; nothing was stored.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    with transaction(store.engine, write=True) as connection:
        key = locked_label_set_id(connection, label_set)
        names = class_names(connection, key)
        bought = corrections.bought_labels(connection, key, items)
        for label in bought.values():
            if names[label] != class_name:
                raise Locked(f"this picture's label, {names[label]}, has been paid for: it stays")
        if class_name and class_name not in names:
            row = {"label_set_id": key, "label": len(names), "name": class_name}
            connection.execute(sa.insert(classes), [row])
        for item in items:
            mine = votes.c.label_set_id == key, votes.c.item == item, votes.c.person == person
            connection.execute(sa.delete(votes).where(*mine))
            connection.execute(sa.insert(votes).values(
                label_set_id=key, item=item, person=person, class_name=class_name,
                seconds=seconds, voted_time=now,
            ))  # fmt: skip
            if item not in bought:
                _decide(connection, key, item, rule)


def withdraw(
    store: "LabelStore", label_set: str, person: str, rule: Rule = Rule(),  # noqa: B008
    item: str = "",
) -> Vote | None:  # fmt: skip
    """Take back a person's last answer, or the one for `item`, and return it; None without one.

    Raises:
      Locked: the answer has been paid for.
    """
    with transaction(store.engine, write=True) as connection:
        key = locked_label_set_id(connection, label_set)
        query = sa.select(votes).where(votes.c.label_set_id == key, votes.c.person == person)
        query = query.where(votes.c.item == item) if item else query
        row = connection.execute(query.order_by(votes.c.id.desc()).limit(1)).one_or_none()
        if row is None:
            return None
        if corrections.bought_labels(connection, key, [row.item]):
            raise Locked("the last answer has been paid for: it stays")
        connection.execute(sa.delete(votes).where(votes.c.id == row.id))
        _decide(connection, key, row.item, rule)
        _drop_last_class_if_unused(connection, key)
        return Vote(row.item, row.person, row.class_name, row.seconds, row.voted_time)


def all_votes(
    store: "LabelStore", label_set: str, items: Sequence[str] | None = None
) -> list[Vote]:
    """Return all votes, or those for the items alone, the oldest first."""
    with transaction(store.engine) as connection:
        key = label_set_id(connection, label_set)
        query = sa.select(votes).where(votes.c.label_set_id == key).order_by(votes.c.id)
        rows = (
            connection.execute(query).all()
            if items is None
            else lookup(connection, query, votes.c.item, items)
        )
        return [Vote(*row[2:]) for row in rows]


def known_labels(store: "LabelStore", label_set: str, items: Sequence[str]) -> dict[str, str]:
    """Return the class name of each of the items that has a label, bought or not."""
    with transaction(store.engine) as connection:
        key = label_set_id(connection, label_set)
        names = class_names(connection, key)
        query = sa.select(labels.c.item, labels.c.label).where(labels.c.label_set_id == key)
        rows = lookup(connection, query, labels.c.item, items)
        return {row.item: names[row.label] for row in rows}


def _decide(connection: sa.Connection, key: int, item: str, rule: Rule) -> None:
    """Set or remove the label of an item that nobody has bought, according to its votes."""
    query = (
        sa.select(votes.c.person, votes.c.class_name)
        .order_by(votes.c.id)
        .where(votes.c.label_set_id == key, votes.c.item == item, votes.c.class_name != NOT_SURE)
    )
    given = {row.person: row.class_name for row in connection.execute(query)}
    winner = winning_class(given, rule)
    here = labels.c.label_set_id == key, labels.c.item == item
    if winner is None:
        connection.execute(sa.delete(labels).where(*here))
        return
    label = class_names(connection, key).index(winner)
    if connection.execute(sa.update(labels).where(*here).values(label=label)).rowcount == 0:
        row = {"label_set_id": key, "item": item, "label": label, "cost": UNITS_PER_LABEL}
        connection.execute(sa.insert(labels), [row])


def winning_class(given: dict[str, str], rule: Rule) -> str | None:
    """Return the class that the votes (person to class name) decide for, or None if undecided.

    With one vote needed, the newest vote decides. With more, the class needs more votes than any
    other; a tie is left to another vote or to the arbiter.
    """
    if rule.arbiter in given:
        return given[rule.arbiter]
    if len(given) < rule.needed or not given:
        return None
    if rule.needed == 1:
        return list(given.values())[-1]
    ranked = Counter(given.values()).most_common(2)
    tied = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
    return None if tied else ranked[0][0]


def _drop_last_class_if_unused(connection: sa.Connection, key: int) -> None:
    """Remove the newest class if no vote and no label names it, as after an undone new class."""
    names = class_names(connection, key)
    if not names:
        return
    last = len(names) - 1
    used = sa.select(sa.func.count()).select_from(labels)
    used = used.where(labels.c.label_set_id == key, labels.c.label == last)
    voted = sa.select(sa.func.count()).select_from(votes)
    voted = voted.where(votes.c.label_set_id == key, votes.c.class_name == names[last])
    if not connection.execute(used).scalar_one() and not connection.execute(voted).scalar_one():
        here = classes.c.label_set_id == key, classes.c.label == last
        connection.execute(sa.delete(classes).where(*here))
