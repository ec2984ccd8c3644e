"""Tests of audits, confidence sequences, and the weights of draws."""

import jax
import numpy as np
import pytest
from audits import certify, pool

from jaxlabel.certificate import Terms, audit
from jaxlabel.certificate.betting import ConfidenceSequence
from jaxlabel.certificate.design import STAKES, ErrorModel, choose_weights
from jaxlabel.certificate.population import Population
from jaxlabel.errors import UsageError

NO_GROWTH = np.zeros(len(STAKES))


@pytest.mark.parametrize(("accuracy", "sharpness"), [(0.94, 1.0), (0.92, 2.5), (0.88, 1.0)])
def test_the_interval_covers_the_accuracy_when_audits_stop_early(accuracy, sharpness):
    # The interval covers with probability 95% at all times together, so at the moment of stopping
    # nearly all of 40 intervals should cover.
    found = [certify(seed, *pool(seed, accuracy, sharpness=sharpness)) for seed in range(40)]
    assert sum(c.low <= accuracy <= c.high for c in found) >= 37
    assert sum(c.reached for c in found) <= (40 if accuracy > 0.9 else 3)
    assert abs(np.mean([c.estimate for c in found]) - accuracy) < 0.012
    for c in found:
        assert c.reached == (c.stopped_by in ("target", "pool") and c.low >= 0.9)
        assert c.labels == len(c.indices) == len(set(c.indices.tolist())) <= 400


def test_the_estimate_is_unbiased_for_a_fixed_number_of_labels():
    wrong, probabilities = pool(0, 0.85, 300, sharpness=2.0)
    # With this target no audit stops within 30 labels.
    found = [certify(s, wrong, probabilities, target=0.8, budget=30, batch=10) for s in range(200)]
    found = [c.estimate for c in found]
    assert abs(np.mean(found) - 0.85) < 4 * np.std(found) / 200**0.5


def test_informative_confidence_saves_labels_and_wrong_confidence_stays_valid():
    wrong, probabilities = pool(1, 0.94, 5000)
    blind = np.tile([0.9, 0.1], (5000, 1))
    informed = [certify(s, wrong, probabilities, budget=2000) for s in range(8)]
    uninformed = [certify(s, wrong, blind, budget=2000) for s in range(8)]
    assert np.mean([c.labels for c in informed]) < np.mean([c.labels for c in uninformed])
    reversed_claims = certify(0, wrong, probabilities[:, ::-1], budget=300)
    assert reversed_claims.low <= 0.94 <= reversed_claims.high


def test_the_accuracy_is_exact_once_the_whole_pool_is_labelled():
    wrong, probabilities = pool(2, 0.9, 50)
    found = certify(0, wrong, probabilities, target=0.95, confidence=0.999, budget=50, batch=50)
    assert found.low == pytest.approx(0.9) and found.high == pytest.approx(0.9)
    assert found.estimate == pytest.approx(0.9)
    assert (found.labels, found.reached) == (50, False)


@pytest.mark.parametrize(
    ("size", "target"), [(10, 0.9), (20, 0.9), (30, 0.9), (100, 0.9), (10, 0.8)]
)
def test_an_accuracy_of_exactly_the_target_is_certified(size, target):
    wrong = np.arange(size) < round((1 - target) * size)
    probabilities = np.tile([0.95, 0.05], (size, 1))
    for seed in range(5):
        found = certify(seed, wrong, probabilities, target=target, budget=size, batch=1)
        assert (found.stopped_by, found.reached) == ("target", True) and found.low >= target


def test_bought_images_are_not_drawn_and_a_budget_of_zero_certifies_nothing():
    wrong, probabilities = pool(3, 0.9, 200)
    bought = np.arange(0, 200, 2)
    found = certify(0, wrong, probabilities, bought=bought, budget=100)
    assert not set(found.indices.tolist()) & set(bought.tolist())
    nothing = certify(0, wrong, probabilities, budget=0)
    assert (nothing.low, nothing.high, nothing.labels) == (0.0, 1.0, 0)
    assert np.isnan(nothing.estimate) and nothing.stopped_by == "budget"


def test_the_same_key_asks_the_same_images():
    first, again = (certify(5, *pool(4, 0.92)) for _ in range(2))
    np.testing.assert_array_equal(first.indices, again.indices)
    assert first[:6] == again[:6]


def test_invalid_arguments_are_usage_errors():
    wrong, probabilities = pool(3, 0.9, 20)
    with pytest.raises(UsageError, match="between 0 and 1"):
        certify(0, wrong, probabilities, target=1.0)
    with pytest.raises(UsageError, match="none left"):
        certify(0, wrong, probabilities, bought=np.arange(20))
    with pytest.raises(UsageError, match="one row for each"):
        certify(0, wrong, probabilities[:3])
    for bought in ([-1], [20], [0.5], [True, False], [[1], [2]]):
        with pytest.raises(UsageError, match="it takes indices from 0 to 19, or a mask with 20"):
            certify(0, wrong, probabilities, bought=bought)
    for few in ({"batch": -3}, {"budget": -1}, {"budget": np.nan}):
        with pytest.raises(UsageError, match="numbers of at least 0"):
            certify(0, wrong, probabilities, **few)


