"""Store the answers that people give on the labelling page, and derive labels from them.

Every answer is stored as a vote: which person gave which class to which image, and when. The label
that a run can buy is derived from an image's votes in the same transaction. A label that an account
has bought never changes. A label that came from a file is kept as a vote of its own, because people
may later vote for the same image and take their votes back.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from jaxlabel.errors import JaxlabelError
from jaxlabel.oracle import corrections
from jaxlabel.oracle.engine import run_transaction
from jaxlabel.oracle.queries import (
    class_names,
    label_set_id,
    labels_of,
    locked_label_set_id,
    lookup,
    prices_of,
)
from jaxlabel.oracle.schema import classes, labels, votes

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore

NOT_SURE = ""  # the class name in a vote of a person who was not sure


class Locked(JaxlabelError):
    """Raised if an answer would change a label that a run has already bought."""


class Vote(NamedTuple):
    """One person's answer for one image.

    Attributes:
      item: the id of the image.
      person: the name of the person.
      class_name: the name of the class; NOT_SURE (an empty string) if the person was not sure.
      seconds: how long the person looked at the image before answering.
      voted_time: the time of the answer in UTC, in ISO format.
    """

    item: str
    person: str
    class_name: str
    seconds: float
    voted_time: str


class Rule(NamedTuple):
    """The rule by which the votes for an image become its label.

    For example, with `Rule(needed=3)` an image gets a label when three people have named a class
    and one class has more votes than any other.

    Attributes:
      needed: how many people must name a class before the image gets a label.
      arbiter: the name of a person whose vote alone decides; an empty string if there is none.
      share: the share of the images for which `needed` holds, a fraction. One person labels each of
        the other images. An image's id decides which images these are, so they stay the same.
    """

    needed: int = 1
    arbiter: str = ""
    share: float = 1.0

    def num_needed(self, item: str) -> int:
        """Return how many people must name a class before the image `item` gets a label."""
        sampled = zlib.crc32(item.encode()) < self.share * 2**32
        return self.needed if sampled else 1


def vote(
    store: "LabelStore",
    label_set: str,
    items: Sequence[str],
    person: str,
    class_name: str,
    seconds: float = 0.0,
    rule: Rule = Rule(),  # noqa: B008
) -> None:
    """Store a person's answer for each of the given images, and update the labels of these images.

    A person's new answer replaces the earlier one for the same image. A class that does not exist
    yet is added. The class of a replaced answer is removed if no vote and no label has it any more,
    and no account has bought a label of a later class. If an error is raised, nothing is stored.

    Args:
      store: the label store (a database).
      label_set: the name of the label set (the classes and labels of one data set).
      items: the ids of the images.
      person: the name of the person who answers.
      class_name: the name of the class; NOT_SURE if the person is not sure.
      seconds: how long the person looked at the image.
      rule: the rule by which several people's answers become a label.

    Raises:
      Locked: a run has already bought the label of one of the images, and it is another class.
      StoreError: the database cannot be used.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    answer = Vote("", person, class_name, seconds, now)
    run_transaction(store.engine, _vote, label_set, items, answer, rule, write=True)


def _vote(
    connection: sa.Connection, label_set: str, items: Sequence[str], answer: Vote, rule: Rule
) -> None:
    """Store the same answer for each of the given images; the field `item` of `answer` is not used.

    Nothing changes if it is called again, as after a broken connection.
    """
    key = locked_label_set_id(connection, label_set)
    names = class_names(connection, key)
    bought = corrections.bought_labels(connection, key, items)
    for label in bought.values():
        if names[label] != answer.class_name:
            raise Locked(f"the label {names[label]} is already used and cannot be changed: "
                         "correct it in the exported table")  # fmt: skip
    if answer.class_name and answer.class_name not in names:
        row = {"label_set_id": key, "label": len(names), "name": answer.class_name}
        connection.execute(sa.insert(classes), [row])
    _keep_labels_without_votes(connection, key, [item for item in items if item not in bought])
    query = sa.select(votes.c.class_name).where(
        votes.c.label_set_id == key, votes.c.person == answer.person
    )
    replaced = {row.class_name for row in lookup(connection, query, votes.c.item, items)}
    for item in items:
        values = {"label_set_id": key, **answer._replace(item=item)._asdict()}
        mine = votes.c.label_set_id == key, votes.c.item == item, votes.c.person == answer.person
        connection.execute(sa.delete(votes).where(*mine))
        connection.execute(sa.insert(votes), [values])
        if item not in bought:
            _decide(connection, key, item, rule)
    for name in replaced:
        corrections.remove_class_if_empty(connection, key, name)


def withdraw(
    store: "LabelStore", label_set: str, person: str, rule: Rule = Rule(),  # noqa: B008
    item: str = "",
) -> Vote | None:  # fmt: skip
    """Delete a person's vote (answer for an image) and return it; return None if there is none.

    The label of the image is updated. The class of the vote is removed if no vote and no label has
    it any more, and no account has bought a label of a later class.

    Args:
      store: the label store (a database).
      label_set: the name of the label set (the classes and labels of one data set).
      person: the name of the person.
      rule: the rule by which several people's votes become a label.
      item: the id of the image whose vote is deleted; if empty, the person's newest vote is.

    Raises:
      Locked: a run has already bought the label of the image.
      StoreError: the database cannot be used.
    """
    found = run_transaction(store.engine, _newest_vote, label_set, person, item)
    if found is not None:
        run_transaction(store.engine, _withdraw, label_set, found, rule, write=True)
    return found


