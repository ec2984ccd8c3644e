import jax
import jax.numpy as jnp
import numpy as np
import pytest
from logs import Memory
from oracles import ArrayOracle

from jaxlabel import query
from jaxlabel.errors import BudgetExceeded, DataError, UsageError
from jaxlabel.oracle import LabelStore, Oracle
from jaxlabel.query.purchase import restore_indices, save_indices
from jaxlabel.query.seeding import _draw
from jaxlabel.runlog import RunLog

POINTS = jax.random.normal(jax.random.key(0), (300, 4))


def test_spread_out_chooses_the_only_distant_point():
    # Only the last point has a distance above 0, so the draw is certain.
    features = jnp.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [9.0, 9.0]])
    found = query.spread_out(jax.random.key(1), features, 1, np.array([0, 2]))
    assert found.tolist() == [3]


def test_spread_out_draws_in_proportion_to_the_squared_distance():
    # The squared distances from 0 are 1 and 4: the farther point is drawn four times as often.
    features = jnp.array([[0.0], [1.0], [-2.0]])
    draws = [
        query.spread_out(key, features, 1, np.array([0]))[0]
        for key in jax.random.split(jax.random.key(2), 500)
    ]
    assert 0 not in draws
    assert 0.74 < np.mean(np.array(draws) == 2) < 0.86


def test_spread_out_never_repeats_labelled_points_and_is_deterministic():
    asked = np.arange(0, 300, 3)
    found = query.spread_out(jax.random.key(3), POINTS, 50, asked)
    assert len(found) == len(set(found)) == 50
    assert not set(found) & set(asked)
    again = query.spread_out(jax.random.key(3), POINTS, 50, asked)
    np.testing.assert_array_equal(found, again)


def test_spread_out_draws_few_points_as_the_first_of_many_and_compiles_once():
    few = query.spread_out(jax.random.key(5), POINTS, 4, np.zeros(0, int))
    compiled = _draw._cache_size()
    more = query.spread_out(jax.random.key(5), POINTS, 5, np.zeros(0, int))
    assert set(few) < set(more)
    assert _draw._cache_size() == compiled
    assert len(query.spread_out(jax.random.key(5), POINTS, 280, np.zeros(0, int))) == 280


def test_spread_out_returns_at_most_the_distinct_points():
    features = jnp.array([[0.0], [0.0], [1.0], [1.0], [1.0]])
    found = query.spread_out(jax.random.key(4), features, 4, np.zeros(0, int))
    assert len(np.unique(np.asarray(features)[found])) == 2


class Priced:
    """An oracle stand-in that has only prices and a budget."""

    def __init__(self, prices, remaining):
        self.prices, self.remaining = np.array(prices, float), remaining

    def cost(self, indices):
        return self.prices[indices]

    def first_copies(self, indices):
        return np.arange(len(indices))  # no image has a copy


@pytest.mark.parametrize("strategy", ["random", "medoids", "margin"])
def test_unaffordable_points_are_not_chosen(strategy):
    excluded = np.arange(300) % 7 > 0
    excluded[2] = False
    oracle, asked = (
        Priced(np.where(excluded, 9, 1), 8),
        np.array([5, 1]),
    )  # labelled before their prices rose
    probabilities = jax.nn.softmax(POINTS)
    found = query.select_affordable(
        oracle, strategy, jax.random.key(5), POINTS, 8, asked, probabilities
    )
    assert len(set(found)) == 8 and not excluded[found].any()
    if strategy == "margin":  # the affordable points with the smallest margins
        best = np.sort(np.asarray(probabilities), axis=1)
        rows = np.flatnonzero(~excluded)
        least = rows[np.argsort((best[:, -1] - best[:, -2])[rows])[:8]]
        assert set(found) == set(least)


