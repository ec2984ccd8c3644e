import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlabel import nets, train
from jaxlabel.nets.gradients import centres, pool_cells


def weights(side, cell):
    """Return the weight of each pixel in each cell, computed from images with one lit pixel."""
    maps = jnp.eye(side)[:, :, None, None]
    return np.asarray(pool_cells(maps, cell, axis=1))[:, :, 0, 0]


def test_windows_divide_each_pixel_and_peak_at_cell_centres():
    found = weights(9, 3)
    np.testing.assert_allclose(found[:, 0], [2 / 3, 1, 2 / 3, 1 / 3, 0, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[1:-1].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("cell", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [1, 2, 5, 13, 28])
def test_sums_of_slices_are_the_product_with_the_windows(side, cell, axis):
    away = np.abs(np.arange(side)[:, None] - centres(side, cell)) / cell
    maps = jax.random.normal(jax.random.key(0), (2, side, side, 3))
    expected = np.tensordot(np.moveaxis(maps, axis, -1), np.maximum(1 - away, 0), axes=1)
    found = np.moveaxis(pool_cells(maps, cell, axis), axis, -1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_edge_appears_in_its_orientation_and_place():
    image = jnp.zeros((1, 12, 12, 1)).at[:, :, 6:].set(1.0)  # brighter to the right
    maps = np.asarray(nets.oriented_gradients(image)).reshape(4, 4, 9)
    assert maps[1, 2, 0] > 5 * maps[1, 2, 2] and maps[1, 2, 0] > 5 * maps[1, 0, 0]
    turned = np.asarray(nets.oriented_gradients(image.swapaxes(1, 2))).reshape(4, 4, 9)
    np.testing.assert_allclose(turned[2, 1, 2], maps[1, 2, 0], rtol=1e-4)
    light = weights(12, 3).sum(axis=0)[:, None] * weights(12, 3)[6:].sum(axis=0)
    np.testing.assert_allclose(maps[..., 8] ** 2, light, rtol=1e-3, atol=1e-5)


def test_its_size_is_known_and_the_encoder_takes_any_shape():
    for shape in ((28, 28, 1), (8, 8, 1), (10, 13, 3)):
        images = jax.random.uniform(jax.random.key(0), (2, *shape))
        assert nets.oriented_gradients(images).shape == (2, nets.num_gradients(shape))
    for name, size in (("gradients", 32), ("gradient_conv", 16), ("fine_gradient_conv", 16)):
        encoder = made(name, (10, 13, 3), 4)
        found = jax.eval_shape(lambda images, encoder=encoder: encoder.features(images), images)
        assert found.shape == (2, encoder.num_features) == (2, size)


def made(name, shape, width):
    return train.init(lambda rngs: nets.make_encoder(name, shape, rngs, width), jax.random.key(0))


@pytest.mark.parametrize("name", ["gradient_conv", "fine_gradient_conv"])
def test_convolutions_of_gradients_keep_where_things_are(name):
    model = made(name, (48, 48, 1), 8)
    image = jnp.zeros((1, 48, 48, 1)).at[:, 15:21, 15:21].set(1.0)
    moved = jnp.roll(image, (12, 12), (1, 2))  # by four cells, all far from the border
    both = jnp.concatenate([image, moved])
    maps = nets.oriented_gradients(both).reshape(2, 256, 9).mean(axis=1)
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-5)

    def loss(model):
        features = model.features(both)
        return jnp.sum(features**2), features

    gradients, (one, other) = jax.jit(jax.grad(loss, has_aux=True))(model)
    assert float(jnp.abs(one - other).max()) > 0.1 * float(jnp.abs(one).max())
    for leaf in jax.tree.leaves(gradients):
        assert np.any(np.asarray(leaf) != 0)


def test_fine_cells_see_what_is_smaller_than_a_coarse_one():
    plain = jnp.full((1, 12, 12, 1), 0.5)
    button = plain.at[:, 4, 4].set(1.0)
    seen = [made("fine_gradient_conv", (12, 12, 1), 4).maps(image) for image in (plain, button)]
    assert seen[0].shape == (1, 6, 6, 12)
    changed = np.asarray(jnp.abs(seen[1] - seen[0])[0])
    np.testing.assert_allclose(changed[2, 2, :4], [1, 0, 0, 0], atol=1e-6)
    assert changed[2, 2, 4:].max() > 0.5 and changed[0].max() < 1e-6
