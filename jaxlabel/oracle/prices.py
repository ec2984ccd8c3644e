"""Store and sum the prices of labels, which the label store may not have yet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float

from jaxlabel.oracle.engine import run_transaction
from jaxlabel.oracle.queries import (
    insert_missing,
    label_set_id,
    locked_label_set_id,
    stored_costs,
)
from jaxlabel.oracle.schema import from_units, prices, to_units

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore


def set_prices(
    store: "LabelStore", label_set: str, items: Sequence[str], costs: Float[np.ndarray, "n"]
) -> None:
    """Store the price of each image's label; the first price of an image is kept.

    A label that is added later gets this price, whoever gives it. A label that the store has
    already keeps its price.

    Args:
      store: the label store (a database).
      label_set: the name of the label set (the classes and labels of one data set).
      items: the ids of the images; an id may be repeated.
      costs: the price of each label; the usual price is 1.

    Raises:
      StoreError: a price is negative or too large, or the database cannot be used.
    """
    units = [to_units(cost, "cost") for cost in costs.tolist()]

    def insert(connection: sa.Connection) -> None:
        key = locked_label_set_id(connection, label_set)
        rows = [{"label_set_id": key, "item": item, "cost": cost}
                for item, cost in zip(map(str, items), units, strict=True)]  # fmt: skip
        insert_missing(connection, prices, rows)

    run_transaction(store.engine, insert, write=True)


def total_price(store: "LabelStore", label_set: str, items: Sequence[str]) -> float:
    """Return the sum of the prices of the labels of the given images; the usual price is 1.

    An image counts with its price also if a person answered "not sure" for it.

    Args:
      store: the label store (a database).
      label_set: the name of the label set (the classes and labels of one data set).
      items: the ids of the images; a repeated id counts once.
    """

    def find(connection: sa.Connection) -> dict[str, int]:
        return stored_costs(connection, label_set_id(connection, label_set), items)

    return from_units(sum(run_transaction(store.engine, find).values()))
