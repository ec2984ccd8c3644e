import itertools

import jax
import numpy as np
import pytest
from logs import Memory
from oracles import ArrayOracle
from scipy.optimize import linear_sum_assignment

from jaxlabel import cluster, data
from jaxlabel.log import NullLog
from jaxlabel.methods import scan as recipe
from jaxlabel.methods import scan_labels, simclr
from jaxlabel.predictor import predict_probabilities

DIGITS = data.load("digits")
LABELS = data.load_train_labels("digits")
IMAGES, KEY = DIGITS.train_images, jax.random.key(0)
CONFIG = recipe.Config(
    kind="digits", encoder="dense", width=8, pretext_steps=30, pretext_batch=64, projection=16,
    components=32, heads=2, start_steps=60, cluster_steps=60, cluster_batch=64, cluster_rate=3e-3,
    self_steps=60, self_batch=64, name_steps=60, refinements=1, graph_components=10,
    graph_neighbours=7, neighbours=7, threshold=0.8, map="none",
)  # fmt: skip
BUDGETS = (10, 20, 40, 80)


@pytest.fixture(scope="module")
def clustered():
    """SCAN's network, the mined neighbours and the clusters of the digits."""
    log = NullLog()
    encoder = simclr.pretrain(CONFIG, IMAGES, KEY, log)
    mined = recipe.mine(CONFIG, encoder, IMAGES, log)
    model, _ = recipe.find_clusters(CONFIG, encoder, IMAGES, mined, 10, KEY, log)
    model, shares, _ = recipe.self_label(CONFIG, model, IMAGES, mined, KEY, log)
    return model, mined, shares.argmax(axis=1)


def learned(clustered, budget, clusters=None, key=KEY):
    model, mined, found = clustered
    clusters = found if clusters is None else clusters
    oracle = ArrayOracle(LABELS, budget)
    return scan_labels.learn_from_labels(
        CONFIG, model, IMAGES, mined, clusters, oracle, key, NullLog()
    )


def test_more_labels_never_make_it_worse_than_fewer_labels_or_the_clusters(clustered):
    _, _, clusters = clustered
    table = np.zeros((10, 10), int)
    np.add.at(table, (clusters, LABELS), 1)
    matched = table[linear_sum_assignment(-table)].sum() / len(LABELS)
    images = np.concatenate([IMAGES, DIGITS.test_images])
    labels = np.concatenate([LABELS, data.load_test_labels("digits")])
    right = []
    for budget in BUDGETS:
        found = learned(clustered, budget)
        assert len(set(found.labelled.indices.tolist())) == budget
        np.testing.assert_array_equal(found.labels[found.labelled.indices], found.labelled.labels)
        right.append(np.mean(predict_probabilities(found.model, images).argmax(axis=1) == labels))
    assert right[1] > matched  # with two labels per cluster
    for few, more in itertools.pairwise(right):
        # Another processor rounds differently, which changes this much in so short a run.
        assert more >= few - 0.02


# --- the purchase of labels, on five round clusters

CENTRES = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [20, 0]], np.float32)
CLASSES = np.repeat(np.arange(5), [50, 40, 30, 20, 10])
POINTS = CENTRES[CLASSES] + np.random.default_rng(0).standard_normal((150, 2)).astype(np.float32)
GRAPH = cluster.nearest_neighbours(POINTS, 7).graph()


def bought(oracle, clusters=CLASSES, log=None):
    settings = scan_labels.training_settings(CONFIG)
    return scan_labels.buy_labels(settings, GRAPH, POINTS, clusters, oracle, KEY, log or NullLog())


def test_a_larger_budget_extends_the_labelled_set_and_no_budget_is_exceeded():
    asked = []
    for budget in (3, 5, 10, 32):
        labelled = bought(ArrayOracle(CLASSES, budget, 5))
        assert len(set(labelled.indices.tolist())) == budget
        asked.append(labelled.indices.tolist())
    np.testing.assert_array_equal(CLASSES[asked[1]], np.arange(5))  # the largest cluster first
    for few, more in itertools.pairwise(asked):
        assert more[: len(few)] == few


def test_classes_that_share_a_cluster_are_found_by_later_queries():
    clusters = np.where(CLASSES >= 2, 2, CLASSES)  # one cluster holds three classes
    labelled = bought(ArrayOracle(CLASSES, 7, 5), clusters)
    assert set(labelled.labels[:3].tolist()) >= {0, 1} and set(labelled.labels) == set(range(5))


def test_images_that_cost_more_than_the_budget_are_not_asked():
    costs = np.where(CLASSES == 0, 9.0, 1.0)
    labelled = bought(ArrayOracle(CLASSES, 8, 5, costs))
    assert 0 not in labelled.labels and len(labelled.indices) == 8
    labelled = bought(ArrayOracle(CLASSES, 3, 5, costs), np.where(CLASSES == 0, 0, 0))
    assert 0 not in labelled.labels and len(labelled.indices) == 3


def test_a_run_that_is_started_again_asks_the_same_images():
    log, ledger = Memory(), set()
    first = bought(ArrayOracle(CLASSES, 12, 5, ledger=ledger), log=log)
    again = bought(ArrayOracle(CLASSES, 12, 5, ledger=ledger), np.roll(CLASSES, 10), log=log)
    np.testing.assert_array_equal(first.indices, again.indices)
