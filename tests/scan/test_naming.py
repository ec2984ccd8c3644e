import itertools

import jax
import numpy as np
import pytest
from oracles import ArrayOracle

from jaxlabel import cluster, scan
from jaxlabel.errors import BudgetExceeded

RANDOM = np.random.default_rng(0)
CENTRES = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [20, 0]], np.float32)
CLASSES = np.repeat(np.arange(5), [50, 40, 30, 20, 10])
POINTS = (CENTRES[CLASSES] + RANDOM.standard_normal((150, 2))).astype(np.float32)


def test_one_label_per_cluster_names_all_clusters_by_their_medoids():
    oracle = ArrayOracle(CLASSES, 5, 5)
    named = scan.ask_clusters(oracle, POINTS, (CLASSES + 2) % 5)
    assert len(oracle.asked) == 5
    np.testing.assert_array_equal(named.labels, np.arange(5))  # the largest first
    np.testing.assert_array_equal(named.labels[named.parts], CLASSES)
    for index, label in zip(named.indices, named.labels, strict=True):
        away = np.sum((POINTS - POINTS[label == CLASSES].mean(axis=0)) ** 2, axis=1)
        assert index == np.argmin(np.where(label == CLASSES, away, np.inf))


def test_an_unaffordable_medoid_does_not_shift_the_names():
    costs = np.ones(len(CLASSES))
    costs[:50] = 9.0  # the largest cluster's images, the first to be bought
    clusters = np.minimum(CLASSES, 3)
    for named in (
        scan.ask_clusters(ArrayOracle(CLASSES, 5, 5, costs), POINTS, clusters),
        scan.label_new_clusters(ArrayOracle(CLASSES, 5, 5, costs), POINTS, 5, jax.random.key(1)),
    ):
        assert set(named.labels) >= {1, 2, 3} and 0 not in named.labels
        known = (CLASSES > 0) & (CLASSES < 4)
        np.testing.assert_array_equal(named.labels[named.parts][known], CLASSES[known])
        away = np.sum((POINTS[:, None] - POINTS[named.indices]) ** 2, axis=2)
        np.testing.assert_array_equal(named.parts[~(CLASSES > 0)], away[:50].argmin(axis=1))


def test_a_cluster_of_two_groups_is_split_and_only_the_new_half_is_labelled():
    clusters = np.where(CLASSES == 4, 1, CLASSES)  # classes 1 and 4 form one cluster
    oracle = ArrayOracle(CLASSES, 5, 5)
    named = scan.ask_clusters(oracle, POINTS, clusters)
    assert len(oracle.asked) == 5 and sorted(named.labels) == [0, 1, 2, 3, 4]
    assert np.mean(named.labels[named.parts] == CLASSES) > 0.98


def test_a_larger_budget_extends_the_labelled_set_and_no_budget_is_exceeded():
    asked = []
    for budget in (3, 5, 10, 17):
        oracle = ArrayOracle(CLASSES, budget, 5)
        named = scan.ask_clusters(oracle, POINTS, CLASSES)
        assert len(oracle.asked) == budget == len(set(named.indices.tolist()))
        assert named.parts.max() < budget
        asked.append(list(named.indices))
    for few, more in itertools.pairwise(asked):
        assert more[: len(few)] == few


def test_identical_points_are_not_split_forever():
    oracle = ArrayOracle(np.zeros(20, int), 15, 2)
    named = scan.ask_clusters(oracle, np.zeros((20, 2), np.float32), np.arange(20) % 2)
    assert len(named.indices) == 2 and named.labels.tolist() == [0, 0]


def test_a_budget_of_zero_raises():
    with pytest.raises(BudgetExceeded):
        scan.ask_clusters(ArrayOracle(CLASSES, 0.5, 5), POINTS, CLASSES)


def test_names_spread_to_parts_or_over_the_graph_and_bought_labels_stay():
    space = cluster.graph_space(cluster.nearest_graph(POINTS, 8), num_components=5)
    named = scan.ask_clusters(ArrayOracle(CLASSES, 5, 5), POINTS, CLASSES)
    for method in ("part", "diffusion"):
        labels = scan.label_all_by_graph(named, space, method)
        assert np.mean(labels == CLASSES) > (0.95 if method == "part" else 0.8)
        np.testing.assert_array_equal(labels[named.indices], named.labels)


def test_there_are_as_many_fresh_clusters_as_affordable_labels():
    oracle = ArrayOracle(CLASSES, 9, 5)
    named = scan.label_new_clusters(oracle, POINTS, 9, jax.random.key(0))
    assert len(oracle.asked) == 9 == len(set(named.indices.tolist()))
    assert np.mean(named.labels[named.parts] == CLASSES) > 0.98
    np.testing.assert_array_equal(named.parts[named.indices], np.arange(9))


def test_an_unaffordable_fresh_cluster_joins_the_nearest_labelled_image():
    oracle = ArrayOracle(CLASSES, 3, 5)
    named = scan.label_new_clusters(oracle, POINTS, 5, jax.random.key(1))
    assert len(named.indices) == 3  # the largest ones' medoids: of classes 0, 1 and 2
    np.testing.assert_array_equal(named.labels, [0, 1, 2])
    away = np.sum((POINTS[:, None] - POINTS[named.indices]) ** 2, axis=2)
    unpaid = CLASSES > 2
    np.testing.assert_array_equal(named.parts[unpaid], away[unpaid].argmin(axis=1))
    np.testing.assert_array_equal(named.parts[~unpaid], CLASSES[~unpaid])
    assert len(set(named.parts[unpaid])) > 1


def test_votes_are_class_fractions_among_an_image_and_its_neighbours():
    neighbours = np.array([[1, 2], [0, 2], [0, 1]])
    np.testing.assert_allclose(
        scan.vote(np.array([0, 0, 1]), neighbours, 3), [[2 / 3, 1 / 3, 0]] * 3, rtol=1e-6
    )
