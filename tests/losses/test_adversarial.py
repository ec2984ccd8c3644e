import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlabel.losses import adversarial

LOGITS = 3 * jax.random.normal(jax.random.key(0), (64, 10))


def open_probabilities(logits):
    """Return the softmax over K + 1 outputs, the last of which ("generated") has logit 0."""
    last = np.zeros((len(logits), 1))
    powers = np.exp(np.concatenate([np.asarray(logits, float), last], axis=1))
    return powers / powers.sum(axis=1, keepdims=True)


def test_losses_by_hand():
    # Z = 1 + 2 = 3, so that D = 3/4
    logits = jnp.log(jnp.array([[1.0, 2.0]]))
    np.testing.assert_allclose(adversarial.real_logit(logits), [np.log(3)], rtol=1e-6)
    np.testing.assert_allclose(adversarial.real_loss(logits), [0.2876821], rtol=1e-6)
    np.testing.assert_allclose(adversarial.fake_loss(logits), [1.3862944], rtol=1e-6)


def test_smoothing_by_hand():
    # 0.9 of -log 3/4 and 0.1 of -log 1/4
    loss = adversarial.real_loss(jnp.log(jnp.array([[1.0, 2.0]])), 0.9)
    np.testing.assert_allclose(loss, [0.3975433], rtol=1e-6)


def test_the_real_logit_is_that_of_k_plus_one_outputs_with_the_last_at_zero():
    generated = open_probabilities(LOGITS)[:, -1]
    np.testing.assert_allclose(adversarial.fake_loss(LOGITS), -np.log(generated), atol=1e-5)
    np.testing.assert_allclose(adversarial.real_loss(LOGITS), -np.log1p(-generated), atol=1e-5)


def test_classes_given_that_an_image_is_real_are_the_softmax_of_the_k_logits():
    joint = open_probabilities(LOGITS)
    given_real = joint[:, :-1] / joint[:, :-1].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(jax.nn.softmax(LOGITS), given_real, atol=1e-5)


@pytest.mark.parametrize("loss", [adversarial.real_loss, adversarial.fake_loss])
def test_extreme_logits_stay_finite(loss):
    extreme = jnp.array([[1e4, -1e4], [-1e4, -1e4]])
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(loss(x)))(extreme)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_feature_matching_by_hand_and_in_any_order():
    real, generated = jnp.array([[1.0, 0.0], [3.0, 4.0]]), jnp.array([[0.0, 1.0]])
    np.testing.assert_allclose(adversarial.feature_matching(real, generated), 5.0)
    np.testing.assert_allclose(adversarial.feature_matching(real[::-1], generated), 5.0)
    np.testing.assert_allclose(adversarial.feature_matching(real, real[::-1]), 0.0)
