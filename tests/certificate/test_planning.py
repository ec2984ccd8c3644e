"""Tests of the prediction of the number of labels that an audit takes."""

import math

import jax
import numpy as np
import pytest
from audits import certify, pool

from jaxlabel.certificate import Terms, audit
from jaxlabel.certificate.design import STAKES
from jaxlabel.certificate.planning import scale_by_temperature


@pytest.mark.parametrize(
    ("accuracy", "sharpness", "num_images"),
    [(0.95, 1.0, 5000), (0.93, 2.0, 5000), (0.93, 1.0, 300)],
)
def test_audits_take_about_as_many_labels_as_expected(accuracy, sharpness, num_images):
    wrong, probabilities = pool(3, accuracy, num_images, sharpness)
    taken = [certify(s, wrong, probabilities, budget=2000, batch=10).labels for s in range(12)]
    terms = Terms(0.9, 0.95, num_images)
    expected = terms.expected_labels(probabilities[:, 1], 1 - accuracy)
    assert 0.6 < np.mean(taken) / expected < 1.6
    assert num_images > expected > terms.fewest_labels()


def test_expected_labels_increase_towards_the_target_and_with_stricter_terms():
    claimed = pool(4, 0.93, 3000)[1][:, 1]

    def expect(mean, confidence=0.95, **settings):
        return Terms(0.9, confidence, 3000, **settings).expected_labels(claimed, mean)

    means = [0.02, 0.05, 0.07, 0.08, 0.09, 0.0999]
    grown = [expect(mean) for mean in means]
    assert grown == sorted(grown) and grown[-1] <= 3000
    assert expect(0.1) == expect(0.3) == expect(np.nan) == np.inf
    assert expect(0.05, confidence=0.99) > expect(0.05)
    assert expect(0.05, population=True) > expect(0.05)
    assert expect(0.05, population=True, num_bought=200) == np.inf  # all bought may be wrong
    # By hand, for equal error probabilities: log(1 / error) over the growth of the best bet.
    even, stakes = np.full(10**6, 0.05), STAKES / (0.05 + 0.95)
    growth = 0.05 * np.log1p(-stakes * 0.9) + 0.95 * np.log1p(stakes * 0.1)
    expected = Terms(0.9, 0.95, 10**6).expected_labels(even, 0.05)
    assert expected == pytest.approx(1.25 * np.log(1 / 0.045) / growth.max(), rel=0.01)


def test_fewest_labels_is_the_number_of_bets_that_reach_one_over_the_error():
    # Nine tenths of the capital of 1 are staked by the limit, and must grow to 1 / (.9 * .05). The
    # rest of the capital, which is staked by the variance, saves at most a draw or two.
    even = np.log(1 / (0.9 * 0.05 * 0.9)) / np.log1p(0.98 * 0.1)
    assert np.ceil(even) - 2 <= Terms(0.9, 0.95, 10**6).fewest_labels() <= np.ceil(even)
    assert Terms(0.9, 0.95, 500, 100, population=True).fewest_labels() == np.inf


@pytest.mark.parametrize("size", [10, 20, 30, 400])
def test_fewer_labels_than_the_fewest_certify_nothing(size):
    fewest = Terms(0.9, 0.95, size + 10, 10).fewest_labels()
    sure, right = np.tile([1 - 1e-6, 1e-6], (size + 10, 1)), np.zeros(size + 10, int)

    def found(budget):
        return audit(jax.random.key(0), sure, right, lambda rows: right[rows], target=0.9,
                     budget=budget, bought=np.arange(10), batch=1)  # fmt: skip

    assert not found(fewest - 1).reached
    assert found(min(size, math.ceil(1.25 * fewest))).reached


@pytest.mark.parametrize(("target", "confidence"), [(0.9, 0.95), (0.9, 0.9625), (0.95, 0.9625)])
def test_the_fewest_labels_bought_at_once_certify_a_model_without_errors(target, confidence):
    fewest = Terms(target, confidence, 5000, 20).fewest_labels()
    sure, right = np.tile([1 - 1e-6, 1e-6], (5000, 1)), np.zeros(5000, int)
    found = {
        budget: audit(jax.random.key(0), sure, right, lambda rows: right[rows], target=target,
                      confidence=confidence, budget=budget, bought=np.arange(20)).reached
        for budget in (fewest - 1, fewest)
    }  # fmt: skip
    assert found == {fewest - 1: False, fewest: True}


def test_a_temperature_leaves_the_order_and_gives_the_mean():
    claimed = pool(5, 0.9, 3000, sharpness=2.0)[1][:, 1]
    cooled = scale_by_temperature(claimed, 0.1)
    assert abs(cooled.mean() - 0.1) < 1e-4
    assert (np.diff(cooled[np.argsort(claimed)]) >= 0).all()
    possible = claimed.clip(1e-4, 0.5)
    np.testing.assert_allclose(scale_by_temperature(possible, possible.mean()), possible, atol=2e-3)
    assert (
        scale_by_temperature(claimed, 0.6).mean() < 0.5
    )  # no temperature gives a probability above 1/2
