import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxlabel import query
from jaxlabel.errors import UsageError
from jaxlabel.query import clusters, cover, seeding

KEY = jax.random.key(0)
POINTS = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
SCORES = np.random.default_rng(1).dirichlet(np.full(4, 0.5), 60).astype(np.float32)
NONE = np.zeros(0, int)


def squared_distances(points):
    return np.sum((points[:, None] - points[None]) ** 2, axis=-1)


def blobs(*sizes):
    """Return groups of points on a line, ten apart, each around its first point."""
    offsets = [np.linspace(0, 1, size) * (-1) ** np.arange(size) for size in sizes]
    return np.concatenate([10 * i + o for i, o in enumerate(offsets)])[:, None].astype(np.float32)


@pytest.mark.parametrize("strategy", query.STRATEGIES)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    asked=st.sampled_from([NONE, np.arange(3, 58), [5, 5, 59]]),
    count=st.sampled_from([1, 3, 100]),
    copies=st.booleans(),
)
def test_every_strategy_keeps_the_contract(strategy, asked, count, copies):
    points = np.ones_like(POINTS) if copies else POINTS
    found = query.select(strategy, KEY, points, count, asked, SCORES)
    assert isinstance(found, np.ndarray) and found.dtype == np.int64
    assert len(found) == len(set(found.tolist())) == min(count, 60 - len(np.unique(asked)))
    assert not set(found.tolist()) & set(np.asarray(asked).tolist())
    assert set(found.tolist()) <= set(range(60))
    again = query.select(strategy, KEY, jnp.asarray(points), count, asked, SCORES)
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("strategy", ["random", "medoids", "badge", "diverse"])
def test_another_key_gives_another_selection(strategy):
    answers = {
        tuple(query.select(strategy, key, POINTS, 5, NONE, SCORES).tolist())
        for key in jax.random.split(KEY, 4)
    }
    assert len(answers) > 1


def test_invalid_arguments_raise_usage_errors_that_say_what_to_do():
    with pytest.raises(UsageError, match="is one of random, medoids"):
        query.select("best", KEY, POINTS, 1, NONE)
    with pytest.raises(UsageError, match="first images by one of random, medoids"):
        query.select("margin", KEY, POINTS, 1, NONE)
    with pytest.raises(UsageError, match="indices go to 59"):
        query.select("random", KEY, POINTS, 1, np.array([60]))
    with pytest.raises(UsageError, match="3 rows of probabilities for 60"):
        query.select("entropy", KEY, POINTS, 1, NONE, SCORES[:3])
    with pytest.raises(UsageError, match="0 or more"):
        query.select("random", KEY, POINTS, -1, NONE)


def test_medoids_are_the_centres_of_the_groups_without_labels():
    points = blobs(9, 5, 7)
    middles = [int(np.argmin(abs(points[g] - points[g].mean()))) + g.start for g in (
        slice(0, 9), slice(9, 14), slice(14, 21))]  # fmt: skip
    largest_first = [middles[0], middles[2], middles[1]]
    assert query.select("medoids", KEY, points, 3, NONE).tolist() == largest_first
    # The group with a label comes last, although it is the largest.
    assert query.select("medoids", KEY, points, 2, np.array([3])).tolist() == largest_first[1:]


def test_typiclust_chooses_the_most_typical_point_of_each_group_and_small_groups_last():
    points = blobs(25, 4, 12)
    spacing = [clusters.mean_neighbour_distance(points[g]) for g in (slice(0, 25), slice(29, 41))]
    found = query.select("typiclust", KEY, points, 3, NONE).tolist()
    assert found[:2] == [int(np.argmin(spacing[0])), 29 + int(np.argmin(spacing[1]))]
    assert found[2] not in range(25, 29)


def test_typiclust_of_many_points_looks_at_the_labelled_ones_and_a_random_sample(monkeypatch):
    asked = np.array([3, 50])
    whole = query.select("typiclust", KEY, POINTS, 2, asked)
    monkeypatch.setattr(clusters, "MOST_TYPICLUST_POINTS", 30)
    sample = seeding.draw_candidates(KEY, 60, 2, asked, 30)
    assert len(set(sample.tolist())) == 30 and not set(sample.tolist()) & set(asked.tolist())
    rows = np.union1d(asked, sample)
    found = query.select("typiclust", KEY, POINTS, 2, asked)
    monkeypatch.setattr(clusters, "MOST_TYPICLUST_POINTS", 58)
    within = query.select("typiclust", KEY, POINTS[rows], 2, np.searchsorted(rows, asked))
    assert found.tolist() == rows[within].tolist()
    assert query.select("typiclust", KEY, POINTS, 2, asked).tolist() == whole.tolist()
    # The sample is at least ten times as large as the number of points to choose.
    assert len(seeding.draw_candidates(KEY, 60, 5, asked, 30)) == 50


@pytest.mark.parametrize("rows", [0, clusters.DENSE_ROWS])
def test_neighbour_distance_is_the_mean_over_the_nearest_others(monkeypatch, rows):
    monkeypatch.setattr(clusters, "DENSE_ROWS", rows)
    distances = np.sort(np.sqrt(squared_distances(POINTS)), axis=1)[:, 1:21]
    np.testing.assert_allclose(
        clusters.mean_neighbour_distance(POINTS), distances.mean(axis=1), rtol=1e-5
    )


