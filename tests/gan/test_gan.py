"""Tests of the generator's measures and verdict, and of the GAN's layers."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxlabel import gan, nets
from jaxlabel.gan import objectives, training, watch
from jaxlabel.nets import discriminators
from jaxlabel.report import write_report
from jaxlabel.runlog import open_workdir


def test_the_mean_distance_is_that_of_all_pairs():
    points = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    pairs = [np.linalg.norm(a - b) for a, b in itertools.combinations(points, 2)]
    np.testing.assert_allclose(watch.mean_distance(jnp.asarray(points)), np.mean(pairs), rtol=1e-5)
    # a triangle with sides 3, 4 and 5
    triangle = jnp.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    np.testing.assert_allclose(watch.mean_distance(triangle), 4.0, rtol=1e-6)


def test_the_class_entropy_by_hand():
    sure = 50 * jnp.eye(4)
    np.testing.assert_allclose(watch.class_entropy(sure), np.log(4), rtol=1e-5)
    np.testing.assert_allclose(watch.class_entropy(sure[:2]), np.log(2), rtol=1e-5)
    np.testing.assert_allclose(watch.class_entropy(sure[:1]), 0.0, atol=1e-5)


def test_measures_are_one_if_samples_equal_real_images():
    features = jax.random.normal(jax.random.key(0), (32, 5))
    logits = jax.random.normal(jax.random.key(1), (32, 4))
    found = watch.measure_samples(features, features, logits, logits, 2 * jnp.log(2.0))
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0], rtol=1e-4)
    shorter = watch.measure_samples(features, features / 2, logits, logits, jnp.log(2.0))
    np.testing.assert_allclose([shorter.diversity, shorter.loss_ratio], [1.0, 0.5], rtol=1e-4)
    same = watch.measure_samples(features, 0 * features + 1, logits, logits, jnp.log(2.0))
    np.testing.assert_allclose(same.diversity, 0.0, atol=1e-3)


def test_one_image_or_one_class_is_no_failure_of_the_training():
    features = jax.random.normal(jax.random.key(0), (32, 5))
    found = watch.measure_samples(features[:1], features, np.ones((1, 1)), np.ones((32, 1)), 1.0)
    assert (found.diversity, found.class_entropy) == (1, 1)
    history = [{name: float(value) for name, value in found._asdict().items()}]
    assert watch.verdict(history).startswith("the generator is sound")


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ((0.1, 0.9, 0.5), "mode collapse: samples are 10% as far .* after 90% at best.*learning_r"),
        ((0.9, 0.3, 0.5), "classes are missing.*30%"),
        ((0.9, 0.9, 0.001), "the discriminator won.*config.discriminator_noise"),
        ((0.9, 0.9, 0.5), "sound: samples are 90%"),
    ],
)
def test_the_verdict_says_what_happened_and_what_to_change(last, said):
    rows = [(0.9, 0.9, 0.5), last]
    history = [dict(zip(watch.Measures._fields, row, strict=True)) for row in rows]
    assert re.search(said, watch.verdict(history))


def test_cheap_normal_is_nearly_normal_and_independent():
    one = np.asarray(discriminators.cheap_normal(jax.random.key(0), (400, 250)))
    two = np.asarray(discriminators.cheap_normal(jax.random.key(1), (400, 250)))
    assert abs(one.mean()) < 0.015 and abs(one.std() - 1) < 0.015
    assert abs(np.mean(one**3)) < 0.04
    assert abs(np.mean(one**4) - 2.7) < 0.06  # the sum of four uniform variables: 3 - 1.2 / 4
    assert abs(np.mean(one * two)) < 0.015
    for shift in (1, 2, 250, 256, 4096):
        flat = one.ravel()
        assert abs(np.mean(flat[:-shift] * flat[shift:])) < 0.015, shift


def test_weights_are_normalised_so_that_their_length_does_not_matter():
    layer = discriminators.NormedLinear(6, 4, nnx.Rngs(0), learn_gain=True)
    inputs = jax.random.normal(jax.random.key(0), (3, 6))
    before = layer(inputs)
    kernel = np.asarray(layer.kernel[...])
    np.testing.assert_allclose(
        before, inputs @ (kernel / np.linalg.norm(kernel, axis=0)), rtol=1e-4, atol=1e-5
    )
    layer.kernel[...] = 7 * layer.kernel[...]
    np.testing.assert_allclose(layer(inputs), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", sorted(training.DISCRIMINATORS))
@pytest.mark.parametrize("shape", [(8, 8, 1), (7, 9, 3)])
def test_the_discriminator_accepts_generated_images(network, shape):
    chosen = gan.Settings(network=network, width=16, latent=5)
    generator = training.make_generator(chosen, shape)(nnx.Rngs(0))
    discriminator = training.make_discriminator(chosen, shape, 3)(nnx.Rngs(1))
    images = generator(jax.random.normal(jax.random.key(0), (4, 5)))
    assert images.shape == (4, *shape) and images.min() >= 0 and images.max() <= 1
    assert images.std() > 0.01
    logits = discriminator(images)
    assert logits.shape == (4, 3)
    if network == "fine_gradient_conv":
        maps = discriminator.maps(images)
        expected = nets.FineGradientConvNet(shape, nnx.Rngs(0)).maps(images)
        np.testing.assert_array_equal(maps, expected)
    np.testing.assert_allclose(
        discriminator.classify(discriminator.features(images)), logits, rtol=1e-5
    )
    noisy = discriminator(images, jax.random.key(0))
    assert not np.allclose(noisy, logits)
    np.testing.assert_allclose(discriminator(images, jax.random.key(0)), noisy)


def test_the_average_of_the_weights_forgets_the_untrained_ones():
    highest = gan.Settings.__dataclass_fields__["average"].metadata["high"]
    for steps in (100, 10_000):
        decay = training.average_decay(gan.Settings(average=highest, steps=steps))
        assert 0 < decay**steps < 1e-4  # the share of the weights before the first step


def test_the_report_shows_the_samples_over_time(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 1), np.uint8)
    with open_workdir(tmp_path, {"data": "digits"}) as log:
        measures = {name: np.array([0.25, 0.5]) for name in watch.Measures._fields}
        log.arrays("generated", steps=np.array([50, 1000]), images=images, **measures)
        log.finish({"verdict": "mode collapse: take another seed"})
    page = write_report(tmp_path).read_text()
    assert "The generator during training" in page and "mode collapse: take another seed" in page
    assert page.index("step 50") < page.index("step 1,000")
    assert "diversity 50.0%" in page and page.count("samples after") == 2


def test_the_discriminator_loss_by_hand():
    # the stub's logits are an image's two pixels
    def discriminator(images, key):
        return images.reshape(len(images), 2)

    def pixels(*rows):
        return jnp.array(rows).reshape(len(rows), 1, 2, 1)

    loss, parts = objectives.discriminator_loss(
        discriminator, gan.Settings(),
        real=pixels([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]), labels=jnp.array([1]),
        made=pixels([0.0, 0.0]),
        changed=pixels([0.0, np.log(3)], [5.0, 0.0]),
        targets=jnp.array([[0.04, 0.96], [0.06, 0.94]]), key=jax.random.key(0),
    )  # fmt: skip
    # Z = 2 everywhere; of the two predictions only the first has a confidence of at least 0.95
    expected = {
        "supervised": np.log(2), "real": np.log(3 / 2), "generated": np.log(3),
        "consistency": np.log(4 / 3) / 2, "confident": 0.5,
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-6)
    total = np.log(2) + (np.log(3 / 2) + np.log(3)) / 2 + np.log(4 / 3) / 2
    np.testing.assert_allclose(loss, total, rtol=1e-6)
