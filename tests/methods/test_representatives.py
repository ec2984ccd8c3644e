import dataclasses

import jax
import numpy as np
import pytest
from oracles import ArrayOracle, check_late_answers

from jaxlabel import data, train
from jaxlabel.errors import BudgetExceeded, UsageError
from jaxlabel.log import NullLog
from jaxlabel.methods import representatives
from jaxlabel.methods.representatives import Clusters, Config
from jaxlabel.predictor import predict_probabilities

DIGITS = data.load("digits")
LABELS = data.load_train_labels("digits")
TEST_LABELS = data.load_test_labels("digits")
ROWS = {
    "all": (Config(budget=2000, kind="digits"), 0.95),
    "all, distances": (Config(budget=2000, features="distances", centres=60), 0.95),
    "random": (Config(budget=60, select="random"), 0.65),
    "representatives": (Config(budget=60), 0.82),
    "whole clusters": (Config(budget=60, propagate=1.0), 0.82),
    "nearest quarter, pixels": (Config(budget=60, propagate=0.25, space="pixels"), 0.80),
    "dense": (
        Config(budget=60, propagate=0.5, classifier="dense", steps=100, augment=True),
        0.8,
    ),
}


def run(config, labels=LABELS, **settings):
    oracle = ArrayOracle(labels, config.budget, **settings)
    images = DIGITS.train_images[: len(labels)]
    return representatives.run(config, images, oracle, jax.random.key(0), NullLog()), oracle


@pytest.mark.parametrize("row", ROWS)
def test_each_setting_learns_within_its_budget_and_can_be_reloaded(row):
    config, least = ROWS[row]
    predictor, oracle = run(config)
    assert len(oracle.asked) == min(config.budget, len(LABELS))
    guesses = predict_probabilities(predictor.model, DIGITS.test_images)
    assert np.mean(guesses.argmax(axis=1) == TEST_LABELS) >= least
    make = representatives.make_classifier(config, DIGITS.train_images.shape[1:], 10)
    empty = train.init(make, jax.random.key(1))
    assert jax.tree.structure(empty) == jax.tree.structure(predictor.model)
    assert [x.shape for x in jax.tree.leaves(empty)] == [
        x.shape for x in jax.tree.leaves(predictor.model)
    ]


def test_labels_that_were_not_bought_do_not_matter():
    config = Config(budget=30, propagate=0.5)
    predictor, oracle = run(config)
    hidden = np.array([i not in oracle.asked for i in range(len(LABELS))])
    other, _ = run(config, np.where(hidden, (LABELS + 3) % 10, LABELS))
    for one, two in zip(*map(jax.tree.leaves, (predictor.model, other.model)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_budget_is_kept_with_prices():
    _, cheap = run(Config(budget=19, propagate=1.0))
    costs = np.ones(len(LABELS))
    costs[sorted(cheap.asked)] = 3.0  # the mean price still makes 19 clusters of a budget of 20
    predictor, oracle = run(Config(budget=20, propagate=1.0), costs=costs)
    assert oracle.spent == 18 and len(oracle.asked) == 6 and set(oracle.asked) <= set(cheap.asked)
    assert predictor.train_labels is None  # the budget is too small for some clusters


def test_unaffordable_representatives_raise_an_error_of_one_line():
    _, one = run(Config(budget=1))
    costs = np.ones(len(LABELS))
    costs[sorted(one.asked)] = 3.0
    with pytest.raises(BudgetExceeded):
        run(Config(budget=1), costs=costs)


def test_a_late_answer_about_an_image_that_nobody_could_label_changes_no_choice():
    config = Config(budget=20, select="random")
    _, oracle = run(config)
    check_late_answers(representatives, config, DIGITS.train_images, LABELS, oracle.asked)


CLUSTERS = Clusters(
    representatives=np.array([1, 4]),
    assignments=np.array([0, 0, 0, 0, 1, 1]),
    rank=np.array([1 / 3, 0, 1, 2 / 3, 0, 1]),
)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, [1, 4]), (0.4, [0, 1, 4]), (0.7, [0, 1, 3, 4]), (1.0, range(6))]
)
def test_labels_spread_to_the_nearest_share_of_their_cluster(share, expected):
    indices, labels, everywhere = representatives.assign_labels(
        Config(propagate=share), CLUSTERS, np.array([1, 4]), np.array([7, 2]), 6
    )
    assert indices.tolist() == list(expected)
    assert labels.tolist() == [7 if i < 4 else 2 for i in expected]
    assert everywhere.tolist() == [7, 7, 7, 7, 2, 2]


def test_a_cluster_without_a_label_gives_no_label():
    indices, labels, everywhere = representatives.assign_labels(
        Config(propagate=1.0), CLUSTERS, np.array([1]), np.array([7]), 6
    )
    assert (indices.tolist(), labels.tolist()) == ([0, 1, 2, 3], [7] * 4)
    assert everywhere is None


def test_clusters_are_ranked_by_distance_and_represented_by_their_nearest():
    images = DIGITS.train_images[:200]
    found = representatives.find_clusters(
        Config(space="pixels"), images, 9, jax.random.key(2), NullLog()
    )
    points = images.reshape(200, -1) / 255
    assert len(found.representatives) == 9
    for image in found.representatives:
        members = np.flatnonzero(found.assignments == found.assignments[image])
        away = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
        # Lloyd's last centroids are the means but for its tolerance
        assert away[members == image] <= away.min() + 0.02
        order = np.argsort(found.rank[members])
        assert found.rank[image] == 0 and found.rank[members].max() in (0, 1)
        assert np.all(np.diff(away[order]) > -0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"budget": 0}, "buys no label"),
     ({"features": "distances", "classifier": "dense"}, "needs config.classifier=logistic"),
     ({"features": "distances", "centres": 9999}, "centres is 9999, but there are only 1297")],
)  # fmt: skip
def test_contradictory_settings_raise_an_error(change, message):
    with pytest.raises(UsageError, match=message):
        run(dataclasses.replace(Config(), **change))
