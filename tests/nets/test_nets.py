import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxlabel import nets, train
from jaxlabel.nets.conv import halve

IMAGES = jax.random.uniform(jax.random.key(0), (4, 10, 8, 3))
SHAPE = IMAGES.shape[1:]

MODELS = {
    "dense autoencoder": lambda rngs: nets.DenseAutoencoder(SHAPE, 5, rngs, hidden=(16, 8)),
    "conv autoencoder": lambda rngs: nets.ConvAutoencoder(SHAPE, 5, rngs, width=8),
    "dense classifier": lambda rngs: nets.DenseClassifier(SHAPE, 7, rngs, hidden=(16, 8)),
    "conv classifier": lambda rngs: nets.ConvClassifier(SHAPE, 7, rngs, width=8, hidden=16),
}
WIDTHS = {"dense autoencoder": (5, SHAPE), "conv autoencoder": (5, SHAPE),
          "dense classifier": (8, (7,)), "conv classifier": (16, (7,))}  # fmt: skip


@pytest.mark.parametrize("graph_mode", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_models_are_values_in_both_flax_modes(name, graph_mode):
    with nnx.set_graph_mode(graph_mode):
        model = MODELS[name](nnx.Rngs(1))
        features, outputs = WIDTHS[name]
        assert model.features(IMAGES).shape == (4, features)
        assert model(IMAGES).shape == (4, *outputs)
        jitted = jax.jit(lambda model, images: model(images))(model, IMAGES)
        np.testing.assert_allclose(jitted, model(IMAGES), atol=1e-5)
        gradient = jax.grad(lambda model: jnp.sum(model(IMAGES) ** 2))(model)
        assert jax.tree.structure(gradient) == jax.tree.structure(model)
        assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", MODELS)
def test_both_flax_modes_make_the_same_model(name):
    with nnx.set_graph_mode(True):
        one = jax.tree.leaves(MODELS[name](nnx.Rngs(1)))
    with nnx.set_graph_mode(False):
        other = jax.tree.leaves(MODELS[name](nnx.Rngs(1)))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_an_image_does_not_see_its_batch(name):
    model = MODELS[name](nnx.Rngs(2))
    alone = jnp.concatenate([model(image[None]) for image in IMAGES])
    np.testing.assert_allclose(alone, model(IMAGES), atol=1e-5)


@pytest.mark.parametrize("width", [9, 12, 30])
def test_a_conv_classifier_may_have_any_width(width):
    model = nets.ConvClassifier(SHAPE, 7, nnx.Rngs(0), width=width, hidden=16)
    assert model(IMAGES).shape == (4, 7)


def test_models_are_made_under_vmap():
    keys = jax.random.split(jax.random.key(3), 2)
    pair = jax.vmap(lambda key: nets.Dense((4, 3), nnx.Rngs(key)))(keys)
    second = jax.tree.map(lambda leaf: leaf[1], pair)
    alone = nets.Dense((4, 3), nnx.Rngs(keys[1]))
    np.testing.assert_allclose(second(jnp.ones((1, 4))), alone(jnp.ones((1, 4))), atol=1e-6)


def test_dense_by_hand():
    model = nets.Dense((2, 2, 1), nnx.Rngs(0))
    model.layers[0].kernel = nnx.Param(jnp.array([[1.0, -1.0], [1.0, 0.0]]))
    model.layers[1].kernel = nnx.Param(jnp.array([[2.0], [3.0]]))
    # hidden = relu([1 + 2, -1]) = [3, 0]; output = 6
    np.testing.assert_allclose(model(jnp.array([[1.0, 2.0]])), [[6.0]])


def test_space_to_depth_by_hand_and_back():
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    blocks = nets.space_to_depth(image)
    np.testing.assert_array_equal(blocks[0, 0, 1], [2, 3, 6, 7])
    np.testing.assert_array_equal(nets.depth_to_space(blocks), image)


ENCODERS = [("conv", (7, 9, 1), 4), ("dense", (4, 4, 1), 2), ("resnet18", (9, 9, 3), 4),
            ("linear", (1, 1, 6), None), ("hidden", (1, 1, 6), 2)]  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "width"), ENCODERS)
def test_every_parameter_of_an_encoder_learns(name, shape, width):
    images = jax.random.uniform(jax.random.key(0), (3, *shape))

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient(model):
        logits = model(images)
        return jnp.mean(jnp.square(logits - 1)), (model.features(images), logits)

    def make(rngs):
        return nets.Classifier(nets.make_encoder(name, shape, rngs, width), 5, rngs)

    model = train.init(make, jax.random.key(1))
    gradients, (features, logits) = gradient(model)
    assert features.shape == (3, model.encoder.num_features)
    assert features.dtype == logits.dtype == jnp.float32
    assert logits.shape == (3, 5)
    for leaf in jax.tree.leaves(gradients):
        assert 0 < float(jnp.abs(leaf).max()) < 100


@pytest.mark.parametrize("name", nets.ENCODERS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 2), (8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3), (31, 17, 2)]
)
def test_encoders_take_any_side(name, shape):
    def run():
        encoder = nets.make_encoder(name, shape, nnx.Rngs(0))
        return encoder, encoder.features(jnp.zeros((2, *shape)))

    encoder, features = jax.eval_shape(run)
    assert encoder.num_features == {"conv": 64, "resnet18": 512}.get(name, 128)
    assert features.shape == (2, encoder.num_features)


def test_an_encoder_that_is_none_is_refused():
    with pytest.raises(ValueError, match="take one of conv, resnet18, dense"):
        nets.make_encoder("vit", (28, 28, 1), nnx.Rngs(0))


def test_group_norm_is_flax_s():
    images = jax.random.normal(jax.random.key(0), (2, 5, 4, 16)) * 3 + 1
    reference = nnx.GroupNorm(16, num_groups=8, epsilon=1e-5, rngs=nnx.Rngs(0))
    own = nets.GroupNorm(16)
    np.testing.assert_allclose(own(images), reference(images), atol=1e-5)
    weights = jax.random.normal(jax.random.key(1), images.shape)

    def gradients(norm):  # of the parameters and the images
        return jax.grad(lambda norm, images: jnp.sum(norm(images) * weights), (0, 1))(norm, images)

    both = zip(*(jax.tree.leaves(gradients(norm)) for norm in (own, reference)), strict=True)
    for found, expected in both:
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_halving_by_hand():
    images = jnp.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]).reshape(1, 2, 3, 1)
    np.testing.assert_allclose(halve(images)[0, :, :, 0], [[2.5, 4.0]])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 7), (5, 2), (3, 1)])
def test_halving_and_its_gradient_are_those_of_means_over_repeated_pixels(height, width):
    images = jax.random.normal(jax.random.key(0), (2, height, width, 3))

    def by_padding(images):
        wide = jnp.pad(images, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        n, h, w, c = wide.shape
        return wide.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))

    means, gradient = jax.vjp(halve, images)
    expected, expected_gradient = jax.vjp(by_padding, images)
    np.testing.assert_allclose(means, expected, rtol=1e-6, atol=1e-6)
    weights = jax.random.normal(jax.random.key(1), means.shape)
    np.testing.assert_allclose(gradient(weights)[0], expected_gradient(weights)[0], rtol=1e-6)
