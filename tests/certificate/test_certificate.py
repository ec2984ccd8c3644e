import math

import jax
import numpy as np
import pytest

from jaxlabel.certificate import Terms, audit
from jaxlabel.certificate.betting import ConfidenceSequence
from jaxlabel.certificate.design import STAKES, ErrorModel, choose_weights
from jaxlabel.certificate.planning import tempered
from jaxlabel.certificate.population import Population
from jaxlabel.errors import UsageError

FLAT = np.zeros(len(STAKES))


def pool(seed, accuracy, num_images=1500, sharper=1.0):
    """Which images are wrong, and the claimed probabilities of class 0 (right) and 1 (wrong)."""
    generator = np.random.default_rng(seed)
    errors = generator.beta(1.2 * (1 - accuracy), 1.2 * accuracy, num_images).clip(1e-4, 0.95)
    odds = errors / (1 - errors)
    first = np.argsort(generator.exponential(size=num_images) / odds)
    wrong = np.zeros(num_images, bool)
    wrong[first[: round((1 - accuracy) * num_images)]] = True
    claimed = 1 / (1 + odds**-sharper)
    return wrong, np.stack([1 - claimed, claimed], axis=1)


def certify(seed, wrong, probabilities, **settings):
    settings = {"target": 0.9, "budget": 400, "batch": 40} | settings
    return audit(
        jax.random.key(seed), probabilities, np.zeros(len(wrong), int),
        lambda indices: wrong[indices].astype(int), **settings,
    )  # fmt: skip


@pytest.mark.parametrize(("accuracy", "sharper"), [(0.94, 1.0), (0.92, 2.5), (0.88, 1.0)])
def test_the_interval_covers_although_one_stops_when_one_likes(accuracy, sharper):
    # 95% is promised for all time; at the moment of stopping nearly all of 40 should cover
    found = [certify(seed, *pool(seed, accuracy, sharper=sharper)) for seed in range(40)]
    assert sum(c.low <= accuracy <= c.high for c in found) >= 37
    assert sum(c.reached for c in found) <= (40 if accuracy > 0.9 else 3)
    assert abs(np.mean([c.estimate for c in found]) - accuracy) < 0.012
    for c in found:
        assert c.reached == (c.stopped_by in ("target", "pool") and c.low >= 0.9)
        assert c.labels == len(c.indices) == len(set(c.indices.tolist())) <= 400


def test_the_estimate_is_unbiased_for_a_fixed_number_of_labels():
    wrong, probabilities = pool(0, 0.85, 300, sharper=2.0)
    # a target that nothing reaches or misses within 30 labels
    found = [certify(s, wrong, probabilities, target=0.8, budget=30, batch=10) for s in range(200)]
    found = [c.estimate for c in found]
    assert abs(np.mean(found) - 0.85) < 4 * np.std(found) / 200**0.5


def test_confidence_that_tells_errors_apart_saves_labels_and_ignorance_costs_no_truth():
    wrong, probabilities = pool(1, 0.94, 5000)
    blind = np.tile([0.9, 0.1], (5000, 1))
    told = [certify(s, wrong, probabilities, budget=2000) for s in range(8)]
    untold = [certify(s, wrong, blind, budget=2000) for s in range(8)]
    assert np.mean([c.labels for c in told]) < np.mean([c.labels for c in untold])
    reversed_claims = certify(0, wrong, probabilities[:, ::-1], budget=300)
    assert reversed_claims.low <= 0.94 <= reversed_claims.high


def test_a_pool_that_was_asked_about_whole_is_known_exactly():
    wrong, probabilities = pool(2, 0.9, 50)
    found = certify(0, wrong, probabilities, target=0.95, confidence=0.999, budget=50, batch=50)
    assert found.low == pytest.approx(0.9) and found.high == pytest.approx(0.9)
    assert found.estimate == pytest.approx(0.9)
    assert (found.labels, found.reached) == (50, False)


def test_bought_images_are_never_asked_and_no_budget_certifies_nothing():
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


def test_mistakes_are_usage_errors():
    wrong, probabilities = pool(3, 0.9, 20)
    with pytest.raises(UsageError, match="between 0 and 1"):
        certify(0, wrong, probabilities, target=1.0)
    with pytest.raises(UsageError, match="none left"):
        certify(0, wrong, probabilities, bought=np.arange(20))
    with pytest.raises(UsageError, match="one row for each"):
        certify(0, wrong, probabilities[:3])


