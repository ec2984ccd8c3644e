"""Tests of the semi-supervised recipe: purchases, rounds and settings."""

import jax
import numpy as np
import pytest
from oracles import ArrayOracle

from jaxlabel import data
from jaxlabel.config import validate
from jaxlabel.errors import UsageError
from jaxlabel.log import NullLog
from jaxlabel.methods import semisup
from jaxlabel.semisupervised.objectives import Views

DIGITS = data.load("digits")
LABELS = data.load_train_labels("digits")


@pytest.fixture(autouse=True)
def light_views(monkeypatch):
    """Replace the real transforms, which take seconds to compile; test_experiment.py runs them."""
    views = Views(lambda key, images: images, lambda key, images: images)
    monkeypatch.setattr(semisup.semisupervised, "views_of", lambda kind: views)


def config(**changes):
    sizes = {"network": "dense", "width": 8, "steps": 30, "batch_size": 16}
    return semisup.Config(kind="digits", **sizes | changes)


def test_the_steps_of_all_rounds_add_up():
    assert [semisup.num_steps_of_round(100, i, 3) for i in range(3)] == [33, 33, 34]


def test_propagated_labels_are_mostly_right_with_thirty_labels():
    oracle = ArrayOracle(LABELS, 30)
    chosen = config(objective="graph", query="typiclust", space="graph", steps=150)
    found = semisup.run(chosen, DIGITS.train_images, oracle, jax.random.key(0), NullLog())
    assert oracle.spent == 30 and found.stopped_by == "budget"
    assert np.mean(found.train_labels == LABELS) > 0.85
    asked = sorted(oracle.asked)
    np.testing.assert_array_equal(found.train_labels[asked], LABELS[asked])


def test_labels_are_bought_in_rounds_within_the_budget():
    costs = np.where(np.arange(len(LABELS)) % 2, 1.0, 2.0)
    oracle = ArrayOracle(LABELS, 24, costs=costs)
    rounds = []
    ask = oracle.ask
    oracle.ask = lambda indices, purpose, round: (
        rounds.append((round, len(indices))) or ask(indices, purpose=purpose, round=round)
    )
    chosen = config(query="entropy", initial_labels=9, rounds=2, objective="supervised", steps=6)
    semisup.run(chosen, DIGITS.train_images, oracle, jax.random.key(0), NullLog())
    assert rounds[0][0] == 0 and 9 >= rounds[0][1] >= 5
    assert [number for number, _ in rounds] == [0, 1, 2]
    assert oracle.spent <= 24


def test_contradictory_settings_raise_an_error():
    with pytest.raises(UsageError, match=r"set config\.initial_labels"):
        validate(config(rounds=2))
    with pytest.raises(UsageError, match="no model yet"):
        validate(config(query="margin", initial_query="badge"))
    with pytest.raises(UsageError, match="buys no label"):
        semisup.run(
            config(), DIGITS.train_images, ArrayOracle(LABELS, 0), jax.random.key(0), NullLog()
        )


def test_the_class_prior_is_uniform_or_from_the_labelled_set():
    labelled = semisup.Labelled(np.arange(4), np.array([0, 0, 0, 1]))
    uniform = semisup.class_prior(config(alignment="uniform"), labelled, 2)
    np.testing.assert_allclose(uniform, [0.5, 0.5])
    for alignment in ("labelled", "none"):
        prior = semisup.class_prior(config(alignment=alignment), labelled, 2)
        np.testing.assert_allclose(prior, [4 / 6, 2 / 6], rtol=1e-6)
