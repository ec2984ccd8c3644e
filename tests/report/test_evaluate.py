import itertools

import numpy as np
import pytest

from jaxlabel.certificate.interval import wilson_interval
from jaxlabel.report import evaluate


def test_accuracy_counts():
    assert evaluate.accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.75
    with pytest.raises(ValueError, match="one label per prediction"):
        evaluate.accuracy(np.array([], int), np.array([], int))
    with pytest.raises(ValueError, match="one label per prediction"):
        evaluate.accuracy(np.array([1]), np.array([1, 2]))


def test_wilson_interval_by_hand():
    # 8 of 10: centre (.8 + z²/20) / (1 + z²/10), z² = 3.8415
    low, high = wilson_interval(8, 10)
    np.testing.assert_allclose([low, high], [0.49016, 0.94331], atol=1e-5)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 20).low == 0.0
    assert wilson_interval(20, 20).high == 1.0


def test_wilson_interval_covers_the_truth_in_95_percent():
    draws = np.random.default_rng(0).binomial(200, 0.9, 4000)
    low, high = np.array([wilson_interval(draw, 200) for draw in draws]).T
    assert 0.93 < np.mean((low <= 0.9) & (high >= 0.9)) < 0.97


def test_wilson_interval_is_symmetric():
    low, high = wilson_interval(3, 17)
    np.testing.assert_allclose(wilson_interval(14, 17), [1 - high, 1 - low])


def test_confusion_matrix_rows_are_the_truth():
    labels, predictions = np.array([0, 0, 0, 2, 2]), np.array([0, 1, 1, 2, 0])
    matrix = evaluate.confusion_matrix(labels, predictions, 3)
    np.testing.assert_array_equal(matrix, [[1, 2, 0], [0, 0, 0], [1, 0, 1]])
    np.testing.assert_allclose(evaluate.per_class_recall(matrix), [1 / 3, np.nan, 0.5])
    with pytest.raises(ValueError, match="of 2"):
        evaluate.confusion_matrix(labels, predictions, 2)


@pytest.mark.parametrize("num_clusters", [2, 4, 5])
def test_matched_accuracy_is_the_best_of_all_matchings(num_clusters):
    rng = np.random.default_rng(num_clusters)
    labels, clusters = rng.integers(0, 4, 60), rng.integers(0, num_clusters, 60)
    longer, shorter = max(4, num_clusters), min(4, num_clusters)
    best = 0
    for chosen in itertools.permutations(range(longer), shorter):
        pairs = zip(range(shorter), chosen, strict=True)
        pairs = [(c, k) if num_clusters >= 4 else (k, c) for c, k in pairs]
        best = max(best, sum(np.sum((labels == c) & (clusters == k)) for c, k in pairs))
    assert evaluate.clustering_scores(labels, clusters).matched_accuracy == best / 60


def test_clustering_scores_do_not_depend_on_numbering():
    rng = np.random.default_rng(1)
    labels, clusters = rng.integers(0, 3, 50), rng.integers(0, 6, 50)
    renamed = np.array([40, -7, 3, 11, 5, 0])[clusters]
    expected = evaluate.clustering_scores(labels, clusters)
    np.testing.assert_allclose(evaluate.clustering_scores(labels, renamed), expected)
    perfect = evaluate.clustering_scores(labels, np.array([9, 4, 1])[labels])
    np.testing.assert_allclose(perfect, np.ones(5))


def test_clustering_scores_by_hand():
    scores = evaluate.clustering_scores(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]))
    assert (scores.matched_accuracy, scores.purity) == (0.75, 1)
    # in units of log 2, the entropies are 1 and 1.5, and the mutual information is 1
    np.testing.assert_allclose(scores[2:], [1, 2 / 2.5, 4 / 7])


def test_many_clusters_of_few_images_raise_no_warning():
    scores = evaluate.clustering_scores(np.arange(30) % 3, np.arange(30))
    np.testing.assert_allclose(scores[1:3], [1, 1])


def test_clustering_scores_of_one_cluster():
    scores = evaluate.clustering_scores(np.array([0, 0, 1, 1]), np.zeros(4, int))
    np.testing.assert_allclose(scores, [0.5, 0.5, 0.0, 0.0, 0.0], atol=1e-12)


def test_knn_accuracy_is_the_brute_force_vote():
    random = np.random.default_rng(0)
    train, test = random.standard_normal((60, 5)), random.standard_normal((20, 5))
    labels, truth = random.integers(0, 3, 60), random.integers(0, 3, 20)

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    cosines = unit(test) @ unit(train).T
    for temperature in (None, 0.1):
        votes = np.zeros((20, 3))
        for row, cosine in enumerate(cosines):
            for index in np.argsort(-cosine)[:7]:
                weight = 1 if temperature is None else np.exp(cosine[index] / temperature)
                votes[row, labels[index]] += weight
        found = evaluate.knn_accuracy(
            train, labels, test, truth, num_neighbours=7, temperature=temperature
        )
        assert found == np.mean(votes.argmax(axis=1) == truth)
