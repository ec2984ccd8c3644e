"""Consistency losses compared with hand-computed constants and direct implementations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlabel.losses import consistency

LOGITS = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]]))
TARGETS = jnp.array([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
RANDOM = np.random.default_rng(0)
SCORES = jnp.asarray(RANDOM.standard_normal((7, 4)), jnp.float32)
PREDICTED = jax.nn.softmax(jnp.asarray(RANDOM.standard_normal((7, 4)), jnp.float32))


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_losses_are_the_constants_computed_by_hand():
    assert_close(consistency.pseudo_label(LOGITS, TARGETS), [-math.log(0.7), -math.log(0.25)])
    soft = -0.6 * math.log(0.7) - 0.3 * math.log(0.2) - 0.1 * math.log(0.1)
    assert_close(consistency.soft_cross_entropy(LOGITS, TARGETS)[0], soft)
    assert_close(consistency.squared_difference(LOGITS, TARGETS), [0.02, 0.0225 + 0.16 + 0.3025])
    kl = 0.6 * math.log(0.6 / 0.7) + 0.3 * math.log(0.3 / 0.2)
    assert_close(consistency.divergence(LOGITS[:1], jnp.log(TARGETS[:1])), [kl])
    assert_close(consistency.divergence(LOGITS, LOGITS), [0.0, 0.0])


def test_losses_equal_direct_implementations():
    for row, (scores, probabilities) in enumerate(zip(SCORES, PREDICTED, strict=True)):
        p = np.exp(scores) / np.exp(scores).sum()
        hard = -math.log(p[int(np.argmax(probabilities))])
        soft = -sum(float(b) * math.log(q) for b, q in zip(probabilities, p, strict=True))
        square = sum((float(b) - q) ** 2 for b, q in zip(probabilities, p, strict=True))
        kl = sum(float(b) * math.log(float(b) / q) for b, q in zip(probabilities, p, strict=True))
        assert_close(consistency.pseudo_label(SCORES, PREDICTED)[row], hard)
        assert_close(consistency.soft_cross_entropy(SCORES, PREDICTED)[row], soft)
        assert_close(consistency.squared_difference(SCORES, PREDICTED)[row], square)
        assert_close(consistency.divergence(SCORES, jnp.log(PREDICTED))[row], kl)


@pytest.mark.parametrize(
    "loss",
    [consistency.pseudo_label, consistency.soft_cross_entropy, consistency.squared_difference],
)
def test_no_gradient_goes_through_targets(loss):
    gradient = jax.grad(lambda targets: jnp.sum(loss(SCORES, targets)))(PREDICTED)
    np.testing.assert_array_equal(gradient, 0.0)


def test_sharpening_by_one_half_squares_the_odds():
    assert_close(
        consistency.sharpen(jnp.array([[0.8, 0.2], [1.0, 0.0]]), 0.5), [[16 / 17, 1 / 17], [1, 0]]
    )
    assert_close(consistency.sharpen(PREDICTED, 1.0), PREDICTED)


def test_guess_is_the_sharpened_mean_over_views():
    views = jnp.log(jnp.array([[[0.9, 0.1]], [[0.5, 0.5]]]))  # the mean is 0.7, 0.3
    assert_close(consistency.average_and_sharpen(views, 0.5), [[0.49 / 0.58, 0.09 / 0.58]])


def test_mixup_mixes_an_image_and_its_label_by_the_same_share_and_stays_nearer_to_itself():
    numbers = jnp.arange(6.0)
    images = jnp.broadcast_to(numbers[:, None, None, None], (6, 2, 2, 1))
    mixed, targets = consistency.mixup(jax.random.key(1), images, jnp.eye(6), concentration=0.75)
    assert_close(mixed[:, 0, 0, 0], targets @ numbers)
    assert_close(mixed, mixed[:, :1, :1] * jnp.ones((1, 2, 2, 1)))
    assert_close(targets.sum(axis=1), 1.0)
    assert np.all(np.diag(targets) >= 0.5)
    assert np.any(np.diag(targets) < 0.999)


def test_alignment_divides_by_the_running_mean_and_moves_the_mean_to_the_prior():
    aligned = consistency.align(
        jnp.array([[0.8, 0.2]]), jnp.array([0.5, 0.5]), jnp.array([0.8, 0.2])
    )
    assert_close(aligned, [[0.5, 0.5]])
    mean = PREDICTED.mean(axis=0)
    assert_close(consistency.align(PREDICTED, mean, mean), PREDICTED)
    uniform = jnp.full(4, 0.25)
    before = np.abs(mean - uniform).max()
    after = np.abs(consistency.align(PREDICTED, uniform, mean).mean(axis=0) - uniform).max()
    assert after < before


def test_the_labelled_prior_is_laplaces_rule():
    assert_close(consistency.labelled_prior(jnp.array([3.0, 0.0, 1.0])), [4 / 7, 1 / 7, 2 / 7])


def test_the_ramp_rises_from_e_to_the_minus_five_to_one():
    assert_close([consistency.ramp_up(step, 10.0) for step in (0, 5, 10, 20)],
          [math.exp(-5), math.exp(-1.25), 1.0, 1.0])  # fmt: skip
    assert_close(consistency.ramp_up(0.0, 0.0), math.exp(-5))
    assert_close(consistency.ramp_up(1.0, 0.0), 1.0)


WEIGHTS = jnp.asarray(RANDOM.standard_normal((6, 3)), jnp.float32)


def linear(images):
    return images.reshape(len(images), -1) @ WEIGHTS


def test_the_adversarial_direction_is_the_leading_eigenvector_of_the_curvature():
    image = jnp.asarray(RANDOM.standard_normal((1, 2, 3, 1)), jnp.float32)
    targets = linear(image)
    found = consistency.adversarial_direction(
        linear, image, targets, jax.random.key(0), probe=0.01, num_iterations=30
    ).ravel()
    p = jax.nn.softmax(targets[0])
    fisher = WEIGHTS @ (jnp.diag(p) - jnp.outer(p, p)) @ WEIGHTS.T
    leading = np.linalg.eigh(fisher)[1][:, -1]
    assert_close(np.linalg.norm(found), 1.0)
    np.testing.assert_allclose(abs(found @ leading), 1.0, atol=1e-3)


def test_virtual_adversarial_loss_is_the_divergence_along_that_direction():
    images = jnp.asarray(RANDOM.standard_normal((3, 2, 3, 1)), jnp.float32)
    key = jax.random.key(0)
    found = consistency.virtual_adversarial(linear, images, key, radius=0.5)
    direction = consistency.adversarial_direction(
        linear, images, linear(images), key, probe=0.1, num_iterations=1
    )
    p, q = (jax.nn.softmax(linear(x)) for x in (images, images + 0.5 * direction))
    assert_close(found, np.sum(p * np.log(p / q), axis=1))
    away = jnp.linalg.norm(direction.reshape(3, -1), axis=1)
    assert_close(away, 1.0)
    constant = consistency.virtual_adversarial(lambda x: jnp.zeros((len(x), 3)), images, key)
    assert_close(constant, 0.0)
