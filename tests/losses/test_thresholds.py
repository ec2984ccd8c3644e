"""Thresholds and weights of pseudo-labels compared with constants and direct implementations."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxlabel.losses import thresholds

PREDICTED = jnp.array([[0.96, 0.02, 0.02], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]])


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_fixed_mask_keeps_what_reaches_the_threshold():
    np.testing.assert_array_equal(thresholds.fixed_mask(PREDICTED, 0.95), [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(thresholds.fixed_mask(PREDICTED[:0], 0.95), [])


def test_a_class_mask_uses_the_threshold_of_the_most_probable_class():
    mask = thresholds.class_mask(PREDICTED, jnp.array([0.97, 0.5, 0.8]))
    np.testing.assert_array_equal(mask, [0.0, 1.0, 1.0])


def test_only_confident_classes_are_remembered():
    chosen = thresholds.remember(jnp.array([-1, 2, -1, 1]), jnp.array([3, 1, 0]), PREDICTED, 0.8)
    np.testing.assert_array_equal(chosen, [2, 2, -1, 0])


def test_an_image_drawn_twice_is_remembered_in_any_order_alike():
    before = jnp.array([2, -1, 1])
    for order in (np.array([0, 1, 2]), np.array([2, 1, 0]), np.array([1, 2, 0])):
        rows = jnp.array([1, 0, 1])[order]  # image 1 with classes 0 and 2, image 0 unsure
        chosen = thresholds.remember(before, rows, PREDICTED[order], 0.8)
        np.testing.assert_array_equal(chosen, [2, 2, 1])


def test_curriculum_thresholds_are_those_of_the_paper():
    # 4, 2 and 0 images learned, 3 not: shares 1, 1/2, 0, mapped to 1, 1/3, 0
    chosen = jnp.array([0] * 4 + [1] * 2 + [-1] * 3)
    assert_close(thresholds.curriculum_thresholds(chosen, 3, 0.9), [0.9, 0.3, 0.0])
    # 8 not learned: they are the denominator
    chosen = jnp.array([0] * 4 + [1] * 2 + [-1] * 8)
    shares = np.array([0.5, 0.25, 0.0])
    assert_close(thresholds.curriculum_thresholds(chosen, 3, 0.9), 0.9 * shares / (2 - shares))
    assert_close(thresholds.curriculum_thresholds(jnp.full(5, -1), 3, 0.9), 0.0)


def test_statistics_are_moving_averages():
    before = thresholds.initial_statistics(3)
    assert_close(before.level, 1 / 3)
    assert_close(before.mean, 1 / 3)
    after = thresholds.update_statistics(before, PREDICTED, 0.9)
    largest = np.array([0.96, 0.6, 0.8])
    assert_close(after.level, 0.9 / 3 + 0.1 * largest.mean())
    assert_close(after.spread, 0.9 + 0.1 * largest.var(ddof=1))
    assert_close(after.mean, 0.9 / 3 + 0.1 * np.mean(PREDICTED, axis=0))
    assert np.isfinite(thresholds.update_statistics(before, PREDICTED[:1], 0.9).spread)


def test_adaptive_thresholds_follow_level_and_shares():
    seen = thresholds.Confidence(jnp.float32(0.8), jnp.float32(0.1), jnp.array([0.5, 0.25, 0.25]))
    assert_close(thresholds.adaptive_thresholds(seen), [0.8, 0.4, 0.4])
    assert_close(thresholds.adaptive_thresholds(seen, 0.7), [0.7, 0.35, 0.35])


def test_gaussian_weights_fall_below_the_mean_confidence_only():
    seen = thresholds.Confidence(jnp.float32(0.8), jnp.float32(0.02), jnp.full(3, 1 / 3))
    assert_close(thresholds.gaussian_weights(PREDICTED, seen), [1.0, math.exp(-0.04 / 0.04), 1.0])


def test_compiled_functions_give_equal_results():
    seen = thresholds.update_statistics(thresholds.initial_statistics(3), PREDICTED, 0.5)
    compiled = jax.jit(thresholds.gaussian_weights)(PREDICTED, seen)
    assert_close(compiled, thresholds.gaussian_weights(PREDICTED, seen))
