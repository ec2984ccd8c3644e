import jax
import numpy as np
import pytest
from logs import Memory
from oracles import ArrayOracle

from jaxlabel import cluster, config
from jaxlabel.errors import BudgetExceeded, UsageError
from jaxlabel.log import NullLog
from jaxlabel.methods import medoid_queries, medoids
from jaxlabel.oracle import LabelStore, Oracle

# eight tight groups on a circle of which neighbours share a class
ANGLES = np.repeat(np.arange(8) * np.pi / 4, 30)
SPACE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1) + 0.02 * np.random.default_rng(
    0
).standard_normal((240, 2))
SPACE = SPACE.astype(np.float32)
GRAPH = cluster.GraphSpace(SPACE, np.zeros((240, 0)), np.zeros(0))
LABELS = np.repeat(np.arange(8) // 2, 30)


def oracle(tmp_path, budget=100.0, labels=LABELS, costs=None):
    store = LabelStore(f"sqlite:///{tmp_path}/labels.db")
    items = [f"item{i}" for i in range(len(labels))]
    store.define("circle", "abcd")
    store.add_labels("circle", items, labels, costs)
    store.open_account("me", "circle", budget)
    return Oracle(store, "me", items, num_classes=4)


def double(tmp_path, budget=100.0, **settings):
    images = np.zeros((240, 2, 2, 1), np.uint8)
    asked = oracle(tmp_path, budget)
    return medoids.run_rounds(
        medoids.Config(**settings), images, GRAPH, asked, jax.random.key(0), NullLog()
    ), asked


def test_nested_doubling_queries_one_image_per_cluster(tmp_path):
    (last, stopped_by, _), asked = double(tmp_path, target=1.0, max_clusters=8)
    assert stopped_by == "max_clusters"
    assert asked.spent == len(last.labelled.indices) == len(set(last.labelled.indices)) <= 10
    np.testing.assert_array_equal(last.labels, LABELS)
    assert sorted(last.sizes) == [30] * 8
    np.testing.assert_array_equal(last.cluster_labels, LABELS[last.medoids])


def test_new_clusters_in_each_round_cost_up_to_twice_as_much(tmp_path):
    (last, _, _), asked = double(tmp_path, target=1.0, max_clusters=8, nested=False)
    assert 8 < asked.spent == len(last.labelled.indices) <= 15
    np.testing.assert_array_equal(last.labels, LABELS)


def test_a_budget_that_runs_out_buys_the_largest_clusters_and_stops(tmp_path):
    (last, stopped_by, _), asked = double(tmp_path, budget=5, target=1.0)
    assert stopped_by == "budget" and asked.spent == 5 == len(last.labelled.indices)
    assert np.mean(last.labels == LABELS) > 0.5


def test_an_empty_budget_raises_an_error(tmp_path):
    with pytest.raises(BudgetExceeded):
        double(tmp_path, budget=0)


def test_expensive_images_are_not_bought_beyond_the_budget(tmp_path):
    asked = oracle(tmp_path, budget=10, costs=np.full(240, 2.0))
    images = np.zeros((240, 2, 2, 1), np.uint8)
    last, stopped_by, _ = medoids.run_rounds(
        medoids.Config(target=1.0), images, GRAPH, asked, jax.random.key(0), NullLog()
    )  # fmt: skip
    assert stopped_by == "budget" and asked.spent == 10 and len(last.labelled.indices) == 5


def test_a_medoid_that_nobody_can_label_is_replaced_by_the_next_nearest_image():
    def rounds(costs):
        asked, log = ArrayOracle(LABELS, 100, 4, costs=costs), NullLog()
        config, images = medoids.Config(target=1.0, max_clusters=8), np.zeros((240, 2, 2, 1))
        return medoids.run_rounds(config, images, GRAPH, asked, jax.random.key(0), log), asked

    (last, _, _), before = rounds(np.ones(240))
    costs = np.ones(240)
    costs[list(before.asked)] = np.inf  # every medoid, the first one included
    (last, stopped_by, _), after = rounds(costs)
    assert stopped_by == "max_clusters" and not before.asked & after.asked
    np.testing.assert_array_equal(last.labels, LABELS)

    costs = np.where(np.arange(240) // 30 == 2, np.inf, 1.0)  # all images of one tight group
    (last, stopped_by, _), after = rounds(costs)
    assert stopped_by == "max_clusters" and not {i // 30 for i in after.asked} & {2}
    others = np.arange(240) // 30 != 2
    np.testing.assert_array_equal(last.labels[others], LABELS[others])

    distances, clusters = np.array([2.0, 0, 3, 1, 0]), np.array([0, 0, 0, 0, 1])
    asked = ArrayOracle(np.zeros(5), 9, costs=np.array([1, np.inf, 1, 1, np.inf]))
    found = medoid_queries.answerable(asked, np.array([1, 4]), distances, clusters)
    assert found.tolist() == [3, 4]


def test_a_late_answer_about_a_replaced_medoid_changes_no_question_of_a_restarted_run():
    """Nobody can label some medoids at first; somebody labels them before the run starts again."""
    ledger, log, images = set[int](), Memory(), np.zeros((240, 2, 2, 1), np.uint8)

    def session(costs):
        asked = ArrayOracle(LABELS, 100, 4, costs=costs, ledger=ledger)
        config = medoids.Config(target=1.0, max_clusters=8)
        last, _, _ = medoids.run_rounds(config, images, GRAPH, asked, jax.random.key(0), log)
        return last.labelled, asked

    oracle = ArrayOracle(LABELS, 100, 4)
    config = medoids.Config(target=1.0, max_clusters=8)
    medoids.run_rounds(config, images, GRAPH, oracle, jax.random.key(0), NullLog())
    costs = np.where(np.arange(240) // 30 == 2, np.inf, 1.0)  # all images of one tight group
    costs[sorted(oracle.asked)] = np.inf  # and the medoid of every cluster
    first, _ = session(costs)
    second, restarted = session(np.ones(240))
    assert len(first.indices) == 7 and restarted.asked == set(first.indices.tolist()) == ledger
    np.testing.assert_array_equal(first.indices, second.indices)


def replaced_medoid(log):
    """Return a function that names the medoid of a run started again, if images are refused."""
    distances, clusters = np.array([0.0, 1, 2, 3]), np.zeros(4, int)
    nothing = medoids.Labelled(np.zeros(0, int), np.zeros(0, int))

    def medoid(*refused):
        costs = np.where(np.isin(np.arange(4), refused), np.inf, 1.0)
        asked = ArrayOracle(np.zeros(4), 9, costs=costs)
        nearest, wanted = np.array([0]), np.array([0])
        return medoid_queries.choose(
            asked, log, 1, nearest, distances, clusters, wanted, nothing
        ).images.tolist()

    return medoid


def test_a_replacement_that_nobody_can_label_either_is_replaced_again():
    medoid = replaced_medoid(Memory())
    assert medoid() == [0] and medoid(0) == [1]
    assert medoid() == [1]  # a late answer about image 0
    assert medoid(0, 1) == [2] and medoid() == [2]
    assert medoid(1, 2) == [0] and medoid(1) == [0] and medoid(0, 1, 2) == [3] and medoid() == [3]


def test_the_newest_replacement_stays_even_if_it_was_one_before():
    medoid = replaced_medoid(Memory())
    assert medoid(0) == [1] and medoid(0, 1) == [2]
    assert medoid(0, 2) == [1] and medoid() == [1]


def test_empty_clusters_are_left_out(tmp_path, monkeypatch):
    def with_an_empty_cluster(*args, **kwargs):
        found = kmeans(*args, **kwargs)
        far = np.full((1, 2), 9.0, np.float32)
        return found._replace(
            centroids=np.concatenate([far, found.centroids]),
            assignments=np.asarray(found.assignments) + 1, sizes=np.append(0, found.sizes),
        )  # fmt: skip

    kmeans = cluster.kmeans
    asked = oracle(tmp_path)
    log, nothing = NullLog(), medoids.Labelled(np.zeros(0, int), np.zeros(0, int))
    key, settings = jax.random.key(0), medoids.Config()
    plain = medoids.run_round(settings, GRAPH, 4, 0, nothing, asked, key, log)
    monkeypatch.setattr(cluster, "kmeans", with_an_empty_cluster)
    found = medoids.run_round(settings, GRAPH, 4, 0, nothing, asked, key, log)
    for each, expected in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(each, expected)


def test_labels_stay_with_their_medoids_if_one_is_unaffordable(tmp_path):
    costs = np.where(np.arange(240) < 120, 1.0, 30.0)
    asked = oracle(tmp_path, budget=20, costs=costs)
    config = medoids.Config(nested=False)
    before = medoids.run_round(config, GRAPH, 2, 0, medoids.Labelled(*np.zeros((2, 0), int)), asked,
                               jax.random.key(0), NullLog())  # fmt: skip
    now = medoids.run_round(
        config, GRAPH, 8, 1, before.labelled, asked, jax.random.key(0), NullLog()
    )  # fmt: skip
    new = now.labelled.indices[len(before.labelled.indices) :]
    assert 1 <= len(new) < 8 and not now.complete
    np.testing.assert_array_equal(now.new, new)
    assert len(now.weights) == len(new)


def test_rank_grows_with_the_distance_from_the_centroid(tmp_path):
    (last, _, _), _ = double(tmp_path, target=1.0, max_clusters=8)
    assert np.all(last.rank[last.medoids] == 0.0)
    assert np.sum(last.rank == 1.0) == len(last.medoids)
    assert np.sum(last.rank <= 0.5) == pytest.approx(120, abs=8)


def test_label_clusters_matches_a_hand_computed_example():
    space = np.array([[0.0], [1.0], [5.0], [6.0], [9.0]])
    labelled = medoids.Labelled(np.array([0, 1, 2]), np.array([7, 8, 9]))
    centroids = np.array([[0.8], [5.5], [9.0]])
    labels = medoids.label_clusters(centroids, np.array([0, 0, 1, 1, 2]), space, labelled)
    # nearest of two labelled images inside; the only one inside; none, so the nearest outside
    assert labels.tolist() == [8, 9, 9]


def round_of(labels, new, answers, weights):
    labelled = medoids.Labelled(np.array(new), np.array(answers))
    nothing = np.zeros(0, int)
    return medoids.Round(labelled, nothing, nothing, nothing, np.array(labels), nothing,
                         np.array(new), np.array(weights, float), True)  # fmt: skip


def test_the_estimate_matches_a_hand_computed_example():
    before = round_of([0, 0, 1, 1], [], [], [])
    now = round_of([0, 0, 1, 1], [0, 2, 3], [0, 1, 0], [30, 10, 20])
    numbers = medoids.estimate_accuracy(medoids.Config(), before, now, None)
    assert numbers["estimate"] == pytest.approx(40 / 60) and numbers["answers"] == 3
    # Kish: 60^2 / (900 + 100 + 400) = 18/7 draws; Wilson's interval of 12/7 among them
    n, p, z2 = 18 / 7, 2 / 3, 1.959963984540054**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (p * (1 - p) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    assert numbers["estimate_low"] == pytest.approx(middle - half)
    assert numbers["estimate_high"] == pytest.approx(middle + half)


def test_the_first_round_gives_no_estimate():
    now = round_of([0], [0], [0], [1])
    assert medoids.estimate_accuracy(medoids.Config(), None, now, None) == {}


def test_an_estimate_from_few_labels_does_not_stop_the_run():
    settings = medoids.Config(target=0.9, min_answers=30)
    assert not medoids.target_reached(settings, {})
    assert not medoids.target_reached(settings, {"estimate": 1.0, "answers": 29})
    assert not medoids.target_reached(settings, {"estimate": 0.89, "answers": 30})
    assert medoids.target_reached(settings, {"estimate": 0.9, "answers": 30})


@pytest.mark.parametrize(("spread", "middle"), [("cluster", 3), ("nearest", 5)])
def test_spread_labels_matches_a_hand_computed_example(spread, middle):
    points = np.array([[0.0], [1.0], [2.6], [4.0]])
    graph = cluster.GraphSpace(points, np.zeros((4, 0)), np.zeros(0))
    labelled = medoids.Labelled(np.array([1, 3]), np.array([3, 5]))
    labels = medoids.spread_labels(
        medoids.Config(spread=spread), graph, labelled, np.array([3, 3, 3, 3])
    )
    assert labels.tolist() == [3, 3, middle, 5]


def test_one_eigenvector_is_refused_because_all_images_would_be_alike():
    with pytest.raises(UsageError, match="components is 1: it takes a number at least 2"):
        config.validate(medoids.Config(components=1))


def test_diffusion_needs_the_graph():
    with pytest.raises(UsageError, match="spread=diffusion needs config"):
        config.validate(medoids.Config(spread="diffusion", space="codes"))
