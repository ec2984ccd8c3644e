"""What the label store gives back: plain tuples, so that reading them needs no database library."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Contradiction(NamedTuple):
    """Two answers for one item: the first was kept, the second refused (class indices)."""

    item: str
    kept: int
    refused: int


class Account(NamedTuple):
    """Who may spend how much on which label set, and whether all of its labels were looked at."""

    name: str
    label_set: str
    budget: float
    spent: float
    peeked: bool


class LedgerRow(NamedTuple):
    """One label bought: what was answered, what it cost, for what, and who asked when (UTC)."""

    item: str
    label: int
    class_name: str
    cost: float
    purpose: str
    round: int
    asked_by: str
    asked_time: str


class Bought(NamedTuple):
    """Answers in the order of the items asked for, and what each cost when it was bought."""

    labels: Int[np.ndarray, "n"]
    costs: Float[np.ndarray, "n"]
