import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlabel import augment

IMAGES = jax.random.uniform(jax.random.key(0), (6, 8, 10, 2))


def test_as_float_is_exact_at_both_ends():
    images = np.array([[[[0], [255]]]], np.uint8)
    np.testing.assert_array_equal(augment.as_float(images).ravel(), [0.0, 1.0])


def resample(image, matrix, offset):
    """Warp one image by the definition of `warp`, bilinearly and pixel by pixel."""
    height, width = image.shape[:2]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    out = np.zeros_like(image)
    for row, column in np.ndindex(height, width):
        source = matrix @ (np.array([row, column]) - centre) + centre + offset
        for i, j in np.ndindex(height, width):
            weight = np.maximum(1 - np.abs(source - [i, j]), 0).prod()
            out[row, column] += weight * image[i, j]
    return out


@pytest.mark.parametrize(
    ("matrix", "exact"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], True),
        ([[0.8, 0.0], [0.0, 1.25]], True),
        ([[1.0, 0.0], [0.3, 1.0]], True),
        ([[0.9, 0.2], [-0.25, 1.1]], False),
    ],
)
def test_warp_is_bilinear_where_one_axis_moves_and_close_to_it_elsewhere(matrix, exact):
    offset = np.array([0.0, 0.7]) if exact else np.array([0.6, -0.4])
    smooth = np.sin(np.arange(8)[:, None, None] / 3 + np.arange(10)[:, None] / 4 + np.arange(2))
    found = augment.warp(
        jnp.asarray(smooth[None]), jnp.array([matrix]), jnp.asarray(offset[None]), (6, 6)
    )[0]
    expected = resample(smooth, np.array(matrix), offset)
    inside = slice(2, -2)
    if exact:
        np.testing.assert_allclose(found, expected, atol=1e-5)
    else:
        np.testing.assert_allclose(found[inside, inside], expected[inside, inside], atol=0.03)


def test_warp_moves_by_half_a_pixel_between_neighbours():
    row = jnp.array([[[[0.0], [1.0], [0.0], [0.0]]]])
    moved = augment.warp(row, jnp.eye(2)[None], jnp.array([[0.0, 0.5]]), (0, 1))
    np.testing.assert_allclose(moved.ravel(), [0.5, 0.5, 0.0, 0.0])


def test_the_reach_of_deform_bounds_every_move(monkeypatch):
    seen = []
    original = augment.geometry._shift_pixels

    def recorded(images, moves, reach, axis):
        seen.append(float(jnp.max(jnp.abs(moves))) - reach)
        return original(images, moves, reach, axis)

    monkeypatch.setattr(augment.geometry, "_shift_pixels", recorded)
    transform = augment.deform(max_shift=0.1, max_rotation=0.4, max_scale=0.2)
    transform(jax.random.key(0), jnp.ones((500, 12, 9, 1)))
    assert len(seen) == 2 and -2.5 < max(seen) <= 0


def test_a_full_crop_changes_nothing_and_partial_crops_stay_in_range():
    whole = augment.crop(1.0, max_ratio=1.0)(jax.random.key(0), IMAGES)
    np.testing.assert_allclose(whole, IMAGES, atol=1e-5)
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 10)[:, None], (50, 10, 10, 1))
    parts = np.asarray(augment.crop(0.25, max_ratio=1.0)(jax.random.key(1), ramp))
    slopes = parts[:, 5, 6] - parts[:, 5, 4]
    assert np.all(slopes >= 0.99 * 0.5 * 2 / 9) and np.all(slopes <= 1.01 * 2 / 9)


def test_a_square_is_erased():
    erased = augment.erase(jax.random.key(0), jnp.ones((300, 10, 10, 1)), 0.4)
    holes = np.asarray(erased == 0).sum(axis=(1, 2, 3))
    assert holes.max() == 16 and holes.min() >= 4