def _newest_vote(connection: sa.Connection, label_set: str, person: str, item: str) -> Vote | None:
    """Return a person's newest vote, or the one for the image `item` if it is not empty."""
    key = label_set_id(connection, label_set)
    query = sa.select(votes).where(votes.c.label_set_id == key, votes.c.person == person)
    query = query.where(votes.c.item == item) if item else query
    row = connection.execute(query.order_by(votes.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else Vote(*row[2:])


def _withdraw(connection: sa.Connection, label_set: str, taken: Vote, rule: Rule) -> None:
    """Delete a vote and update the image's label; do nothing if the vote is not there any more.

    So nothing changes if it is called again, as after a broken connection.
    """
    key = locked_label_set_id(connection, label_set)
    here = [
        votes.c.label_set_id == key, votes.c.item == taken.item, votes.c.person == taken.person,
        votes.c.voted_time == taken.voted_time,
    ]  # fmt: skip
    name = connection.scalar(sa.select(votes.c.class_name).where(*here))
    if name is None:
        return
    if corrections.bought_labels(connection, key, [taken.item]):
        raise Locked("this answer is already used and cannot be taken back")
    connection.execute(sa.delete(votes).where(*here))
    _decide(connection, key, taken.item, rule)
    corrections.remove_class_if_empty(connection, key, name)  # "not sure" is no class


def decide_again(store: "LabelStore", label_set: str, items: Sequence[str], rule: Rule) -> None:
    """Label those given images that have no label and whose votes decide by `rule`.

    This is needed if another rule was used when the votes were stored.

    Args:
      store: the label store (a database).
      label_set: the name of the label set (the classes and labels of one data set).
      items: the ids of the images.
      rule: the rule by which several people's votes become a label.

    Raises:
      StoreError: the database cannot be used.
    """
    run_transaction(store.engine, _decide_again, label_set, items, rule, write=True)


def _decide_again(
    connection: sa.Connection, label_set: str, items: Sequence[str], rule: Rule
) -> None:
    """Do what `decide_again` does, in a transaction."""
    key = locked_label_set_id(connection, label_set)
    labelled = labels_of(connection, key, items)
    for item in items:
        if item not in labelled:  # so no account has bought its label
            _decide(connection, key, item, rule)


def all_votes(
    store: "LabelStore", label_set: str, items: Sequence[str] | None = None
) -> list[Vote]:
    """Return the votes (people's answers) for all images, or only for `items`; the oldest first."""

    def find(connection: sa.Connection) -> list[Vote]:
        key = label_set_id(connection, label_set)
        query = sa.select(votes).where(votes.c.label_set_id == key).order_by(votes.c.id)
        rows = (
            connection.execute(query).all()
            if items is None
            else sorted(lookup(connection, query, votes.c.item, items), key=lambda row: row.id)
        )
        return [Vote(*row[2:]) for row in rows if row.person != corrections.FILE]

    return run_transaction(store.engine, find)


def known_labels(
    store: "LabelStore", label_set: str, items: Sequence[str] | None = None
) -> dict[str, str]:
    """Return a dict from item (id of an image) to class name for those given items with a label.

    With `items=None` it has all labels of the label set. It does not matter whether a label was
    bought, or who gave it.
    """

    def find(connection: sa.Connection) -> dict[str, str]:
        key = label_set_id(connection, label_set)
        names = class_names(connection, key)
        return {i: names[label] for i, label in labels_of(connection, key, items).items()}

    return run_transaction(store.engine, find)


def _decide(connection: sa.Connection, key: int, item: str, rule: Rule) -> None:
    """Set or remove the label of an image according to its votes (people's answers).

    The label must not have been bought by any account.
    """
    query = (
        sa.select(votes.c.person, votes.c.class_name)
        .order_by(votes.c.id)
        .where(votes.c.label_set_id == key, votes.c.item == item, votes.c.class_name != NOT_SURE)
    )
    given = {row.person: row.class_name for row in connection.execute(query)}
    needed, from_file = rule.num_needed(item), given.get(corrections.FILE)
    if needed > 1:
        given.pop(corrections.FILE, None)  # a file is not one of several people
    winner = winning_class(given, rule._replace(needed=needed)) or from_file
    here = labels.c.label_set_id == key, labels.c.item == item
    if winner is None:
        connection.execute(sa.delete(labels).where(*here))
        return
    label = class_names(connection, key).index(winner)
    if connection.execute(sa.update(labels).where(*here).values(label=label)).rowcount == 0:
        price = prices_of(connection, key, [item])[item]
        row = {"label_set_id": key, "item": item, "label": label, "cost": price}
        connection.execute(sa.insert(labels), [row])


def _keep_labels_without_votes(connection: sa.Connection, key: int, items: Sequence[str]) -> None:
    """Store the labels of those given images for which nobody has named a class as votes of a file.

    Such a label came from a file or from a program.
    """
    voted = sa.exists().where(
        votes.c.label_set_id == key, votes.c.item == labels.c.item, votes.c.class_name != NOT_SURE
    )
    names = class_names(connection, key)
    found = labels_of(connection, key, items, ~voted)
    given = {item: names[label] for item, label in found.items()}
    corrections.store_file_votes(connection, key, given)


def winning_class(given: dict[str, str], rule: Rule) -> str | None:
    """Return the class that an image gets by its votes, or None if they do not decide yet.

    If one vote is needed, the newest vote decides. If more are needed, the winning class must have
    more votes than any other class; a tie needs another vote or the arbiter's.

    Args:
      given: the class that each person named, from the oldest to the newest vote, without the votes
        NOT_SURE.
      rule: the number of votes needed, and the arbiter, whose vote alone decides.
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
