import numpy as np
import pytest
from sklearn.decomposition import PCA

from jaxlabel.cluster import pca
from jaxlabel.cluster.pca import fit_pca, project
from jaxlabel.errors import UsageError

RANDOM = np.random.default_rng(0)
POINTS = (RANDOM.normal(size=(60, 5)) * [5, 3, 2, 1, 0.5] + 7).astype(np.float32)


def test_components_and_variances_are_scikit_learns():
    ours, theirs = fit_pca(POINTS, 3), PCA(3).fit(POINTS)
    assert np.abs(np.sum(np.asarray(ours.components) * theirs.components_, axis=1)) == (
        pytest.approx(1, abs=1e-4)
    )
    assert ours.variances[:3] * 60 / 59 == pytest.approx(theirs.explained_variance_, rel=1e-3)
    assert float(ours.variances.sum()) == pytest.approx(POINTS.var(axis=0).sum(), rel=1e-4)


def test_all_components_keep_every_distance():
    moved = np.asarray(project(fit_pca(POINTS, 5), POINTS))
    assert np.linalg.norm(moved[3] - moved[9]) == pytest.approx(
        np.linalg.norm(POINTS[3] - POINTS[9]), rel=1e-4
    )
    assert moved.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-4)


def test_the_sign_of_components_is_deterministic():
    components = np.asarray(fit_pca(POINTS, 5).components)
    peaks = components[np.arange(5), np.abs(components).argmax(axis=1)]
    assert (peaks > 0).all()


@pytest.mark.parametrize("count", [3, 40])
def test_very_many_dimensions_give_the_components_of_the_points(count, monkeypatch):
    wide = np.asarray(RANDOM.normal(size=(30, 200)) * np.geomspace(9, 0.1, 200) + 2, np.float32)
    monkeypatch.setattr(pca, "MAX_SIDE", 199)
    ours, theirs = fit_pca(wide, count), PCA(min(count, 29)).fit(wide)
    found = np.asarray(ours.components)
    assert found.shape == (count, 200) and not found[29:].any()
    cosines = np.abs(np.sum(found[:29] * theirs.components_, axis=1))
    assert cosines == pytest.approx(1, abs=1e-3)
    assert ours.variances[: min(count, 29)] * 30 / 29 == pytest.approx(
        theirs.explained_variance_, rel=1e-3
    )
    assert float(ours.variances.sum()) == pytest.approx(wide.var(axis=0).sum(), rel=1e-4)
    moved, distance = np.asarray(project(ours, wide)), np.linalg.norm(wide[3] - wide[9])
    if count == 40:
        assert np.linalg.norm(moved[3] - moved[9]) == pytest.approx(distance, rel=1e-3)


def test_very_many_dimensions_and_points_give_nearly_the_components_of_a_sample(monkeypatch):
    points = np.asarray(RANDOM.normal(size=(2000, 60)) * np.geomspace(9, 0.1, 60), np.float32)

    def explained(found):
        return np.asarray(project(found, points)).var(axis=0).sum()

    exact = explained(fit_pca(points, 10))
    monkeypatch.setattr(pca, "MAX_SIDE", 50)
    sampled = fit_pca(points, 10)
    assert len(sampled.variances) == 50
    assert 0.9 * exact < explained(sampled) < exact


def test_equal_points_of_very_many_dimensions_have_no_variance(monkeypatch):
    monkeypatch.setattr(pca, "MAX_SIDE", 4)
    found = fit_pca(np.ones((3, 9), np.float32), 2)
    assert not found.components.any() and not found.variances.any()


@pytest.mark.parametrize("count", [0, 6])
def test_impossible_numbers_of_components_are_refused(count):
    with pytest.raises(UsageError, match="ask for 1 to 5"):
        fit_pca(POINTS, count)
