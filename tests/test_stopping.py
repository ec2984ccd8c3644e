from types import SimpleNamespace

import jax
import numpy as np
import pytest
from oracles import ArrayOracle

from jaxlabel.log import NullLog
from jaxlabel.methods import stopping
from jaxlabel.query import NOTHING, Paid

NUM_IMAGES = 4000


def judge(labels=None, budget=2000, **settings):
    config = stopping.Settings(**{"target": 0.9} | settings)
    oracle = ArrayOracle(np.zeros(NUM_IMAGES) if labels is None else labels, budget, 2)
    return stopping.Judge(config, NUM_IMAGES, oracle, NullLog())


def beliefs(doubt, seed=0):
    """Of class 0, in doubt by so much on average."""
    doubts = np.random.default_rng(seed).beta(1.2 * doubt, 1.2 * (1 - doubt), NUM_IMAGES)
    doubts = np.minimum(doubts, 0.49)
    return np.stack([1 - doubts, doubts], axis=1)


def test_an_audit_needs_as_many_bets_as_multiply_to_one_over_its_error():
    one = judge(confidence=0.95)
    allowed = []
    for _ in range(12):
        allowed.append(1.1**-one.fewest)
        one.audits.append(SimpleNamespace(labels=0))
    assert allowed[0] == pytest.approx(0.75 * 0.05) and allowed == sorted(allowed)[::-1]
    assert sum(allowed) == pytest.approx(0.05)  # all of them together err no more often


def test_an_audit_is_hoped_for_where_the_doubt_leaves_room_and_the_money_lasts():
    one, sure = judge(), beliefs(0.03)
    assert one.hopes(sure, NOTHING, 1000) and not one.hopes(sure, NOTHING, 50)
    assert not one.hopes(beliefs(0.08), NOTHING, NUM_IMAGES)  # once and a half that is too much
    assert not judge(target=0.0).hopes(sure, NOTHING, 1000)
    assert not judge(population=True).hopes(sure, Paid(np.arange(400), np.zeros(400)), 1000)


def test_without_a_certificate_the_networks_are_taken_at_their_word():
    one = judge(confidence=0.0)
    assert one.hopes(beliefs(0.08), NOTHING, 0) and one.believes(beliefs(0.08))
    assert not one.hopes(beliefs(0.2), NOTHING, 1000) and not one.believes(beliefs(0.2))
    assert not judge().believes(beliefs(0.01))
    assert one.summary(60) == {"labels_to_train": 60, "labels_to_certify": 0}


def test_an_audit_that_fails_divides_the_belief_and_its_labels_are_paid():
    wrong = np.random.default_rng(1).random(NUM_IMAGES) < 0.12
    one, claims = judge(wrong, budget=500), beliefs(0.03)
    before = Paid(np.arange(100), wrong[:100].astype(int))
    paid = one.audit(jax.random.key(0), claims, before, 900, 7)
    assert not one.certified and len(paid.indices) == len(set(paid.indices.tolist())) == 600
    np.testing.assert_array_equal(paid.labels, wrong[paid.indices])
    audited = len(paid.indices) - 100
    assert one.summary(len(paid.indices)) == {
        "labels_to_train": 100, "labels_to_certify": audited, "certified": 0.0
    }  # fmt: skip
    assert not one.hopes(claims, paid, NUM_IMAGES)  # four times too sure, as has been seen


def test_an_audit_that_succeeds_says_of_what():
    one = judge(np.random.default_rng(2).random(NUM_IMAGES) < 0.02)
    paid = one.audit(jax.random.key(1), beliefs(0.03), NOTHING, 900, 0)
    said = one.summary(len(paid.indices))
    assert one.certified and said["certified"] == 1.0 and said["certified_of"] == "the pool"
    assert 0.9 <= said["certified_low"] <= 0.98 <= said["certified_high"]
