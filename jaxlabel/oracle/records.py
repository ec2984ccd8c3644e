"""Types that the label store returns; using them needs no database library."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Contradiction(NamedTuple):
    """Two different labels for the same item.

    Attributes:
      item: the id of the item.
      kept: the first label, which is kept.
      refused: the second label, which was not stored.
    """

    item: str
    kept: int
    refused: int


class Account(NamedTuple):
    """An account with a budget for buying labels.

    Attributes:
      name: the account's name.
      label_set: the name of the label set whose labels the account buys.
      budget: the total amount that may be spent; infinity if there is no limit.
      spent: the amount that has been spent.
      peeked: whether the account was ever compared with labels that were not bought.
    """

    name: str
    label_set: str
    budget: float
    spent: float
    peeked: bool


class LedgerRow(NamedTuple):
    """One purchase of a label, as recorded in the ledger.

    Attributes:
      item: the id of the item.
      label: the index of the class that was returned.
      class_name: the name of this class.
      cost: the price that was charged.
      purpose: the purpose of the purchase, such as "train" or "certify".
      round: the number of the query round.
      asked_by: the user and machine that bought the label.
      asked_time: the time of the purchase in UTC, in ISO format.
    """

    item: str
    label: int
    class_name: str
    cost: float
    purpose: str
    round: int
    asked_by: str
    asked_time: str


class Bought(NamedTuple):
    """The result of a purchase, in the order of the items asked for.

    Attributes:
      labels: the label of each item.
      costs: the price of each label at the time when it was bought.
    """

    labels: Int[np.ndarray, "n"]
    costs: Float[np.ndarray, "n"]
