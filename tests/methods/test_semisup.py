"""The semi-supervised recipe: what it buys and when."""

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
    """The house's own views take seconds to compile; tests/test_experiment.py runs them."""
    views = Views(lambda key, images: images, lambda key, images: images)
    monkeypatch.setattr(semisup.semisupervised, "views_of", lambda kind: views)


def config(**changes):
    sizes = {"network": "dense", "width": 8, "steps": 30, "batch_size": 16, "components": 16}
    return semisup.Config(kind="digits", **sizes | changes)


def test_purchases_are_the_first_ones_and_even_shares_of_the_rest():
    assert semisup.purchases(config(), 100) == [100]
    assert semisup.purchases(config(query="margin"), 99) == [33, 66]
    assert semisup.purchases(config(query="margin", initial_labels=20, rounds=3), 100) == [
        20,
        26,
        27,
        27,
    ]
    assert semisup.purchases(config(query="coreset", initial_labels=200), 100) == [100]
    assert semisup.purchases(config(query="margin", rounds=5), 1) == [1]


def test_the_rounds_steps_are_all_steps():
    assert [semisup.share_of(100, i, 3) for i in range(3)] == [33, 33, 34]


def test_graph_labels_and_their_classifier_know_most_digits_from_thirty():
    oracle = ArrayOracle(LABELS, 30)
    chosen = config(objective="graph", query="typiclust", space="graph", steps=150)
    found = semisup.run(chosen, DIGITS.train_images, oracle, jax.random.key(0), NullLog())
    assert oracle.spent == 30 and found.stopped_by == "budget"
    assert np.mean(found.train_labels == LABELS) > 0.85
    asked = sorted(oracle.asked)
    np.testing.assert_array_equal(found.train_labels[asked], LABELS[asked])


def test_labels_are_bought_in_rounds_and_prices_are_kept_to():
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


def test_what_does_not_go_together_is_refused():
    with pytest.raises(UsageError, match=r"set config\.initial_labels"):
        validate(config(rounds=2))
    with pytest.raises(UsageError, match="no model yet"):
        validate(config(query="margin", initial_query="badge"))
    with pytest.raises(UsageError, match="buys no label"):
        semisup.run(
            config(), DIGITS.train_images, ArrayOracle(LABELS, 0), jax.random.key(0), NullLog()
        )


def test_a_prior_is_uniform_or_paid_for():
    labelled = semisup.Labelled(np.arange(4), np.array([0, 0, 0, 1]))
    uniform = semisup.class_prior(config(alignment="uniform"), labelled, 2)
    np.testing.assert_allclose(uniform, [0.5, 0.5])
    for alignment in ("labelled", "none"):
        prior = semisup.class_prior(config(alignment=alignment), labelled, 2)
        np.testing.assert_allclose(prior, [4 / 6, 2 / 6], rtol=1e-6)
