import jax
import numpy as np
import pytest
from logs import Memory
from oracles import ArrayOracle

from jaxlabel.log import NullLog
from jaxlabel.methods import stopping
from jaxlabel.predictor import Survey, View
from jaxlabel.query import NOTHING, Paid

NUM_IMAGES = 4000


def judge(labels=None, budget=2000, costs=None, log=None, **settings):
    config = stopping.Settings(**{"target": 0.9} | settings)
    labels = np.zeros(NUM_IMAGES) if labels is None else labels
    oracle = ArrayOracle(labels, budget, 2, costs)
    return stopping.Judge(config, NUM_IMAGES, oracle, log or NullLog())


def wrong(share, seed=0):
    return np.random.default_rng(seed).random(NUM_IMAGES) < share


def beliefs(doubt, seed=0):
    """Of class 0, in doubt by so much on average."""
    doubts = np.random.default_rng(seed).beta(1.2 * doubt, 1.2 * (1 - doubt), NUM_IMAGES)
    doubts = np.minimum(doubts, 0.49)
    doubts = np.minimum(doubts * doubt / doubts.mean(), 0.49)
    return np.stack([1 - doubts, doubts], axis=1)


def seen(doubt):
    return Survey(np.arange(NUM_IMAGES), View(np.zeros((NUM_IMAGES, 1)), beliefs(doubt)))


def test_an_audit_is_hoped_for_where_the_doubt_leaves_room_and_the_money_lasts():
    one = judge()
    assert one.hopes(seen(0.03), NOTHING, 1000) and not one.hopes(seen(0.03), NOTHING, 50)
    assert not one.hopes(seen(0.08), NOTHING, NUM_IMAGES)  # once and a half that is too much
    assert not one.hopes(seen(np.nan), NOTHING, 1000)
    assert not judge(target=0.0).hopes(seen(0.03), NOTHING, 1000)
    many = Paid(np.arange(400), np.zeros(400))
    assert not judge(population=True).hopes(seen(0.03), many, 1000)


def test_what_is_paid_for_makes_nothing_surer():
    doubtful = seen(0.03)
    doubtful.view.beliefs[:3000] = [1.0, 0.0]
    bought = Paid(np.arange(3000), np.zeros(3000))
    assert judge().hopes(doubtful, NOTHING, 300)
    doubtful.view.beliefs[3000:] = beliefs(0.08)[3000:]
    assert judge().hopes(doubtful, NOTHING, 300) and not judge().hopes(doubtful, bought, 900)


def test_labels_that_may_be_dear_are_counted_at_the_dearest():
    costs = np.where(np.arange(NUM_IMAGES) == 17, 500.0, 1.0)
    one = judge(budget=1000, costs=costs)  # two labels, if it has to be the dear one
    assert not one.hopes(seen(0.01), NOTHING, 900)
    assert one.audit(jax.random.key(0), beliefs(0.01), NOTHING, 900, 0) is None
    assert not one.audits and one.hopes(seen(0.01), Paid(np.array([17]), np.zeros(1)), 900)


def test_without_a_certificate_the_networks_are_taken_at_their_word():
    one = judge(confidence=0.0)
    assert one.hopes(seen(0.08), NOTHING, 0) and one.believes(beliefs(0.08))
    assert not one.hopes(seen(0.2), NOTHING, 1000) and not one.believes(beliefs(0.2))
    assert not judge().believes(beliefs(0.01))
    assert not judge(confidence=0.0, target=0.0).believes(beliefs(0.01))
    assert one.audit(jax.random.key(0), beliefs(0.03), NOTHING, 900, 0) is None
    assert one.summary(60) == {"labels_to_train": 60, "labels_to_certify": 0}


def test_an_audit_that_fails_divides_the_belief_and_its_labels_are_paid():
    labels = wrong(0.12, seed=1)
    one, claims = judge(labels, budget=500), beliefs(0.03)
    before = Paid(np.arange(100), labels[:100].astype(int))
    paid = one.audit(jax.random.key(0), claims, before, 900, 7)
    assert not one.certified and len(paid.indices) == len(set(paid.indices.tolist())) == 600
    np.testing.assert_array_equal(paid.labels, labels[paid.indices])
    assert one.summary(600) == {
        "labels_to_train": 100, "labels_to_certify": 500, "certified": 0.0
    }  # fmt: skip
    times = (1 - one.audits[0].estimate) / stopping.doubt(claims[100:])  # it is too sure
    assert 3 < times < 6
    rich = judge(labels, budget=10**6)
    rich.audit(jax.random.key(0), claims, before, 500, 7)
    assert rich.hopes(seen(0.09 / times), paid, NUM_IMAGES)
    assert not rich.hopes(seen(0.115 / times), paid, NUM_IMAGES)


def test_who_proves_better_than_believed_is_trusted_more():
    one = judge(wrong(0.13, seed=3), target=0.95)
    assert one.audit(jax.random.key(0), beliefs(0.25), NOTHING, 300, 0) is not None
    assert one.hopes(seen(0.04), NOTHING, NUM_IMAGES)
    assert not judge(target=0.95).hopes(seen(0.04), NOTHING, NUM_IMAGES)


def test_an_audit_that_succeeds_says_of_what():
    one = judge(wrong(0.02, seed=2))
    paid = one.audit(jax.random.key(1), beliefs(0.03), NOTHING, 900, 0)
    said = one.summary(len(paid.indices))
    assert one.certified and said["certified"] == 1.0 and said["certified_of"] == "the pool"
    assert 0.9 <= said["certified_low"] <= 0.98 <= said["certified_high"]


def test_all_audits_together_err_no_more_often_than_is_allowed(monkeypatch):
    asked = []

    def audit(*arguments, **settings):
        asked.append(1 - settings["confidence"])
        return real(*arguments, **settings)

    real = stopping.audit
    monkeypatch.setattr(stopping, "audit", audit)
    log = Memory()
    for start in range(3):  # the second goes on to the same networks, the third to others
        one = judge(wrong(0.3), budget=10**6, log=log)
        for number in range(3):
            claims = beliefs(0.1, seed=number + (100 if start == 2 else 0))
            assert one.audit(jax.random.key(number), claims, NOTHING, 200, number) is not None
    once = 0.05 * 0.75 * 0.25 ** np.arange(6)
    np.testing.assert_allclose(asked, np.concatenate([once[:3], once[:3], once[3:]]), rtol=1e-6)
    assert once.sum() < 0.05


def test_audits_come_to_an_end():
    one, count = judge(wrong(0.3), budget=10**6), 0
    while one.audit(jax.random.key(count), beliefs(0.1, count), NOTHING, 900, count) is not None:
        count += 1
    assert count == stopping.MOST_AUDITS


@pytest.mark.parametrize("paid", [NOTHING.indices, np.arange(NUM_IMAGES)])
def test_where_everything_is_paid_for_there_is_nothing_to_audit(paid):
    one = judge(budget=10**6)
    found = one.audit(jax.random.key(0), beliefs(0.03), Paid(paid, 0 * paid), 900, 0)
    assert (found is None) == (len(paid) == NUM_IMAGES)
    assert one.hopes(seen(0.03), Paid(paid, 0 * paid), 900) == (len(paid) == 0)
