"""Store the classes and labels of label sets, and look them up.

A label set holds the classes and labels of one data set, under a name such as "mnist". An item is
the id of an image, and a label is the index of a class. Each function takes a database connection
in a transaction; functions that change the database need a write transaction.
"""

import math
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float

from jaxlabel.errors import StoreError
from jaxlabel.oracle.engine import location
from jaxlabel.oracle.queries import (
    class_names,
    count_matches,
    label_set_id,
    labels_of,
    locked_label_set_id,
    prices_of,
    refusals,
    stored_costs,
    unusual_costs,
)
from jaxlabel.oracle.records import Contradiction
from jaxlabel.oracle.schema import classes, from_units, labels, votes


def define(connection: sa.Connection, label_set: str, names: Sequence[str]) -> None:
    """Define the classes of a label set; `names[i]` is the name of class `i`.

    Raises:
      StoreError: a name differs from that of the existing class, or occurs twice.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise StoreError(f"{label_set} has {count} classes called {name!r}: rename them")
    key = locked_label_set_id(connection, label_set)
    old_names = class_names(connection, key)
    for label, (old, new) in enumerate(zip(old_names, names, strict=False)):
        if old != new:
            raise StoreError(
                f"the label store {location(connection.engine)} calls class {label} of {label_set} "
                f"{old!r}, and this data set calls it {new!r}: use another store "
                "(config.store), or rename the folders or classes to match"
            )
    rows = [
        {"label_set_id": key, "label": label, "name": names[label]}
        for label in range(len(old_names), len(names))
    ]
    if rows:
        connection.execute(sa.insert(classes), rows)


def rename_class(connection: sa.Connection, label_set: str, label: int, old: str, new: str) -> None:
    """Give the class with the index `label` of a label set the name `new` in place of `old`.

    Nothing changes if it is called again, as after a broken connection.

    Raises:
      StoreError: the class has another name by now, or another class is called `new`.
    """
    key = locked_label_set_id(connection, label_set)
    names = class_names(connection, key)
    name = names[label] if label < len(names) else None
    if name == new:
        return
    if name != old:
        raise StoreError(f"{label_set} has no class {old!r} any more")
    if new in names:
        raise StoreError(f"{label_set} has a class {new!r} already")
    here = classes.c.label_set_id == key, classes.c.label == label
    connection.execute(sa.update(classes).where(*here).values(name=new))
    voted = votes.c.label_set_id == key, votes.c.class_name == old
    connection.execute(sa.update(votes).where(*voted).values(class_name=new))


def names_of(connection: sa.Connection, label_set: str) -> tuple[str, ...]:
    """Return the class names of a label set by index; an empty tuple if there is no such set."""
    return class_names(connection, label_set_id(connection, label_set))


def add_labels(
    connection: sa.Connection,
    label_set: str,
    items: list[str],
    given: list[int],
    prices: list[int] | None,
) -> list[Contradiction]:
    """Store labels of images, and return those that contradict a label stored before.

    The first label and price of an image are kept; a contradicting label is not stored. The
    arguments are those of `LabelStore.add_labels`, after a connection in a write transaction. The
    prices are in millionths of a label's usual price.

    Raises:
      StoreError: the lengths differ, or a label is not the index of a defined class.
    """
    num_prices = len(items) if prices is None else len(prices)
    if not len(items) == len(given) == num_prices:
        raise StoreError(f"{len(items)} items have {len(given)} labels, {num_prices} costs")
    key = locked_label_set_id(connection, label_set)
    if prices is None:
        known_prices = prices_of(connection, key, items)
        prices = [known_prices[item] for item in items]
    num_classes = len(class_names(connection, key))
    for label in set(given):
        if not 0 <= label < num_classes:
            raise StoreError(f"label {label} is none of the {num_classes} classes of {label_set}: "
                             "define its class first")  # fmt: skip
    kept = labels_of(connection, key, dict.fromkeys(items))
    new, contradictions = [], []
    for item, label, price in zip(items, given, prices, strict=True):
        if item not in kept:
            kept[item] = label
            new.append({"label_set_id": key, "item": item, "label": label, "cost": price})
        elif kept[item] != label:
            contradictions.append(Contradiction(item, kept[item], label))
    new.sort(key=itemgetter("item"))  # so the index grows at its end
    if new:
        connection.execute(sa.insert(labels), new)
    return contradictions


def num_labelled(connection: sa.Connection, label_set: str, items: list[str]) -> int:
    """Return how many of the given images have a label; repeated images count each time."""
    key = label_set_id(connection, label_set)
    return count_matches(connection, key, ((item, None) for item in items))


def is_of_other_images(connection: sa.Connection, label_set: str, items: list[str]) -> bool:
    """Return True if a label set has labels, but no label of any of the given images."""
    key = label_set_id(connection, label_set)
    has_labels = connection.scalar(sa.select(sa.exists().where(labels.c.label_set_id == key)))
    return bool(has_labels) and not num_labelled(connection, label_set, items)


def costs(
    connection: sa.Connection, label_set: str, items: list[str], are_most: bool
) -> Float[np.ndarray, "n"]:
    """Return the price of each image's label; 1 if neither a label nor a price is stored.

    The price is infinite if the image has no label and a person answered "not sure" for it.

    Args:
      connection: a connection in a transaction.
      label_set: the name of the label set.
      items: the ids of the images.
      are_most: whether these are most images of the label set. It is then faster to search for
        unusual prices than for the items; the result is the same.
    """
    key = label_set_id(connection, label_set)
    stored = unusual_costs(connection, key) if are_most else stored_costs(connection, key, items)
    prices = {item: from_units(cost) for item, cost in stored.items()}
    prices |= dict.fromkeys(refusals(connection, key), math.inf)
    return np.fromiter((prices.get(item, 1.0) for item in items), np.float64, len(items))


def agreement(
    connection: sa.Connection, label_set: str, items: list[str], given: list[int]
) -> float:
    """Return the share of images whose stored label equals the given label.

    The share is NaN if an image has no stored label. The database counts the matches, so that no
    label is read into this process.
    """
    if not items or num_labelled(connection, label_set, items) < len(items):
        return float("nan")
    key = label_set_id(connection, label_set)
    return count_matches(connection, key, zip(items, given, strict=True)) / len(items)
