import jax
import jax.numpy as jnp
import numpy as np

from jaxlabel import losses


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]]))
    values = losses.cross_entropy(logits, jnp.array([2, 0]))
    np.testing.assert_allclose(values, [0.6931472, 2.3025851], rtol=1e-6)


def test_cross_entropy_does_not_change_when_logits_are_moved_together():
    logits = jax.random.normal(jax.random.key(0), (5, 7))
    labels = jnp.arange(5)
    moved = losses.cross_entropy(logits + 100, labels)
    np.testing.assert_allclose(moved, losses.cross_entropy(logits, labels), atol=1e-4)


def test_bernoulli_reconstruction_by_hand():
    # two pixels of value 1 and 0 at probability one half each: 2 log 2
    value = losses.bernoulli_reconstruction(jnp.zeros((1, 1, 2, 1)), jnp.array([[[[1.0], [0.0]]]]))
    np.testing.assert_allclose(value, [2 * np.log(2)], rtol=1e-6)


def test_bernoulli_reconstruction_is_least_where_the_probability_is_the_grey_value():
    grey = 0.3
    at = [
        float(losses.bernoulli_reconstruction(jnp.full((1, 1), logit), jnp.full((1, 1), grey))[0])
        for logit in (np.log(grey / (1 - grey)) + np.array([-0.1, 0.0, 0.1]))
    ]
    assert at[1] < min(at[0], at[2])
