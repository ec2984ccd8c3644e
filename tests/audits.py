"""Simulated pools of images and audits of them, for tests of certificates."""

import jax
import numpy as np

from jaxlabel.certificate import audit


def pool(seed, accuracy, num_images=1500, sharpness=1.0):
    """Simulate a pool: which predictions are wrong, and the model's class probabilities.

    Class 0 is predicted for every image; class 1 stands for a wrong prediction. A `sharpness` above
    1 makes the model overconfident.
    """
    generator = np.random.default_rng(seed)
    errors = generator.beta(1.2 * (1 - accuracy), 1.2 * accuracy, num_images).clip(1e-4, 0.95)
    odds = errors / (1 - errors)
    first = np.argsort(generator.exponential(size=num_images) / odds)
    wrong = np.zeros(num_images, bool)
    wrong[first[: round((1 - accuracy) * num_images)]] = True
    claimed = 1 / (1 + odds**-sharpness)
    return wrong, np.stack([1 - claimed, claimed], axis=1)


def certify(seed, wrong, probabilities, **settings):
    """Audit a simulated pool, with a target of 0.9 and a budget of 400 labels by default."""
    settings = {"target": 0.9, "budget": 400, "batch": 40} | settings
    return audit(
        jax.random.key(seed), probabilities, np.zeros(len(wrong), int),
        lambda indices: wrong[indices].astype(int), **settings,
    )  # fmt: skip