def test_every_draw_s_value_has_the_pool_s_error_rate_as_its_mean():
    # over all second draws, each weighted by its probability, whatever was drawn first
    wrong = np.array([True, False, False, True, False])
    weights, predicted = np.array([1.0, 2.0, 0.5, 3.0, 1.5]), np.array([0.3, 0.1, 0.6, 0.9, 0.2])
    for start in range(5):
        others = [i for i in range(5) if i != start]
        mean = 0.0
        for second in others:
            sequence = ConfidenceSequence(5, 0.3, 0.05, 0.05)
            first = np.array([start, second])
            sequence.update(np.arange(5), first, weights, predicted, wrong[first], FLAT)
            mean += weights[second] / weights[others].sum() * sequence._values[1]
        assert mean == pytest.approx(0.4)


def test_lure_weighs_the_draws_as_its_paper_does():
    generator = np.random.default_rng(0)
    wrong, weights = generator.random(12) < 0.4, generator.uniform(0.5, 2, 12)
    first = generator.permutation(12)[:5]
    sequence = ConfidenceSequence(12, 0.3, 0.05, 0.05)
    sequence.update(np.arange(12), first, weights, np.zeros(12), wrong[first], FLAT)
    total = 0.0
    for m, i in enumerate(first, start=1):
        q = weights[i] / (weights.sum() - weights[first[: m - 1]].sum())
        lure = 1 + (12 - 5) / (12 - m) * (1 / ((12 - m + 1) * q) - 1)
        total += lure * wrong[i] / 5
    assert sequence.estimate() == pytest.approx(1 - total)


def test_a_capital_by_hand():
    # nothing is wrong, uniform draws, no prediction: Y = 0, 0; the largest Y is 1 at each draw
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


def test_a_belief_learns_that_the_model_is_too_sure():
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


def test_weights_favour_doubtful_images_and_are_even_where_all_are_alike():
    doubtful = choose_weights(np.repeat([0.01, 0.5], [900, 100]), 0.1)
    assert doubtful.weights[-1] > 1.5 * doubtful.weights[0] > 0
    assert doubtful.growth.max() > choose_weights(np.full(1000, 0.05), 0.1).growth.max() * 0.5
    np.testing.assert_allclose(choose_weights(np.full(10, 0.05), 0.1).weights, 1.0)


def test_the_population_s_bound_is_clopper_and_pearson_s():
    # no image bought, 300 of 300 right: low = (error / 2 share)^(1 / n)
    population = Population(300, 300, 0.05)
    low, high = population.interval(1.0, 1.0, 0.9)
    assert (low, high) == (pytest.approx((0.2 * 0.05 * 0.9) ** (1 / 300)), 1.0)
    needed = population.needed_accuracy(0.9, 0.9)
    assert population.interval(needed, 1.0, 0.9)[0] >= 0.9
    assert population.interval(needed - 1 / 300, 1.0, 0.9)[0] < 0.9
    # bought images count as wrong below and as right above
    low, high = Population(400, 300, 0.05).interval(1.0, 1.0, 0.9)
    assert low < 0.75 and high == 1.0


def test_a_certificate_for_new_images_asks_for_more():
    wrong, probabilities = pool(6, 0.95, 5000)
    new = certify(0, wrong, probabilities, budget=3000, population=True)
    same = certify(0, wrong, probabilities, budget=3000)
    assert new.reached and same.reached and new.low >= 0.9
    assert new.labels >= same.labels


def test_a_pool_worse_than_needed_for_new_images_does_not_prove_that_the_target_is_missed():
    # 90.3% of 5,000: more than the target, and less than a sample must show to prove it
    wrong, probabilities = pool(7, 0.903, 5000)
    assert Population(5000, 5000, 0.05).needed_accuracy(0.9, 0.9) > 0.903
    found = certify(0, wrong, probabilities, budget=5000, population=True)
    assert (found.stopped_by, found.reached) == ("out of reach", False)
    assert found.high >= 0.9 > found.low
    worse = certify(0, *pool(7, 0.5, 5000), budget=500, batch=250, population=True)
    assert worse.stopped_by == "below" and worse.high < 0.9