def test_ball_radius_is_the_distance_to_the_neighbour_that_ends_a_label_s_share():
    distances = np.sort(np.sqrt(squared_distances(POINTS)), axis=1)
    # 60 points and 6 labels: the tenth neighbour
    assert cover.ball_radius(KEY, POINTS, 6) == pytest.approx(np.median(distances[:, 10]), rel=1e-5)


@pytest.mark.parametrize("asked", [NONE, np.array([0, 9, 33])])
def test_probcover_is_greedy_over_the_whole_ball_graph(asked):
    radius = cover.BALL * cover.ball_radius(KEY, POINTS, len(asked) + 6)
    inside = squared_distances(POINTS) <= radius**2
    uncovered = ~inside[:, asked].any(axis=1)
    expected = []
    for _ in range(6):
        degrees = inside[:, uncovered].sum(axis=1)
        degrees[asked] = 0
        expected.append(int(np.argmax(degrees)))
        uncovered &= ~inside[expected[-1]]
    assert query.select("probcover", KEY, POINTS, 6, asked).tolist() == expected


@pytest.mark.parametrize("asked", [NONE, np.array([0, 9, 33])])
def test_maxherdings_lazy_greedy_equals_plain_greedy(asked, monkeypatch):
    monkeypatch.setattr(cover, "CANDIDATES", 4)
    radius = cover.KERNEL * cover.ball_radius(KEY, POINTS, len(asked) + 8)
    kernel = np.exp(-squared_distances(POINTS) / radius**2)
    held = kernel[:, asked].max(axis=1, initial=0.0)
    expected = []
    for _ in range(8):
        gains = np.maximum(kernel - held[:, None], 0).sum(axis=0)
        gains[[*asked, *expected]] = -1
        expected.append(int(np.argmax(gains)))
        held = np.maximum(held, kernel[:, expected[-1]])
    assert query.select("maxherding", KEY, POINTS, 8, asked).tolist() == expected


def test_maxherding_takes_its_candidates_from_a_sample_of_many_points(monkeypatch):
    monkeypatch.setattr(cover, "MOST_CANDIDATES", 20)
    found = query.select("maxherding", KEY, POINTS, 2, np.arange(30))
    again = query.select("maxherding", KEY, POINTS, 2, np.arange(30))
    assert found.tolist() == again.tolist() and len(set(found)) == 2 and min(found) >= 30


def test_coreset_takes_the_farthest_point_each_time():
    asked, distances = [11, 40], squared_distances(POINTS)
    expected = list(asked)
    for _ in range(7):
        expected.append(int(np.argmax(distances[:, expected].min(axis=1))))
    assert query.select("coreset", KEY, POINTS, 7, np.array(asked)).tolist() == expected[2:]


def test_more_labelled_points_than_one_chunk():
    points = np.random.default_rng(3).standard_normal((700, 2)).astype(np.float32)
    asked = np.arange(600)
    nearest = squared_distances(points)[:, asked].min(axis=1)
    found = query.select("coreset", KEY, points, 1, asked)
    assert found.tolist() == [int(np.argmax(nearest))]


def test_margin_and_entropy_take_the_least_certain():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.4, 0.39, 0.21], [0.36, 0.32, 0.32], [1, 0, 0]])
    points = POINTS[:4]
    # margins .2, .01, .04, 1; entropies 1.03, 1.07, 1.10, 0
    assert query.select("margin", KEY, points, 3, NONE, probabilities).tolist() == [1, 2, 0]
    assert query.select("entropy", KEY, points, 3, NONE, probabilities).tolist() == [2, 1, 0]
    assert query.select("margin", KEY, points, 2, np.array([1]), probabilities).tolist() == [2, 0]


def test_badge_draws_by_kmeans_plus_plus_among_explicit_gradients():
    asked, free = np.array([2, 30]), np.ones(60)
    free[asked] = 0
    residuals = SCORES - np.eye(4)[SCORES.argmax(axis=1)]
    gradients = np.einsum("nc,nd->ncd", residuals, POINTS).reshape(60, -1)
    weights, expected = np.sum(gradients**2, axis=1), []
    nearest = np.full(60, np.inf)
    for key in jax.random.split(KEY, 10):
        cumulative = np.cumsum((weights if not expected else nearest) * free)
        draw = float(jax.random.uniform(key)) * cumulative[-1]
        expected.append(int(np.searchsorted(cumulative, draw, side="right")))
        nearest = np.minimum(nearest, np.sum((gradients - gradients[expected[-1]]) ** 2, axis=1))
        free[expected[-1]] = 0
    assert query.select("badge", KEY, POINTS, 10, asked, SCORES).tolist() == expected


def test_diverse_takes_one_point_of_each_group_of_uncertain_ones():
    # Four groups of 15: the model is confident on the first two.
    points = (
        np.repeat(np.arange(4) * 10.0, 15)[:, None] + np.tile(np.linspace(-1, 1, 15), 4)[:, None]
    )
    top = np.repeat([0.99, 0.97, 0.52, 0.51], 15)
    found = query.select("diverse", KEY, points, 2, NONE, np.stack([top, 1 - top], axis=1))
    # the 20 smallest margins are the last group and a few of the third
    assert sorted(found // 15) == [2, 3]
