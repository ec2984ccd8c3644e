import jax
import jax.numpy as jnp
import numpy as np

from jaxlabel import query

POINTS = jax.random.normal(jax.random.key(0), (300, 4))


def test_spread_out_finds_the_only_place_that_is_left():
    # all mass of the squared distance is at the last point: the draw is certain
    features = jnp.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [9.0, 9.0]])
    found = query.spread_out(jax.random.key(1), features, 1, np.array([0, 2]))
    assert found.tolist() == [3]


def test_spread_out_draws_in_proportion_to_the_squared_distance():
    # from 0 the squared distances are 1 and 4: the farther one comes four times as often
    features = jnp.array([[0.0], [1.0], [-2.0]])
    draws = [
        query.spread_out(key, features, 1, np.array([0]))[0]
        for key in jax.random.split(jax.random.key(2), 500)
    ]
    assert 0 not in draws
    assert 0.74 < np.mean(np.array(draws) == 2) < 0.86


def test_spread_out_never_repeats_what_was_asked_and_repeats_with_its_key():
    asked = np.arange(0, 300, 3)
    found = query.spread_out(jax.random.key(3), POINTS, 50, asked)
    assert len(found) == len(set(found)) == 50
    assert not set(found) & set(asked)
    again = query.spread_out(jax.random.key(3), POINTS, 50, asked)
    np.testing.assert_array_equal(found, again)


def test_spread_out_gives_no_more_than_there_are_distinct_points():
    features = jnp.array([[0.0], [0.0], [1.0], [1.0], [1.0]])
    found = query.spread_out(jax.random.key(4), features, 4, np.zeros(0, int))
    assert len(np.unique(np.asarray(features)[found])) == 2


class Priced:
    """An oracle that only knows prices."""

    def __init__(self, prices, remaining):
        self.prices, self.remaining = np.array(prices, float), remaining

    def cost(self, indices):
        return self.prices[indices]


def test_money_buys_labels_at_the_mean_price_of_those_left_or_surely_at_the_dearest():
    oracle = Priced([1, 1, 1, 5], 4.0)
    assert query.how_many(oracle, 4) == 2
    assert query.how_many(oracle, 4, surely=True) == 0
    assert query.how_many(oracle, 4, np.array([3])) == 3
    assert query.how_many(oracle, 4, np.arange(4)) == 0
    assert query.how_many(Priced([0, 0], 0.0), 2) == 2
