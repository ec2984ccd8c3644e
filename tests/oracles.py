"""An oracle without a database, for tests of methods."""

import numpy as np

from jaxlabel.errors import BudgetExceeded


class ArrayOracle:
    """Answers from an array and remembers what was asked; `costs` are 1 if not given."""

    def __init__(self, labels, budget, num_classes=10, costs=None):
        self.labels, self.budget, self.num_classes = np.asarray(labels), budget, num_classes
        self.prices = np.ones(len(self.labels)) if costs is None else np.asarray(costs)
        self.asked = set()

    def ask(self, indices, *, purpose="train", round=0):
        wanted = self.asked | set(np.asarray(indices).tolist())
        if self.prices[sorted(wanted)].sum() > self.budget + 1e-9:
            raise BudgetExceeded("too many")
        self.asked = wanted
        return self.labels[indices].astype(np.int32)

    def cost(self, indices):
        return self.prices[indices]

    @property
    def spent(self):
        return float(self.prices[sorted(self.asked)].sum())

    @property
    def remaining(self):
        return self.budget - self.spent