@pytest.mark.parametrize(
    "strategy", ["random", "medoids", "typiclust", "margin", "diverse", "badge"]
)
def test_the_whole_budget_is_spent_on_distinct_images(strategy, tmp_path):
    of = np.repeat(np.arange(60), 5)  # five copies of each image, whose features are equal
    space = np.asarray(POINTS)[of]
    shares = np.asarray(jax.nn.softmax(space))
    with LabelStore(f"sqlite:///{tmp_path}/labels.db") as store:
        store.define("images", list("abc"))
        store.add_labels("images", [f"{i}" for i in range(60)], np.arange(60) % 3)
        store.open_account("run", "images", 20)
        store.open_account("rich", "images", 100)
        oracle, rich = (
            Oracle(store, account, [f"{i}" for i in of], num_classes=3)
            for account in ("run", "rich")
        )
        assert query.num_labels_in_budget(oracle, 300) == 20
        assert query.num_labels_in_budget(rich, 300) == 60
        labelled = query.NO_LABELS
        for number, count in enumerate(query.labels_per_round(strategy, 20, 3)):
            labelled = query.buy_by(
                strategy if number else "random", oracle, Memory(), jax.random.key(number),
                labelled, count, number, 300, lambda: space, lambda: (space, shares),
            )  # fmt: skip
            left = 20 - len(labelled.indices)
            assert query.num_affordable(oracle, 300, labelled.indices) == left
        assert oracle.num_bought == len(set(of[labelled.indices])) == 20
        others = query.select_affordable(
            rich, strategy, jax.random.key(0), space, 300, labelled.indices, shares
        )
        assert len(others) == len(set(of[others]) - set(of[labelled.indices])) == 40


def test_num_affordable_uses_the_mean_affordable_price_or_surely_the_highest():
    oracle = Priced([1, 1, 1, 5], 4.0)
    assert query.num_affordable(oracle, 4) == 3  # the fourth is unaffordable
    assert (
        query.unaffordable(oracle, 4).tolist() == [3]
        and query.unaffordable(oracle, 3).tolist() == []
    )
    assert query.num_affordable(Priced([1, 1, 1, 4], 4.0), 4) == 2
    assert query.num_affordable(Priced([5, 5], 4.0), 2) == 0
    assert query.num_affordable(oracle, 4, surely=True) == 0
    assert query.num_affordable(oracle, 4, np.array([3])) == 3
    assert query.num_affordable(oracle, 4, np.arange(4)) == 0
    assert query.num_affordable(Priced([0, 0], 0.0), 2) == 2
    assert query.num_affordable(Priced([1, 2], np.inf), 2) == 2  # no limit


def test_purchases_are_the_first_labels_and_equal_shares_of_the_rest():
    assert query.labels_per_round("random", 100, 1) == [100]
    assert query.labels_per_round("random", 100, 2) == [50, 50]
    assert query.labels_per_round("margin", 99, 1) == [33, 66]
    assert query.labels_per_round("margin", 30, 2) == [10, 10, 10]
    assert query.labels_per_round("margin", 100, 3, 20) == [20, 26, 27, 27]
    assert query.labels_per_round("coreset", 100, 1, 200) == [100]
    assert query.labels_per_round("margin", 1, 5) == [1]


def test_the_budget_holds_at_least_one_label_and_raises_if_none_is_affordable():
    assert query.num_labels_in_budget(Priced([1] * 9 + [50], 50.0), 10) == 8  # the mean is 5.9
    assert query.num_labels_in_budget(Priced([1] + [3] * 9, 3.0), 10) == 1  # the mean is 2.8
    assert query.num_labels_in_budget(Priced([1, 1, 1], 2.0), 3) == 2
    assert query.num_labels_in_budget(Priced([0, 0], 0.0), 2) == 2
    assert query.num_labels_in_budget(Priced([0.1] * 9, 0.5), 9) == 5
    with pytest.raises(UsageError, match="2 buys no label: the cheapest costs 3"):
        query.num_labels_in_budget(Priced([3, 4], 2.0), 2)
    for budget in (5.0, np.inf):
        with pytest.raises(DataError, match="nobody could label any of the images"):
            query.num_labels_in_budget(Priced([np.inf, np.inf], budget), 2)


