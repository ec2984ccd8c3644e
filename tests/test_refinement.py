import json

import jax
import numpy as np
import pytest

from jaxlabel import data, experiment
from jaxlabel.log import NullLog
from jaxlabel.methods import active
from jaxlabel.predictor import probabilities
from jaxlabel.query import Paid
from jaxlabel.semisupervised import committee, pad, refinement

IMAGES = data.load("digits").train_images[:600]
LABELS = data.load_train_labels("digits")[:600]
PAID = Paid(np.arange(40), LABELS[:40])


def tiny(**changes):
    settings = {"data": "digits", "kind": "digits", "network": "dense", "width": 8, "mu": 2,
                "batch_size": 16, "map": "none", "steps": 40, "round_steps": 20, "first": 20,
                "distil_steps": 0, "learning_rate": 5e-3, "ema": 0.9}  # fmt: skip
    return active.Config(**settings | changes)


@pytest.fixture(scope="module")
def trained():
    """Two networks after a short training on what is paid for, and what they saw."""
    config = tiny()
    state = committee.begin(config, 2, IMAGES, 10, jax.random.key(1), NullLog())
    guide = np.zeros((len(IMAGES), 10), np.float32)
    seen = pad(IMAGES, *PAID, 64, guide, np.full(10, 0.1))
    cycle = committee.cycle(config, config.steps)
    return committee.learn(cycle, state, seen, jax.random.key(2), NullLog(), "end"), seen


def refine(config, state, seen):
    key = jax.random.key(3)
    return refinement.refine(config, state, seen, None, PAID, key, NullLog(), "refined")


def right(config, state):
    beliefs = probabilities(committee.networks(config, state), IMAGES)
    return (beliefs.argmax(-1) == LABELS).mean()


def test_networks_learn_what_labels_spread_over_their_own_features_say(trained):
    config = tiny(refinements=2, refine_steps=150)
    state, seen = trained
    before = right(config, state)
    after = right(config, refine(config, state, seen))
    assert after > before + 0.05
    assert after > 0.8


@pytest.mark.parametrize("changes", [{}, {"refinements": 2, "refine_until": 39}])
def test_too_many_labels_or_no_refinement_leave_the_networks_as_they_are(changes, trained):
    config = tiny(**changes)
    state, seen = trained
    assert refine(config, state, seen) is state


def test_learned_features_lie_beside_given_ones_in_fixed_shares(trained):
    config = tiny()
    state, _ = trained
    base = 100 * np.random.default_rng(0).normal(size=(len(IMAGES), 5)).astype(np.float32)
    alone = refinement.learned_space(config, state, IMAGES, None)
    both = refinement.learned_space(config, state, IMAGES, base)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(both[:, :-5], np.sqrt(0.7) * alone, rtol=1e-5)
    np.testing.assert_allclose((both[:, -5:] ** 2).sum(axis=1), 0.3, rtol=1e-5)
    assert not refinement.unit(np.zeros((2, 3), np.float32)).any()


def test_a_run_refines_at_its_end_and_says_so(tmp_path, capsys):
    config = tiny(budget=40, refinements=1, refine_steps=30)
    result = experiment.run(config, tmp_path)
    assert result["labels_spent"] == 40 and result["config"]["refinements"] == 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in lines][-1] == "refined_2_0"
