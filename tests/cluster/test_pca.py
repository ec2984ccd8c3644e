import numpy as np
import pytest
from sklearn.decomposition import PCA

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


@pytest.mark.parametrize("count", [0, 6])
def test_impossible_numbers_of_components_are_refused(count):
    with pytest.raises(UsageError, match="ask for 1 to 5"):
        fit_pca(POINTS, count)
