"""An oracle without a database, and a label store with prices, for tests of methods."""

import jax
import numpy as np
from logs import Memory

from jaxlabel import data
from jaxlabel.errors import BudgetExceeded
from jaxlabel.oracle import LabelStore


def priced(tmp_path, prices):
    """Create a label store of the digits with the given prices, and return its URL."""
    digits = data.load("digits")
    url = f"sqlite:///{tmp_path}/labels.db"
    store = LabelStore(url)
    store.define("digits", digits.classes)
    labels = data.load_train_labels("digits")
    store.add_labels("digits", digits.train_items, labels, np.broadcast_to(prices, labels.shape))
    return url


class ArrayOracle:
    """An oracle that takes labels from an array; each costs 1 if `costs` is None.

    Oracles that share a `ledger` belong to a run that was killed and started again: a label that
    one of them bought is free for the others, but counts as spent when they ask for it.
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

    def first_copies(self, indices):
        return np.arange(len(indices))  # no image has a copy

    @property
    def spent(self):
        return float(self.prices[sorted(self.asked)].sum())

    @property
    def num_bought(self):
        return len(self.asked)

    @property
    def remaining(self):
        return self.budget - self.spent


def check_late_answers(recipe, config, images, labels, asked):
    """Check that a late answer about an image that nobody could label changes no choice.

    The recipe is run twice with one log: first nobody can label three of the images in `asked`,
    which a run bought whose images could all be labelled, and then all images have a label.
    """
    refused = np.isin(np.arange(len(labels)), sorted(asked)[:3])
    log, ledger, budget = Memory(), set(), int(config.budget)
    for costs in (np.where(refused, np.inf, 1.0), np.ones(len(labels))):
        again = ArrayOracle(labels, budget, costs=costs, ledger=ledger)
        recipe.run(config, images, again, jax.random.key(0), log)
        assert len(again.asked) == budget and again.asked == ledger
