"""Stopping rules for tests, with simulated labels and simulated model probabilities."""

import numpy as np
from oracles import ArrayOracle

from jaxlabel.log import NullLog
from jaxlabel.methods import stopping

NUM_IMAGES = 4000


def rule(labels=None, budget=2000, costs=None, log=None, ledger=None, **settings):
    config = stopping.Settings(**{"target": 0.9} | settings)
    labels = np.zeros(NUM_IMAGES) if labels is None else labels
    oracle = ArrayOracle(labels, budget, 2, costs, ledger)
    return stopping.StoppingRule(config, NUM_IMAGES, oracle, log or NullLog())


def wrong(share, seed=0):
    return np.random.default_rng(seed).random(NUM_IMAGES) < share


def probabilities(mean_uncertainty, seed=0):
    """Return probabilities that predict class 0 with the given mean uncertainty."""
    uncertainties = np.random.default_rng(seed).beta(
        1.2 * mean_uncertainty, 1.2 * (1 - mean_uncertainty), NUM_IMAGES
    )
    uncertainties = np.minimum(uncertainties, 0.49)
    uncertainties = np.minimum(uncertainties * mean_uncertainty / uncertainties.mean(), 0.49)
    return np.stack([1 - uncertainties, uncertainties], axis=1)
