import tracemalloc

import jax
import numpy as np
import pytest

from jaxlabel import cluster
from jaxlabel.errors import UsageError


def moons(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return points on two interleaved half circles, and their classes."""
    rng = np.random.default_rng(seed)
    side = rng.integers(2, size=n)
    angle = np.pi * rng.random(n) + np.pi * side
    points = np.stack([np.cos(angle) + side, np.sin(angle) + 0.5 * side], axis=1)
    return (points + 0.05 * rng.standard_normal((n, 2))).astype(np.float32), side


def graph_of(points: np.ndarray, k: int = 10) -> cluster.Graph:
    indices, distances = cluster.knn(points, None, k)
    return cluster.knn_graph(np.asarray(indices), np.asarray(distances))


def some_labels(truth: np.ndarray, num: int = 5) -> np.ndarray:
    labels = np.full(len(truth), -1)
    for c in range(truth.max() + 1):
        labels[np.flatnonzero(truth == c)[:num]] = c
    return labels


def dense_normalised(graph: cluster.Graph) -> np.ndarray:
    weights = graph.weights.toarray().astype(np.float64)
    roots = np.sqrt(weights.sum(axis=1))
    return weights / roots[:, None] / roots[None, :]


def test_weights_by_hand():
    # Points at 0, 1, 3 with one neighbour each: 0 and 1 choose each other, 2 chooses 1.
    graph = graph_of(np.array([[0.0], [1.0], [3.0]], np.float32), k=1)
    expected = np.zeros((3, 3))
    expected[0, 1] = expected[1, 0] = np.exp(-1.0)
    expected[1, 2] = expected[2, 1] = np.exp(-4.0 / 2.0)
    np.testing.assert_allclose(graph.weights.toarray(), expected, rtol=1e-5)
    np.testing.assert_allclose(graph.degrees, expected.sum(axis=1), rtol=1e-5)


def test_weights_do_not_change_when_all_distances_are_scaled():
    points, _ = moons()
    small, large = graph_of(points), graph_of(points * 64)
    np.testing.assert_allclose(small.weights.toarray(), large.weights.toarray(), rtol=1e-3)


def test_identical_points_have_weight_one_and_every_point_has_neighbours():
    points = np.concatenate([np.zeros((12, 2)), [[1e3, 0.0]]]).astype(np.float32)
    graph = graph_of(points, k=8)
    assert np.isfinite(graph.weights.data).all()
    assert (graph.degrees > 0).all()
    assert graph.weights[[0], [1]] == 1.0 or graph.weights[[0], [11]] == 1.0


def test_spectral_embedding_is_that_of_a_dense_solver():
    graph = graph_of(moons()[0])
    spectrum = cluster.spectral_embedding(graph, 6, tolerance=1e-6)
    matrix = dense_normalised(graph)
    values = np.linalg.eigvalsh(matrix)[::-1][:6]
    np.testing.assert_allclose(spectrum.values, values, atol=1e-4)
    residual = matrix @ spectrum.vectors - spectrum.vectors * spectrum.values
    assert np.abs(residual).max() < 1e-3
    np.testing.assert_allclose(spectrum.vectors.T @ spectrum.vectors, np.eye(6), atol=1e-3)
    peaks = np.abs(spectrum.vectors).argmax(axis=0)
    assert (spectrum.vectors[peaks, np.arange(6)] > 0).all()
    again = cluster.spectral_embedding(graph, 6, tolerance=1e-6)
    np.testing.assert_array_equal(again.vectors, spectrum.vectors)


def test_spectral_clustering_separates_two_moons_and_kmeans_does_not():
    points, truth = moons()
    vectors = cluster.spectral_embedding(graph_of(points), 2).vectors
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def agreement(features):
        found = cluster.kmeans(jax.random.key(0), features, 2, num_init=4).assignments
        share = np.mean(np.asarray(found) == truth)
        return max(share, 1 - share)

    assert agreement(rows) > 0.98 > 0.95 > agreement(points)


def test_poisson_learning_solves_the_papers_equation():
    # Eq. 2.1 has one solution with sum_i d_i u_i = 0; with few points, it is reached.
    rng = np.random.default_rng(0)
    points = rng.standard_normal((30, 2)).astype(np.float32)
    graph = graph_of(points, k=12)
    labels = np.full(30, -1)
    labels[:6] = [0, 1, 2, 0, 1, 2]
    scores = cluster.poisson_learning(graph, labels, 3, num_iterations=5000)
    weights = graph.weights.toarray().astype(np.float64)
    degrees = weights.sum(axis=1)
    source = np.where(labels[:, None] >= 0, (labels[:, None] == np.arange(3)) - 1 / 3, 0.0)
    exact = np.linalg.pinv(np.diag(degrees) - weights) @ source
    exact -= degrees @ exact / degrees.sum()
    np.testing.assert_allclose(scores, exact, atol=1e-3 * np.abs(exact).max())


def test_poisson_learning_labels_the_moons_from_one_each():
    points, truth = moons(seed=3)
    graph = graph_of(points)
    labels = some_labels(truth, num=1)
    scores = cluster.poisson_learning(graph, labels, 2)
    assert np.mean(scores.argmax(axis=1) == truth) > 0.9
    scaled = cluster.poisson_learning(graph, labels, 2, class_priors=np.array([0.2, 0.8]))
    np.testing.assert_allclose(scaled, scores * [0.4, 1.6], rtol=1e-5)


def test_classes_without_a_label_cost_no_memory_and_do_not_change_the_scores():
    points, truth = moons()
    graph, labels = graph_of(points), some_labels(truth)
    few = cluster.poisson_learning(graph, labels, 2, class_priors=np.array([0.2, 0.8]))
    known = np.where(labels >= 0, 2000 + 5 * labels, -1)
    priors = np.full(3000, 0.01)
    priors[[2000, 2005]] = [0.2, 0.8]
    tracemalloc.start()
    scores = cluster.poisson_learning(graph, known, 3000, class_priors=priors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(scores[:, [2000, 2005]], few)
    assert not np.delete(scores, [2000, 2005], axis=1).any()
    assert peak < 1.5 * scores.nbytes  # the result, and no other array of this size


def test_a_part_of_the_graph_without_labels_has_no_score():
    points = np.concatenate([moons(60)[0], moons(60)[0] + 1e4])
    graph = graph_of(points, k=5)
    labels = np.full(120, -1)
    labels[:2] = [0, 1]
    scores = cluster.poisson_learning(graph, labels, 2)
    np.testing.assert_array_equal(scores[60:], 0.0)
    assert np.isfinite(scores).all()


def test_invalid_labels_and_components_raise():
    graph = graph_of(moons(20)[0], k=3)
    with pytest.raises(UsageError, match="no point has a label"):
        cluster.poisson_learning(graph, np.full(20, -1), 2)
    with pytest.raises(UsageError, match="label 2 among 2 classes"):
        cluster.poisson_learning(graph, np.full(20, 2), 2)
    with pytest.raises(UsageError, match="ask for 1 to 19"):
        cluster.spectral_embedding(graph, 20)