def test_a_mask_of_bought_images_is_their_indices_and_a_budget_is_rounded_down():
    wrong, probabilities = pool(3, 0.9, 200)
    mask = np.arange(200) % 2 == 0
    by_mask, by_indices = (
        certify(0, wrong, probabilities, bought=bought, budget=50.5)
        for bought in (mask, np.flatnonzero(mask))
    )
    np.testing.assert_array_equal(by_mask.indices, by_indices.indices)
    assert by_mask[:6] == by_indices[:6] and by_mask.labels <= 50
    for batch, most in ((0.5, 1), (np.inf, 50)):  # one at a time, and all at once
        sizes = []

        def ask(indices, sizes=sizes):
            sizes.append(len(indices))
            return wrong[indices].astype(float)

        predictions = np.zeros(200, int)
        audit(
            jax.random.key(0), probabilities, predictions, ask, target=0.9, budget=50, batch=batch
        )
        assert max(sizes) == most


@pytest.mark.parametrize("answer", [
    lambda i: 1, lambda i: [1], lambda i: None, lambda i: np.full(len(i), "cat"),
    lambda i: np.zeros((len(i), 1), int), lambda i: np.full(len(i), 0.5),
])  # fmt: skip
def test_answers_that_cannot_be_compared_are_refused(answer):
    probabilities = np.full((40, 2), 0.5)
    with pytest.raises(UsageError, match="it must return one integer"):
        audit(jax.random.key(0), probabilities, np.zeros(40, int), answer, target=0.9, budget=40)


@pytest.mark.parametrize(("predictions", "message"), [
    (np.full(40, 2), "predictions hold 2 to 2"), (np.full(40, -1), "predictions hold -1 to -1"),
    (np.zeros(40), "an array of float64"), (np.full(40, "cat"), "an array of <U3"),
])  # fmt: skip
def test_predictions_that_are_no_classes_are_refused(predictions, message):
    def ask(indices):
        return np.zeros(len(indices), int)

    probabilities = np.full((40, 2), 0.5)
    with pytest.raises(UsageError, match=message):
        audit(jax.random.key(0), probabilities, predictions, ask, target=0.9, budget=40)


def test_every_draw_s_value_has_the_pool_s_error_rate_as_its_mean():
    # Compute the mean over all second draws, weighted by their probabilities, for each first draw.
    wrong = np.array([True, False, False, True, False])
    weights, predicted = np.array([1.0, 2.0, 0.5, 3.0, 1.5]), np.array([0.3, 0.1, 0.6, 0.9, 0.2])
    for start in range(5):
        others = [i for i in range(5) if i != start]
        mean = 0.0
        for second in others:
            sequence = ConfidenceSequence(5, 0.3, 0.05, 0.05)
            first = np.array([start, second])
            sequence.update(np.arange(5), first, weights, predicted, wrong[first], NO_GROWTH)
            mean += weights[second] / weights[others].sum() * sequence._values[1]
        assert mean == pytest.approx(0.4)


def test_the_estimate_equals_lure_by_its_definition():
    generator = np.random.default_rng(0)
    wrong, weights = generator.random(12) < 0.4, generator.uniform(0.5, 2, 12)
    first = generator.permutation(12)[:5]
    sequence = ConfidenceSequence(12, 0.3, 0.05, 0.05)
    sequence.update(np.arange(12), first, weights, np.zeros(12), wrong[first], NO_GROWTH)
    total = 0.0
    for m, i in enumerate(first, start=1):
        q = weights[i] / (weights.sum() - weights[first[: m - 1]].sum())
        lure = 1 + (12 - 5) / (12 - m) * (1 / ((12 - m + 1) * q) - 1)
        total += lure * wrong[i] / 5
    assert sequence.estimate() == pytest.approx(1 - total)


def test_the_capital_equals_a_computation_by_hand():
    # No prediction is wrong, the draws are uniform, and the control variate is 0. So Y is 0 in both
    # draws, and could be at most 1 in the first.
    sequence = ConfidenceSequence(100, 0.1, 0.05, 0.05)
    prefers_the_largest = np.arange(len(STAKES), dtype=float)
    sequence.update(
        np.arange(100), np.array([3, 8]), np.ones(100), np.zeros(100), np.zeros(2, bool),
        prefers_the_largest,
    )  # fmt: skip
    stakes = 0.98 / np.array([1.0, 0.99])
    np.testing.assert_allclose(sequence._stakes, stakes)
    aside = 1 + sequence._stakes_by_variance * 0.1
    expected = 0.9 * np.prod(1 + stakes * 0.1) + 0.1 * np.prod(aside)
    assert sequence._max_log_capital(0.1) == pytest.approx(np.log(expected))