def test_buy_skips_unaffordable_labels():
    oracle = ArrayOracle(np.arange(6), 4, 6, costs=np.array([1.0, 2, 1, 5, 1, 1]))
    labelled = query.buy(oracle, query.NO_LABELS, np.array([1, 3, 0, 2, 4]), 0)
    assert labelled.indices.tolist() == labelled.labels.tolist() == [1, 0, 2]  # not 3 and 4
    more = query.buy(oracle, labelled, np.array([3, 4]), 1)
    assert more.indices.tolist() == [1, 0, 2] and oracle.spent == 4
    with pytest.raises(BudgetExceeded, match="buys none of the first labels: the cheapest costs 1"):
        query.buy(ArrayOracle(np.arange(6), 0.5, 6), query.NO_LABELS, np.array([2]), 0)
    nobody = ArrayOracle(np.arange(6), 9, 6, costs=np.full(6, np.inf))
    with pytest.raises(DataError, match="nobody could label any of the images"):
        query.buy(nobody, query.NO_LABELS, np.array([2, 3]), 0)
    assert not nobody.asked


def test_identical_images_are_paid_for_once():
    store, items = LabelStore("sqlite://"), ["dear", "x", "dear", "x", "y", "z"]
    store.define("set", "ab")
    store.add_labels("set", ["dear", "x", "y", "z"], [0, 1, 0, 1], np.array([9.0, 1, 1, 1]))
    store.open_account("run", "set", 2.0)
    oracle = Oracle(store, "run", items, num_classes=2)
    labelled = query.buy(oracle, query.NO_LABELS, np.array([0, 1, 2, 3]), 0)
    assert labelled.indices.tolist() == [1, 3] and oracle.spent == 1
    again = query.buy(oracle, query.NO_LABELS, np.array([4, 3, 5]), 1)
    assert again.indices.tolist() == [4, 3] and oracle.spent == 2


# --- resumed rounds


def test_indices_of_any_type_are_restored(tmp_path):
    with RunLog(tmp_path) as log:
        save_indices(log, "left", np.array([7, 3], np.int32), 9)
        assert restore_indices(log, "left", 9).tolist() == [7, 3]


def test_a_resumed_round_repeats_its_choice():
    log, draws = Memory(), np.random.default_rng(0)
    oracle = ArrayOracle(np.zeros(50, int), 50, costs=np.ones(50))

    def choose(count, labelled=query.NO_LABELS):
        left = np.setdiff1d(np.arange(50), labelled.indices)
        return query.chosen(
            oracle, log, 1, count, 50, labelled, lambda: draws.choice(left, count, replace=False)
        )

    assert not len(query.restored_choice(log, 1, 50))
    first = choose(5)
    np.testing.assert_array_equal(query.restored_choice(log, 1, 50), first)
    np.testing.assert_array_equal(choose(5), first)
    np.testing.assert_array_equal(choose(3), first[:3])
    more = choose(8)  # the budget was raised in between
    np.testing.assert_array_equal(more[:5], first)
    assert len(set(more.tolist())) == 8
    np.testing.assert_array_equal(choose(8), more)
    labelled = query.Labelled(first[:2], np.zeros(2, int))  # labelled by an audit, for example
    left = choose(8, labelled)
    assert not set(left.tolist()) & set(first[:2].tolist())
    assert len(set(left.tolist())) == 8 and set(more[2:].tolist()) <= set(left.tolist())
    assert not len(query.restored_choice(log, 2, 50))
    oracle.prices[left[0]] = np.inf  # nobody could label it: another image takes its place
    others = choose(8, labelled)
    assert left[0] not in others and len(set(others.tolist())) == 8
    np.testing.assert_array_equal(choose(8, labelled), others)
    oracle.prices[left[0]] = 1  # a late answer: the other image stays
    np.testing.assert_array_equal(choose(8, labelled), others)


@pytest.mark.parametrize("strategy", [s for s in query.STRATEGIES if s != "random"])
def test_features_that_are_no_numbers_are_refused(strategy):
    features = POINTS.at[5, 1].set(jnp.nan)
    with pytest.raises(DataError, match="NaN"):
        query.select(strategy, jax.random.key(0), features, 3, np.zeros(0, int),
                     jnp.full((300, 2), 0.5))  # fmt: skip
