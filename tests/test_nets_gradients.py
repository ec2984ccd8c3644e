import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxlabel import nets
from jaxlabel.nets.gradients import windows


def test_windows_share_each_pixel_out_and_peak_at_their_centres():
    found = windows(9, 3)
    np.testing.assert_allclose(found[:, 0], [2 / 3, 1, 2 / 3, 1 / 3, 0, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[1:-1].sum(axis=1), 1, atol=1e-6)


def test_an_edge_is_seen_in_its_direction_where_it_is():
    image = jnp.zeros((1, 12, 12, 1)).at[:, :, 6:].set(1.0)  # brighter to the right
    maps = np.asarray(nets.oriented_gradients(image)).reshape(4, 4, 9)
    assert maps[1, 2, 0] > 5 * maps[1, 2, 2] and maps[1, 2, 0] > 5 * maps[1, 0, 0]
    turned = np.asarray(nets.oriented_gradients(image.swapaxes(1, 2))).reshape(4, 4, 9)
    np.testing.assert_allclose(turned[2, 1, 2], maps[1, 2, 0], rtol=1e-4)
    light = windows(12, 3).sum(axis=0)[:, None] * windows(12, 3)[6:].sum(axis=0)
    np.testing.assert_allclose(maps[..., 8] ** 2, light, rtol=1e-3, atol=1e-5)


def test_its_size_is_known_and_the_encoder_takes_any_shape():
    for shape in ((28, 28, 1), (8, 8, 1), (10, 13, 3)):
        images = jax.random.uniform(jax.random.key(0), (2, *shape))
        assert nets.oriented_gradients(images).shape == (2, nets.num_gradients(shape))
    encoder = nets.make_encoder("gradients", (10, 13, 3), nnx.Rngs(0), 4)
    assert encoder.features(images).shape == (2, encoder.num_features) == (2, 32)