def test_the_error_model_corrects_an_overconfident_model():
    generator = np.random.default_rng(0)
    errors = generator.uniform(0.01, 0.6, 4000)
    odds = errors / (1 - errors)
    error_model = ErrorModel(1 / (1 + odds**-2.0))
    wrong = generator.random(4000) < errors
    drawn = np.arange(2000)
    np.testing.assert_allclose(
        error_model.errors(drawn[:0], wrong[:0]), 1 / (1 + odds**-2.0), rtol=1e-6
    )
    assert np.abs(error_model.errors(drawn, wrong[drawn]) - errors).mean() < 0.03


def test_weights_favour_uncertain_images_and_are_uniform_for_equal_ones():
    doubtful = choose_weights(np.repeat([0.01, 0.5], [900, 100]), 0.1)
    assert doubtful.weights[-1] > 1.5 * doubtful.weights[0] > 0
    assert doubtful.growth.max() > choose_weights(np.full(1000, 0.05), 0.1).growth.max() * 0.5
    np.testing.assert_allclose(choose_weights(np.full(10, 0.05), 0.1).weights, 1.0)


def test_the_population_s_bound_is_clopper_and_pearson_s():
    # No image was bought and 300 of 300 predictions are right: low = (0.2 error share)^(1 / n).
    population = Population(300, 300, 0.05)
    low, high = population.interval(1.0, 1.0, 0.9)
    assert (low, high) == (pytest.approx((0.2 * 0.05 * 0.9) ** (1 / 300)), 1.0)
    needed = population.needed_accuracy(0.9, 0.9)
    assert population.interval(needed, 1.0, 0.9)[0] >= 0.9
    assert population.interval(needed - 1 / 300, 1.0, 0.9)[0] < 0.9
    # Bought images count as wrong in the lower bound and as right in the upper bound.
    low, high = Population(400, 300, 0.05).interval(1.0, 1.0, 0.9)
    assert low < 0.75 and high == 1.0


def test_a_certificate_for_new_images_needs_more_labels():
    wrong, probabilities = pool(6, 0.95, 5000)
    new = certify(0, wrong, probabilities, budget=3000, population=True)
    same = certify(0, wrong, probabilities, budget=3000)
    assert new.reached and same.reached and new.low >= 0.9
    assert new.labels >= same.labels


def test_a_pool_worse_than_needed_for_new_images_does_not_prove_that_the_target_is_missed():
    # 90.3% of 5,000 images are right: more than the target, but too few to certify it.
    wrong, probabilities = pool(7, 0.903, 5000)
    assert Population(5000, 5000, 0.05).needed_accuracy(0.9, 0.9) > 0.903
    found = certify(0, wrong, probabilities, budget=5000, population=True)
    assert (found.stopped_by, found.reached) == ("out of reach", False)
    assert found.high >= 0.9 > found.low
    worse = certify(0, *pool(7, 0.5, 5000), budget=500, batch=250, population=True)
    assert worse.stopped_by == "below" and worse.high < 0.9


def test_no_label_is_bought_if_too_few_images_can_certify_new_images():
    wrong, probabilities = pool(8, 0.95, 20)
    found = certify(0, wrong, probabilities, budget=20, population=True)
    assert (found.stopped_by, found.labels, found.reached) == ("out of reach", 0, False)
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_limit_of_zero_has_finite_stakes():
    sequence = ConfidenceSequence(20, 0.0, 0.05, 0.05)
    sequence.update(
        np.arange(20), np.arange(3), np.ones(20), np.zeros(20), np.zeros(3, bool), NO_GROWTH
    )
    assert (
        np.isfinite(sequence._stakes_by_variance).all() and np.isfinite(sequence._stakes_up).all()
    )
    assert not sequence.is_below_limit() and not sequence.is_above_limit()


def test_labels_are_bought_in_growing_batches():
    wrong, probabilities = pool(0, 0.9, 5000)
    sizes = []

    def ask(indices):
        sizes.append(len(indices))
        return wrong[indices].astype(int)

    audit(jax.random.key(0), probabilities, np.zeros(5000, int), ask, target=0.9, budget=405)
    fewest = int(Terms(0.9, 0.95, 5000).fewest_labels())
    assert sizes[:3] == [fewest, 10, 10] and sizes[-2] == 50 and sum(sizes) == 405
    assert sizes[1:-1] == sorted(sizes[1:-1])
    sizes.clear()
    sure, right = np.tile([1 - 1e-6, 1e-6], (5000, 1)), np.zeros(5000, int)
    audit(jax.random.key(0), sure, right, lambda rows: sizes.append(len(rows)) or right[rows],
          target=0.9, budget=405)  # fmt: skip
    assert sum(sizes) <= 1.3 * fewest + 10


def test_probabilities_that_are_not_finite_are_a_usage_error():
    wrong, probabilities = pool(6, 0.9, 50)
    probabilities[3] = np.nan
    with pytest.raises(UsageError, match="diverged"):
        certify(0, wrong, probabilities)
    with pytest.raises(UsageError, match="every image was bought"):
        Terms(0.9, 0.95, 50, 50)
