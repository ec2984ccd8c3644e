"""The named tuples that the label store returns; this module needs no database library."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

CORRECT = "correct"  # the purpose of labels that a person gives on the page after the run's end


class Contradiction(NamedTuple):
    """An image for which the label store was given two different labels.

    Attributes:
      item: the id of the image.
      kept: the label that was stored first, which is kept (the index of a class).
      refused: the label that was given later, which was not stored (the index of a class).
    """

    item: str
    kept: int
    refused: int


class Account(NamedTuple):
    """An account: the budget from which a run buys labels, and the amount spent so far.

    Attributes:
      name: the account's name.
      label_set: the name of the label set (the classes and labels of one data set) that the account
        buys from.
      budget: the total amount that may be spent; infinity if there is no limit.
      spent: the amount that has been spent.
      peeked: True if predictions were ever compared with labels that the account had not bought.
    """

    name: str
    label_set: str
    budget: float
    spent: float
    peeked: bool


class LedgerRow(NamedTuple):
    """One label bought by an account, as recorded in the ledger (the list of purchases).

    Attributes:
      item: the id of the image.
      label: the index of the class that the buyer received.
      class_name: the name of this class.
      cost: the price that was charged.
      purpose: what the label was bought for, such as "train", or "certify" for an accuracy
        estimate.
      round: the number of the query round in which the label was bought.
      asked_by: the user and machine that bought the label, such as "ann@server1".
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
    """The labels and prices that `LabelStore.buy` returns, in the order of the requested items.

    Attributes:
      labels: the label (index of a class) of each item.
      costs: the price of each label at the time when the account bought it.
    """

    labels: Int[np.ndarray, "n"]
    costs: Float[np.ndarray, "n"]
