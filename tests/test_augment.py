import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlabel import augment

IMAGES = jax.random.uniform(jax.random.key(0), (6, 8, 10, 2))


def test_as_float_is_exact_at_both_ends():
    images = np.array([[[[0], [255]]]], np.uint8)
    np.testing.assert_array_equal(augment.as_float(images).ravel(), [0.0, 1.0])


def test_resample_with_the_identity_changes_nothing():
    same = augment.resample(IMAGES[0], jnp.eye(2), jnp.zeros(2))
    np.testing.assert_allclose(same, IMAGES[0], atol=1e-6)


def test_resample_by_a_quarter_turn_is_numpys():
    square = IMAGES[0, :8, :8]
    quarter = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = augment.resample(square, quarter, jnp.zeros(2))
    np.testing.assert_allclose(turned, np.rot90(square), atol=1e-5)


def test_resample_moves_by_half_a_pixel_between_neighbours():
    row = jnp.array([[[0.0], [1.0], [0.0], [0.0]]])
    moved = augment.resample(row, jnp.eye(2), jnp.array([0.0, 0.5]))
    np.testing.assert_allclose(moved.ravel(), [0.5, 0.5, 0.0, 0.0])


def test_shift_keeps_what_stays_inside_and_brings_in_black():
    image = jnp.zeros((64, 9, 9, 1)).at[:, 4, 4].set(1.0)
    moved = augment.shift(jax.random.key(1), image, 0.25)
    np.testing.assert_allclose(moved.sum(axis=(1, 2, 3)), 1.0)
    rows, columns = np.nonzero(np.asarray(moved[..., 0].max(axis=0)))
    assert (rows.min(), rows.max()) == (2, 6) and (columns.min(), columns.max()) == (2, 6)


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_rest():
    images = jnp.tile(IMAGES[:1], (400, 1, 1, 1))
    flipped = augment.flip(jax.random.key(2), images)
    mirrored = np.all(np.asarray(flipped == images[:, :, ::-1]), axis=(1, 2, 3))
    kept = np.all(np.asarray(flipped == images), axis=(1, 2, 3))
    assert np.all(mirrored ^ kept)
    assert 150 < mirrored.sum() < 250


def test_digits_are_never_mirrored():
    images = jnp.tile(IMAGES[:1], (200, 1, 1, 1))
    digits = augment.weak("digits", max_shift=0.0)(jax.random.key(3), images)
    clothes = augment.weak("clothes", max_shift=0.0)(jax.random.key(3), images)
    np.testing.assert_array_equal(digits, images)
    assert np.any(clothes != images)


@pytest.mark.parametrize(
    "transform",
    [
        augment.weak("clothes"),
        augment.deform(max_shift=0.1, max_rotation=0.2, max_scale=0.1),
    ],
)
def test_transforms_keep_shape_and_range_and_repeat_with_the_same_key(transform):
    first = transform(jax.random.key(4), IMAGES)
    again = jax.jit(transform)(jax.random.key(4), IMAGES)
    other = transform(jax.random.key(5), IMAGES)
    assert first.shape == IMAGES.shape
    assert float(first.min()) >= 0 and float(first.max()) <= 1 + 1e-6
    np.testing.assert_allclose(first, again, atol=1e-5)
    assert np.any(np.asarray(first) != np.asarray(other))


def test_deform_of_nothing_is_nothing():
    transform = augment.deform(max_shift=0.0, max_rotation=0.0, max_scale=0.0)
    np.testing.assert_allclose(transform(jax.random.key(6), IMAGES), IMAGES, atol=1e-5)
