import numpy as np

from jaxlabel import semisupervised
from jaxlabel.log import NullLog
from jaxlabel.semisupervised.propagation import Propagated, leading_eigenvectors, rank_within
from jaxlabel.semisupervised.setup import make_graph, make_graph_targets

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


def test_copies_of_images_change_nothing_and_get_the_result_of_the_first_one():
    features = (4 * np.eye(3)[CLASSES] + RANDOM.standard_normal((len(CLASSES), 3))).astype("f4")
    images, prior = np.arange(len(CLASSES), dtype=np.uint8).reshape(-1, 1, 1, 1), np.full(3, 1 / 3)
    graph = make_graph(features, images, NullLog())
    assert graph.point_of is None
    alone = semisupervised.propagate(graph, LABELLED, CLASSES[LABELLED], prior)
    points = leading_eigenvectors(graph, NullLog()).points
    # the first image of each pair has 12 copies, whose learned features differ by rounding
    of = np.concatenate([np.arange(len(CLASSES)), np.repeat(np.arange(0, len(CLASSES), 2), 12)])
    noise = (
        1e-6 * RANDOM.standard_normal((len(of), 3)) * (np.arange(len(of)) >= len(CLASSES))[:, None]
    )
    graph = make_graph((features[of] + noise).astype("f4"), images[of], NullLog())
    last = [np.flatnonzero(of == index)[-1] for index in LABELLED]  # labels of any copies
    together = semisupervised.propagate(graph, np.array(last), CLASSES[LABELLED], prior)
    for each, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(each, expected[of])
    np.testing.assert_array_equal(leading_eigenvectors(graph, NullLog()).points, points[of])


def test_ranks_and_graph_targets_are_chosen_within_each_class():
    groups = np.array([0, 0, 0, 1, 1, 2])
    ranks = rank_within(groups, np.array([3.0, 1.0, 2.0, 8.0, 9.0, 0.0]))
    np.testing.assert_allclose(ranks, [1.0, 0.0, 0.5, 0.0, 1.0, 1.0])
    graph_targets = make_graph_targets(Propagated(groups, ranks, ranks), 6, 3, share=0.5)
    np.testing.assert_array_equal(
        graph_targets, [[1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    )
