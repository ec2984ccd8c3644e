"""Read the prices of labels that a table states."""

import math
from collections.abc import Sequence
from typing import Any

from jaxlabel.errors import DataError


def price_of(where: str, cell: Any) -> float | None:
    """Return the price of a label that a cell of a table states; None if the cell is empty.

    Args:
      where: the table and the row, for error messages.
      cell: the content of the cell: a text, a number or None. A missing number, which some
        programs write as NaN, is empty too.

    Raises:
      DataError: the content is not a number from 0 to the largest price of a label store.
    """
    from jaxlabel.oracle.schema import MAX_AMOUNT

    is_nan = isinstance(cell, float) and math.isnan(cell)
    text = "" if cell is None or is_nan else str(cell).strip()
    if not text:
        return None
    try:
        cost = float(text)
    except ValueError:
        cost = math.nan
    if not 0 <= cost <= MAX_AMOUNT:
        raise DataError(f"{where}: the cost {text[:40]!r} is no price: write a number from 0 "
                        f"to {MAX_AMOUNT:g}, such as 2.5")  # fmt: skip
    return cost


def price_notes(prices: Sequence[float], num_train: int) -> tuple[str, ...]:
    """Return a message for the user on the prices of the training labels; none without prices."""
    if not prices:
        return ()
    others = "" if len(prices) == num_train else "; the others cost 1"
    return (f"{len(prices):,} of {num_train:,} training labels have a price, from {min(prices):g} "
            f"to {max(prices):g}{others}",)  # fmt: skip
