"""Training on images or feature vectors of which only some have a label."""

import numpy as np
import pytest
from sklearn.datasets import load_wine

from jaxlabel.semisupervised import setup
from jaxlabel.sklearn import FewLabelClassifier

TINY = {"preset": "tiny", "width": 4, "steps": 1, "random_state": 0}


@pytest.fixture
def propagated(monkeypatch):
    """The list of results of label propagation, to which each training adds one."""
    found = []

    def propagate(*arguments):
        found.append(original(*arguments))
        return found[-1]

    original = setup.propagate_labels
    monkeypatch.setattr(setup, "propagate_labels", propagate)
    return found


@pytest.mark.parametrize(
    ("objective", "settings"), [("graph", None), ("freematch", {"graph_targets": 1.0})]
)
def test_the_order_of_the_features_changes_no_propagated_label(objective, settings, propagated):
    X, classes = load_wine(return_X_y=True)
    y = np.full(len(X), -1)
    for number in range(3):
        y[np.flatnonzero(classes == number)[:4]] = number
    order = np.random.default_rng(0).permutation(X.shape[1])
    for columns in (np.arange(X.shape[1]), order):
        FewLabelClassifier(objective, settings=settings, **TINY).fit(X[:, columns], y)
    first, second = propagated
    assert np.array_equal(first.labels, second.labels)
    assert np.allclose(first.certainty, second.certainty, atol=0.05)  # ranks: rounding swaps some
    assert np.mean(first.labels == classes) > 0.85


def test_neighbours_of_feature_vectors_are_nearest_by_all_features(monkeypatch):
    graphs = []
    monkeypatch.setattr(setup, "propagate_labels", lambda _, graph, *rest: graphs.append(graph))
    X = np.random.default_rng(0).integers(0, 256, (40, 5)).astype(float)
    X[:2] = [[0], [255]]  # so that scaling to 256 levels changes nothing
    FewLabelClassifier("graph", **TINY).fit(X, [0, 1] + 38 * [-1])
    distances = np.linalg.norm(X[:, None] - X[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    joined = np.zeros((40, 40), bool)
    joined[np.arange(40)[:, None], np.argsort(distances, axis=1)[:, : setup.NEIGHBOURS]] = True
    assert np.array_equal(graphs[0].weights.toarray() > 0, joined | joined.T)