def test_too_few_images_for_a_statement_on_new_ones_are_not_asked_about():
    wrong, probabilities = pool(8, 0.95, 20)
    found = certify(0, wrong, probabilities, budget=20, population=True)
    assert (found.stopped_by, found.labels, found.reached) == ("out of reach", 0, False)
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_limit_of_no_error_at_all_has_finite_bets():
    sequence = ConfidenceSequence(20, 0.0, 0.05, 0.05)
    sequence.update(np.arange(20), np.arange(3), np.ones(20), np.zeros(20), np.zeros(3, bool), FLAT)
    assert np.isfinite(sequence._stakes_by_variance).all() and np.isfinite(sequence._stakes_up).all()
    assert not sequence.is_below_limit() and not sequence.is_above_limit()


@pytest.mark.parametrize(
    ("accuracy", "sharper", "num_images"), [(0.95, 1.0, 5000), (0.93, 2.0, 5000), (0.93, 1.0, 300)]
)
def test_audits_take_about_as_many_labels_as_expected(accuracy, sharper, num_images):
    wrong, probabilities = pool(3, accuracy, num_images, sharper)
    taken = [certify(s, wrong, probabilities, budget=2000, batch=10).labels for s in range(12)]
    terms = Terms(0.9, 0.95, num_images)
    expected = terms.expected_labels(probabilities[:, 1], 1 - accuracy)
    assert 0.6 < np.mean(taken) / expected < 1.6
    assert num_images > expected > terms.fewest_labels()


def test_labels_are_asked_for_in_blocks_that_grow():
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


def test_what_is_expected_grows_towards_the_target_and_with_what_is_claimed():
    claimed = pool(4, 0.93, 3000)[1][:, 1]

    def expect(mean, confidence=0.95, **settings):
        return Terms(0.9, confidence, 3000, **settings).expected_labels(claimed, mean)

    means = [0.02, 0.05, 0.07, 0.08, 0.09, 0.0999]
    grown = [expect(mean) for mean in means]
    assert grown == sorted(grown) and grown[-1] <= 3000
    assert expect(0.1) == expect(0.3) == expect(np.nan) == np.inf
    assert expect(0.05, confidence=0.99) > expect(0.05)
    assert expect(0.05, population=True) > expect(0.05)
    assert expect(0.05, population=True, num_bought=200) == np.inf  # each may be wrong
    # the logarithm of what is wanted over the growth of the best bet, by hand, of even doubts
    even, stakes = np.full(10**6, 0.05), STAKES / (0.05 + 0.95)
    growth = 0.05 * np.log1p(-stakes * 0.9) + 0.95 * np.log1p(stakes * 0.1)
    expected = Terms(0.9, 0.95, 10**6).expected_labels(even, 0.05)
    assert expected == pytest.approx(1.25 * np.log(1 / 0.045) / growth.max(), rel=0.01)


def test_the_fewest_labels_are_as_many_bets_as_multiply_to_one_over_the_error():
    even = np.log(20) / np.log(1.1)
    assert Terms(0.9, 0.95, 10**6).fewest_labels() == np.ceil(even)
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


def test_a_temperature_leaves_the_order_and_gives_the_mean():
    claimed = pool(5, 0.9, 3000, sharper=2.0)[1][:, 1]
    cooled = tempered(claimed, 0.1)
    assert abs(cooled.mean() - 0.1) < 1e-4
    assert (np.diff(cooled[np.argsort(claimed)]) >= 0).all()
    possible = claimed.clip(1e-4, 0.5)
    np.testing.assert_allclose(tempered(possible, possible.mean()), possible, atol=2e-3)
    assert tempered(claimed, 0.6).mean() < 0.5  # no temperature makes one wrong more often


def test_what_is_not_a_number_is_a_usage_error():
    wrong, probabilities = pool(6, 0.9, 50)
    probabilities[3] = np.nan
    with pytest.raises(UsageError, match="diverged"):
        certify(0, wrong, probabilities)
    with pytest.raises(UsageError, match="every image was bought"):
        Terms(0.9, 0.95, 50, 50)
