"""An oracle without a database, for tests of methods."""

import numpy as np

from jaxlabel.errors import BudgetExceeded


class ArrayOracle:
    """Answers from an array and remembers what was asked; `costs` are 1 if not given.

    Oracles of one `ledger` are those of a run that was started again: what one has asked for is
    paid for, and free for the next, which counts it when it asks for it.
    """

    def __init__(self, labels, budget, num_classes=10, costs=None, ledger=None):
        self.labels, self.budget, self.num_classes = np.asarray(labels), budget, num_classes
        self.prices = np.ones(len(self.labels)) if costs is None else np.asarray(costs)
        self.asked, self.ledger = set(), set() if ledger is None else ledger

    def ask(self, indices, *, purpose="train", round=0):
        wanted = set(np.asarray(indices).tolist())
        if self.prices[sorted(self.ledger | wanted)].sum() > self.budget + 1e-9:
            raise BudgetExceeded("too many")
        self.asked |= wanted
        self.ledger |= wanted
        return self.labels[indices].astype(np.int32)

    def cost(self, indices):
        return self.prices[indices]

    @property
    def spent(self):
        return float(self.prices[sorted(self.asked)].sum())

    @property
    def remaining(self):
        return self.budget - self.spent
