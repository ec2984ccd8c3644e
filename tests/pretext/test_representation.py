import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxlabel import nets, pretext, train
from jaxlabel.cluster import pca
from jaxlabel.cluster.pca import fit_pca, project
from jaxlabel.pretext import representation

IMAGES = np.random.default_rng(0).integers(0, 256, (90, 9, 9, 1), np.uint8)


class Means(nnx.Module):
    """An encoder whose only feature is the mean of an image's pixels."""

    def __init__(self):
        self.num_features = 1

    def features(self, images):
        return images.mean(axis=(1, 2))


@pytest.fixture
def rows(monkeypatch):
    """Lower the limit to 60 of the 90 images; return the rows of the sample, and of all outputs."""
    monkeypatch.setattr(representation, "FIT_ON", 60)
    return np.sort(np.random.default_rng(0).choice(90, 60, replace=False))


def inputs(given):
    """Return the fixed features of all images in one call."""
    images = jnp.asarray(IMAGES, jnp.float32) / 255
    return nets.oriented_gradients(images) if given == "gradients" else images.reshape(90, -1)


@pytest.mark.parametrize("given", pretext.COMPONENT_INPUTS)
def test_components_of_few_images_are_those_of_all_of_them(given):
    points = inputs(given)
    expected = project(fit_pca(points, 5), points)
    np.testing.assert_allclose(
        pretext.input_components(IMAGES, 5, given), expected, rtol=1e-3, atol=1e-4
    )


@pytest.fixture
def shapes(monkeypatch):
    """Return a list that gets the shape of each result of `apply_batched`."""
    shapes, apply_batched = [], train.apply_batched

    def watched(*arguments):
        outputs = apply_batched(*arguments)
        shapes.append(outputs.shape)
        return outputs

    monkeypatch.setattr(train, "apply_batched", watched)
    return shapes


@pytest.mark.parametrize("given", pretext.COMPONENT_INPUTS)
def test_components_of_many_images_are_fitted_to_a_sample(given, rows, shapes):
    found = pretext.input_components(IMAGES, 5, given)
    points = inputs(given)
    np.testing.assert_allclose(
        found, project(fit_pca(points[rows], 5), points), rtol=1e-3, atol=1e-4
    )
    # The fixed features are in memory for the sample only.
    assert shapes == [(60, points.shape[1]), (90, 5)]


def test_components_of_many_dimensions_are_fitted_to_a_smaller_sample(shapes, monkeypatch):
    for module in (pca, representation):
        monkeypatch.setattr(module, "MAX_SIDE", 70)  # fewer than the 81 pixels and the 90 images
    rows = np.sort(np.random.default_rng(0).choice(90, 70, replace=False))
    points = inputs("pixels")
    expected = fit_pca(points[rows], 5)
    np.testing.assert_allclose(
        pretext.input_components(IMAGES, 5, "pixels"), project(expected, points),
        rtol=1e-3, atol=1e-4,
    )  # fmt: skip
    model = pretext.fit_representation(Means(), IMAGES, 5, 0.5, "pixels")
    np.testing.assert_allclose(model.components[...], expected.components, rtol=1e-3, atol=1e-4)
    means = IMAGES.mean(axis=(1, 2)) / 255  # of all images, as they have one dimension
    np.testing.assert_allclose(model.centre[...], means.mean(axis=0), rtol=1e-5)
    assert shapes == [(70, 81), (90, 5), (90, 1), (70, 81)]


def test_a_representation_of_many_images_is_fitted_to_a_sample(rows):
    model = pretext.fit_representation(Means(), IMAGES, 5, 0.5, "pixels")
    points, means = inputs("pixels"), IMAGES.mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(model.centre[...], means[rows].mean(axis=0), rtol=1e-5)
    expected = fit_pca(points[rows], 5)
    np.testing.assert_allclose(model.mean[...], expected.mean, rtol=1e-4)
    np.testing.assert_allclose(model.components[...], expected.components, rtol=1e-3, atol=1e-4)
