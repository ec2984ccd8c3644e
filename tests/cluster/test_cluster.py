from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlabel import cluster
from jaxlabel.cluster.lloyd import _run_from, _sums_by_product, _sums_by_scatter
from jaxlabel.cluster.nearest import divide_into_lanes, smallest_scores
from jaxlabel.cluster.plus_plus import plus_plus
from jaxlabel.errors import DataError, UsageError

KEY = jax.random.key(0)


def blobs(num_points: int = 600, num_clusters: int = 7, d: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 6 * rng.standard_normal((num_clusters, d))
    points = centres[rng.integers(num_clusters, size=num_points)] + 3.0
    return (points + rng.standard_normal((num_points, d))).astype(np.float32)


def all_distances(points, others):
    return np.linalg.norm(points[:, None].astype(np.float64) - others[None], axis=-1)


@pytest.mark.parametrize(("num_points", "count"), [(7, 1), (7, 7), (40, 3), (257, 1)])
def test_smallest_scores_are_those_that_a_full_sort_finds(num_points, count):
    points, rows = blobs(num_points), blobs(30, seed=1)
    values, columns = jax.jit(lambda p, r: smallest_scores(divide_into_lanes(p, count), r, count))(
        points, rows
    )
    scores = 0.5 * np.sum(points**2, axis=1) - rows @ points.T
    np.testing.assert_array_equal(columns, np.argsort(scores, axis=1)[:, :count])
    np.testing.assert_allclose(values, np.sort(scores, axis=1)[:, :count], rtol=1e-4, atol=1e-4)


def test_kmeans_by_hand():
    features = jnp.array([[0.0], [1.0], [10.0], [12.0]])
    result = cluster.kmeans(KEY, features, 2, init=jnp.array([[0.0], [1.0]]))
    np.testing.assert_allclose(result.centroids, [[0.5], [11.0]], rtol=1e-6)
    np.testing.assert_array_equal(result.assignments, [0, 0, 1, 1])
    np.testing.assert_array_equal(result.sizes, [2, 2])
    assert float(result.inertia) == pytest.approx(2.5)


def test_few_given_centroids_share_one_compiled_function_and_padding_changes_nothing():
    features = blobs()
    before = _run_from._cache_size()
    for k in (1, 2, 5, 64):
        found = cluster.kmeans(KEY, features, k, init=features[:k], num_iterations=3)
        centres, owners = features[:k], np.zeros(600, int)
        for _ in range(3):  # Lloyd's algorithm in NumPy
            owners = all_distances(features, centres).argmin(axis=1)
            centres = np.stack([features[owners == i].mean(axis=0) for i in range(k)])
        np.testing.assert_allclose(found.centroids, centres, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(
            found.assignments, all_distances(features, centres).argmin(axis=1)
        )
        nearest = [int(c) for c in cluster.medoids(features, found.centroids, found.assignments)]
        own = np.where(np.arange(k)[:, None] == found.assignments, 0, np.inf)
        assert nearest == (all_distances(found.centroids, features) + own).argmin(axis=1).tolist()
    assert _run_from._cache_size() == before + 1


@pytest.mark.parametrize("num_iterations", [1, 4, 300])
def test_kmeans_equals_scikit_learn(num_iterations):
    from sklearn.cluster import KMeans

    features = blobs()
    start = features[:20]
    ours = cluster.kmeans(
        KEY, features, 20, init=start, num_iterations=num_iterations, tolerance=0.0
    )
    theirs = KMeans(20, init=start, n_init=1, max_iter=num_iterations, tol=0, algorithm="lloyd")
    theirs.fit(features)
    np.testing.assert_array_equal(ours.assignments, theirs.labels_)
    np.testing.assert_allclose(ours.centroids, theirs.cluster_centers_, rtol=1e-4, atol=1e-4)
    assert float(ours.inertia) == pytest.approx(theirs.inertia_, rel=1e-5)


def test_kmeans_ends_at_a_fixed_point_of_lloyds_algorithm():
    features = blobs()
    result = cluster.kmeans(KEY, features, 20, tolerance=0.0, num_iterations=300)
    assert int(result.num_iterations) < 300
    nearest = all_distances(features, np.asarray(result.centroids)).argmin(axis=1)
    np.testing.assert_array_equal(result.assignments, nearest)
    for i in range(20):
        mean = features[nearest == i].mean(axis=0)
        np.testing.assert_allclose(result.centroids[i], mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(result.sizes, np.bincount(nearest, minlength=20))


def test_kmeans_plus_plus_finds_well_separated_clusters_and_never_draws_a_point_twice():
    centres = 100.0 * np.eye(8, dtype=np.float32)
    features = np.repeat(centres, 50, axis=0)
    starts = jax.jit(plus_plus, static_argnums=2)
    for seed in range(5):
        start = starts(jax.random.key(seed), features, 8)
        np.testing.assert_array_equal(np.sort(np.argmax(start, axis=1)), np.arange(8))


def test_the_best_of_several_starts_is_returned_and_the_same_key_gives_the_same_bits():
    features = blobs(num_clusters=30)
    run = partial(cluster.kmeans, features=features, num_clusters=30, num_iterations=20)
    singles = [float(run(jax.random.key(i)).inertia) for i in range(8)]
    one, other = (run(KEY, num_init=8) for _ in range(2))
    assert float(one.inertia) < np.median(singles)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_empty_cluster_starts_again_at_the_farthest_point():
    features = jnp.array([[0.0], [0.1], [0.2], [50.0], [51.0]])
    init = jnp.array([[0.0], [-1000.0]])
    result = cluster.kmeans(KEY, features, 2, init=init, tolerance=0.0)
    np.testing.assert_array_equal(result.assignments, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(result.centroids, [[0.1], [50.5]], rtol=1e-3)


def test_fewer_distinct_points_than_clusters_leave_empty_clusters_without_a_medoid():
    features = jnp.array([[1.0], [1.0], [2.0], [2.0]])
    result = cluster.kmeans(KEY, features, 4)
    sizes = np.asarray(result.sizes)
    assert sorted(sizes) == [0, 0, 2, 2]
    chosen = np.asarray(cluster.medoids(features, result.centroids, result.assignments))
    np.testing.assert_array_equal(chosen == -1, sizes == 0)
    assert float(result.inertia) == 0.0


def test_a_cluster_per_point_and_one_cluster_for_all_points():
    features = blobs(12)
    each = cluster.kmeans(KEY, features, 12)
    assert sorted(np.asarray(each.assignments)) == list(range(12))
    assert float(each.inertia) == pytest.approx(0.0, abs=1e-6)
    single = cluster.kmeans(KEY, features, 1)
    np.testing.assert_allclose(single.centroids[0], features.mean(axis=0), rtol=1e-5)


def test_kmeans_raises_on_invalid_arguments():
    features = blobs(10)
    for num_clusters in (0, 11):
        with pytest.raises(UsageError, match="ask for 1 to 10"):
            cluster.kmeans(KEY, features, num_clusters)
    with pytest.raises(UsageError, match=r"\(3, 5\) is needed"):
        cluster.kmeans(KEY, features, 3, init=features[:2])
    features[3, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        cluster.kmeans(KEY, features, 3)


def test_both_ways_to_sum_clusters_agree():
    features = jnp.asarray(blobs())
    owners = jnp.asarray(np.random.default_rng(0).integers(10, size=len(features)))
    for one, other in zip(
        _sums_by_scatter(features, owners, 11), _sums_by_product(features, owners, 11), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-3)


def test_medoids_and_distances_are_those_of_brute_force():
    features = blobs()
    result = cluster.kmeans(KEY, features, 20)
    centroids, owners = np.asarray(result.centroids), np.asarray(result.assignments)
    own = np.linalg.norm(features - centroids[owners], axis=1)
    np.testing.assert_allclose(
        cluster.distances(features, centroids, owners), own, rtol=1e-4, atol=1e-5
    )
    expected = [min(np.flatnonzero(owners == i), key=lambda j: own[j]) for i in range(20)]
    np.testing.assert_array_equal(cluster.medoids(features, centroids, owners), expected)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("block", [0, 7])
def test_knn_is_that_of_scikit_learn(metric, block):
    from sklearn.neighbors import NearestNeighbors

    features, queries = blobs(203), blobs(31, seed=1)
    theirs = NearestNeighbors(n_neighbors=6, metric=metric, algorithm="brute").fit(features)
    for asked in (queries, None):
        indices, distances = cluster.knn(features, asked, 6, metric=metric, block=block)
        expected_distances, expected = theirs.kneighbors(asked)
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_allclose(distances, expected_distances, rtol=1e-4, atol=1e-5)


def test_knn_excludes_the_point_itself_but_not_its_duplicates():
    features = np.array([[1.0, 0.0]] * 5 + [[3.0, 0.0]], np.float32)
    indices, distances = cluster.knn(features, None, 4)
    for i in range(5):
        assert set(np.asarray(indices[i]).tolist()) == set(range(5)) - {i}
    np.testing.assert_array_equal(distances[:5], np.zeros((5, 4)))
    np.testing.assert_allclose(distances[5], [2.0] * 4)


def test_knn_in_a_small_set_returns_all_other_points():
    features = blobs(4)
    assert cluster.knn(features, None, 10)[0].shape == (4, 3)
    assert cluster.knn(features, features[:2], 10)[0].shape == (2, 4)
    with pytest.raises(UsageError, match="0 other images"):
        cluster.knn(features[:1], None, 3)
    with pytest.raises(UsageError, match="euclidean or cosine"):
        cluster.knn(features, None, 1, metric="manhattan")


def test_cosine_distance_to_a_vector_of_zeros_is_one():
    features = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]], np.float32)
    _, distances = cluster.knn(features, np.array([[5.0, 0.0]], np.float32), 3, metric="cosine")
    np.testing.assert_allclose(distances, [[0.0, 1.0, 1.0]], atol=1e-6)
