"""What was paid for, and how more is bought: as much of what is wanted as the money allows."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxlabel.oracle import Oracle


class Paid(NamedTuple):
    """The images asked about so far, in that order, and their labels."""

    indices: Int[np.ndarray, "m"]
    labels: Int[np.ndarray, "m"]


NOTHING = Paid(np.zeros(0, int), np.zeros(0, int))


def affordable(oracle: Oracle, indices: Int[np.ndarray, "m"]) -> Int[np.ndarray, "q"]:
    """The leading ones of `indices` that can be bought together with what is left."""
    return indices[np.cumsum(oracle.cost(indices)) <= oracle.remaining + 1e-9]


def buy(oracle: Oracle, paid: Paid, wanted: Int[np.ndarray, "m"], number: int) -> Paid:
    """What was paid for before, and the leading ones of `wanted`, as far as the money goes.

    Args:
      number: the round's, for the ledger.

    Raises:
      BudgetExceeded: nothing was paid for before, and the first of `wanted` is too dear.
    """
    asked = affordable(oracle, wanted)
    if not len(asked) and not len(paid.indices):
        asked = wanted[:1]  # too dear: the oracle says so
    answers = oracle.ask(asked, purpose="train", round=number)
    return Paid(np.append(paid.indices, asked), np.append(paid.labels, answers))
