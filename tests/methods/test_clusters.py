import jax
import numpy as np
import pytest

from jaxlabel import data
from jaxlabel.experiment import predict as prediction
from jaxlabel.experiment import run as experiment
from jaxlabel.log import NullLog
from jaxlabel.methods import clusters
from jaxlabel.methods.clusters import Config
from jaxlabel.predictor import predict_probabilities
from jaxlabel.report import evaluate

DIGITS = data.load("digits")


def fit(**settings):
    # there is no oracle, since no label is bought
    return clusters.run(Config(**settings), DIGITS.train_images, None, jax.random.key(0), NullLog())


def test_each_image_belongs_to_its_nearest_centroid():
    predictor = fit(clusters=7, components=5)
    model = predictor.model
    found = predict_probabilities(model, DIGITS.train_images).argmax(axis=1)
    pixels = DIGITS.train_images.reshape(len(found), -1).astype(np.float32) / 255
    points = (pixels - pixels.mean(axis=0)) @ np.asarray(model.components[...]).T
    squared = np.sum((points[:, None] - np.asarray(model.centroids[...])) ** 2, axis=-1)
    assert np.mean(found == squared.argmin(axis=1)) > 0.999
    assert predictor.summary["inertia"] == pytest.approx(squared.min(axis=1).sum(), rel=1e-3)
    assert predictor.summary["clusters"] == 7
    shares = np.sort(np.var(pixels @ np.linalg.svd(pixels - pixels.mean(axis=0))[2].T, axis=0))
    assert predictor.summary["explained_variance"] == pytest.approx(
        shares[-5:].sum() / shares.sum(), rel=1e-3
    )


@pytest.mark.parametrize("copies", [1, 3])
def test_identical_images_are_explained_completely(copies):
    images = np.repeat(DIGITS.train_images[:1], copies, axis=0)
    found = clusters.run(Config(clusters=1), images, None, jax.random.key(0), NullLog())
    assert found.summary["explained_variance"] == 1


def test_inertia_falls_with_more_clusters_and_components_are_limited():
    few, many = fit(clusters=5), fit(clusters=40, components=1000)
    assert many.summary["inertia"] < 0.7 * few.summary["inertia"]
    assert many.summary["explained_variance"] == pytest.approx(1, abs=1e-5)
    assert 0 < few.summary["silhouette"] < 1
    assert "silhouette" not in fit(clusters=1).summary


def test_the_evaluator_uses_labels_that_the_run_does_not(tmp_path):
    config = Config(clusters=12, seed=3)
    result = experiment.run(config, tmp_path / "run")
    assert result["labels_spent"] == 0
    assert result["test_accuracy"] is None
    loaded = prediction.load(tmp_path / "run").model
    found = predict_probabilities(loaded, DIGITS.test_images).argmax(axis=1)
    scores = evaluate.clustering_scores(data.load_test_labels("digits"), found)
    assert result["purity"] == pytest.approx(scores.purity) and scores.purity > 0.6
    assert result["homogeneity"] == pytest.approx(scores.homogeneity)
    prediction.predict(tmp_path / "run", "digits", tmp_path / "out.csv")
    header, first = (tmp_path / "out.csv").read_text().splitlines()[:2]
    assert header.endswith("probability cluster 11,error")
    assert first.split(",")[3] == f"cluster {found[0]}"
