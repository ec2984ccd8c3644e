"""Tests of Poisson MBO: class sizes are kept, and groups are found from one label each."""

import numpy as np

from jaxlabel import cluster
from jaxlabel.cluster.volume import poisson_mbo, project_to_sizes


def test_sizes_are_kept_where_scores_allow():
    scores = np.random.default_rng(0).random((900, 3)).astype(np.float32)
    scores[:, 0] += 0.3
    uniform = np.full(3, 1 / 3)
    plain = np.bincount(scores.argmax(axis=1), minlength=3) / 900
    found = project_to_sizes(scores, uniform, rate=0.5)
    np.testing.assert_array_equal(found.sum(axis=1), 1.0)
    assert np.abs(found.mean(axis=0) - uniform).max() < 0.03 < np.abs(plain - uniform).max()


def test_two_groups_are_found_from_one_label_each():
    random = np.random.default_rng(1)
    truth = np.arange(200) % 2
    points = random.standard_normal((200, 2)) + 5 * truth[:, None]
    graph = cluster.knn_graph(*map(np.asarray, cluster.knn(points, None, 8)))
    labels = np.full(200, -1)
    labels[:2] = truth[:2]
    found = poisson_mbo(graph, labels, 2, np.array([0.5, 0.5]))
    np.testing.assert_array_equal(found.argmax(axis=1), truth)


def test_a_class_without_a_label_gets_nothing():
    random = np.random.default_rng(1)
    truth = 2 * (np.arange(200) % 2)
    points = random.standard_normal((200, 2)) + 3 * truth[:, None]
    graph = cluster.knn_graph(*map(np.asarray, cluster.knn(points, None, 8)))
    labels = np.full(200, -1)
    labels[:2] = truth[:2]
    found = poisson_mbo(graph, labels, 3, np.full(3, 1 / 3))
    assert found.shape == (200, 3)
    np.testing.assert_array_equal(found.argmax(axis=1), truth)
