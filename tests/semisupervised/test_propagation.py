import numpy as np

from jaxlabel import semisupervised
from jaxlabel.log import NullLog
from jaxlabel.semisupervised.propagation import Propagated, rank_within
from jaxlabel.semisupervised.setup import make_graph_targets

RANDOM = np.random.default_rng(0)
CLASSES = RANDOM.integers(0, 3, 240)
LABELLED = np.concatenate([np.flatnonzero(c == CLASSES)[:2] for c in range(3)])


def graph_of(features):
    return semisupervised.neighbour_graph(features, 10, NullLog())


def test_with_one_class_every_label_is_certain():
    features = RANDOM.standard_normal((60, 3))
    graph = graph_of(features)
    spread = semisupervised.propagate(graph, np.arange(2), np.zeros(2, int), np.ones(1))
    np.testing.assert_array_equal(spread.labels, 0)
    np.testing.assert_array_equal(spread.certainty, 1.0)


def test_labels_propagate_within_groups_and_labelled_images_keep_theirs():
    features = 4 * np.eye(3)[CLASSES] + RANDOM.standard_normal((len(CLASSES), 3))
    graph, prior = graph_of(features), np.full(3, 1 / 3)
    spread = semisupervised.propagate(graph, LABELLED, CLASSES[LABELLED], prior)
    right = spread.labels == CLASSES
    assert np.mean(right) > 0.9
    assert np.mean(right[spread.certainty >= 0.5]) >= np.mean(right)
    wrong = (CLASSES[LABELLED] + 1) % 3
    wrong[1:] = CLASSES[LABELLED][1:]
    kept = semisupervised.propagate(graph, LABELLED, wrong, prior)
    np.testing.assert_array_equal(kept.labels[LABELLED], wrong)
    np.testing.assert_array_equal(kept.certainty[LABELLED], 1.0)


def test_images_that_no_label_reaches_get_no_target():
    features = RANDOM.standard_normal((60, 3))
    features[30:] += 1000
    labelled, labels = np.arange(6), np.arange(6) % 2
    graph = graph_of(features)
    spread = semisupervised.propagate(graph, labelled, labels, np.full(3, 1 / 3))
    assert (spread.certainty[:30] >= 0).all()
    np.testing.assert_array_equal(spread.certainty[30:], -1)
    np.testing.assert_array_equal(spread.reach[30:], 0)
    assert (spread.reach[:30] > 0).mean() > 0.9
    graph_targets = make_graph_targets(spread, 60, 3, share=1.0)
    assert graph_targets[:30].any(axis=1).all() and not graph_targets[30:].any()


def test_ranks_and_graph_targets_are_chosen_within_each_class():
    groups = np.array([0, 0, 0, 1, 1, 2])
    ranks = rank_within(groups, np.array([3.0, 1.0, 2.0, 8.0, 9.0, 0.0]))
    np.testing.assert_allclose(ranks, [1.0, 0.0, 0.5, 0.0, 1.0, 1.0])
    graph_targets = make_graph_targets(Propagated(groups, ranks, ranks), 6, 3, share=0.5)
    np.testing.assert_array_equal(
        graph_targets, [[1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    )