def test_tone_and_jitter_of_strength_zero_change_nothing():
    np.testing.assert_allclose(augment.tone(jax.random.key(0), IMAGES, contrast=0.0), IMAGES)
    colours = jax.random.uniform(jax.random.key(1), (20, 4, 4, 3))
    same = augment.jitter(jax.random.key(2), colours, probability=0.0, grey=0.0)
    np.testing.assert_allclose(same, colours, atol=1e-5)
    grey = augment.jitter(jax.random.key(2), colours, probability=0.0, grey=1.0)
    luma = np.asarray(colours) @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey, np.repeat(luma[..., None], 3, axis=-1), atol=1e-4)


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


def test_turn_gives_the_eight_symmetries_of_a_square_and_keeps_other_shapes():
    square = np.arange(9.0).reshape(3, 3)
    turned = augment.turn(jax.random.key(0), jnp.tile(square[None, :, :, None], (400, 1, 1, 1)))
    found = {tuple(np.asarray(one).ravel()) for one in turned}
    sides = [np.rot90(one, k) for one in (square, square[:, ::-1]) for k in range(4)]
    assert found == {tuple(one.ravel()) for one in sides}
    wide = augment.turn(jax.random.key(0), jnp.tile(square[None, :2, :, None], (100, 1, 1, 1)))
    assert wide.shape == (100, 2, 3, 1)
    assert len({tuple(np.asarray(one).ravel()) for one in wide}) == 4


def test_digits_are_never_mirrored():
    images = jnp.tile(IMAGES[:1], (200, 1, 1, 1))
    digits = augment.weak("digits", max_shift=0.0)(jax.random.key(3), images)
    clothes = augment.weak("clothes", max_shift=0.0)(jax.random.key(3), images)
    np.testing.assert_array_equal(digits, images)
    assert np.any(clothes != images)


def spread_of_angles(kind):
    """Return the standard deviation of the angles of 500 strongly augmented vertical bars."""
    bars = jnp.zeros((500, 28, 28, 1)).at[:, 3:25, 12:16].set(1.0)
    seen = np.asarray(augment.strong(kind)(jax.random.key(6), bars))[..., 0]
    shares = seen / seen.sum((1, 2), keepdims=True)
    rows = np.arange(28)[:, None] - (shares.sum(2) @ np.arange(28))[:, None, None]
    columns = np.arange(28) - (shares.sum(1) @ np.arange(28))[:, None, None]
    slopes = (shares * rows * columns).sum((1, 2)) / (shares * rows**2).sum((1, 2))
    return np.arctan(slopes).std()


def test_what_stands_upright_is_turned_half_as_far_as_digits():
    digits = spread_of_angles("digits")
    for kind in ("clothes", "objects"):
        assert spread_of_angles(kind) == pytest.approx(digits / 2, rel=0.2)


@pytest.mark.parametrize(
    "transform",
    [
        augment.weak("clothes"),
        augment.deform(max_shift=0.1, max_rotation=0.2, max_scale=0.1),
        augment.strong("clothes"),
        augment.contrastive("overhead"),
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


def test_photographs_have_their_colours_jittered():
    colours = jax.random.uniform(jax.random.key(1), (6, 8, 8, 3))
    for transform in (augment.contrastive("objects"), augment.strong("objects")):
        seen = transform(jax.random.key(0), colours)
        assert seen.shape == colours.shape and float(seen.min()) >= 0 and float(seen.max()) <= 1


def test_deform_of_strength_zero_changes_nothing():
    transform = augment.deform(max_shift=0.0, max_rotation=0.0, max_scale=0.0)
    np.testing.assert_allclose(transform(jax.random.key(6), IMAGES), IMAGES, atol=1e-5)


def test_perturbed_features_lose_the_share_and_get_the_noise_that_was_asked():
    ones = jnp.ones((100, 1, 1, 100), jnp.float32)
    seen = np.asarray(augment.perturb(noise=0.3, dropped=0.2)(jax.random.key(0), ones))
    kept = seen[seen != 0]
    assert 1 - len(kept) / seen.size == pytest.approx(0.2, abs=0.02)
    assert kept.mean() == pytest.approx(1, abs=0.02)
    assert kept.std() == pytest.approx(0.3, abs=0.02)
    weak = np.asarray(augment.weak("features")(jax.random.key(0), ones))
    assert (weak != 0).all() and 0 < weak.std() < kept.std()
    np.testing.assert_array_equal(augment.as_float(ones), ones)
