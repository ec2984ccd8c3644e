import numpy as np

from jaxlabel import scan

RANDOM = np.random.default_rng(0)
CENTRES = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [20, 0]], np.float32)
CLASSES = np.repeat(np.arange(5), [50, 40, 30, 20, 10])
POINTS = (CENTRES[CLASSES] + RANDOM.standard_normal((150, 2))).astype(np.float32)


def test_the_image_with_the_nearest_neighbours_is_typical_and_large_clusters_come_first():
    found = scan.typical_images(POINTS, (CLASSES + 2) % 5 + 3)  # numbers 0 to 2 have no image
    np.testing.assert_array_equal(CLASSES[found], np.arange(5))
    for number, index in enumerate(found):
        members = POINTS[number == CLASSES]
        away = np.linalg.norm(members[:, None] - members, axis=2)
        mean = np.sort(away, axis=1)[:, 1:21].mean(axis=1)
        assert np.array_equal(POINTS[index], members[np.argmin(mean)])


def test_in_a_cluster_of_two_classes_the_typical_image_is_not_between_them():
    left, right = RANDOM.standard_normal((2, 60, 2)) * 0.5
    outlier = np.array([[5.0, 0.0]])  # the medoid: the nearest image to the mean of the cluster
    points = np.concatenate([left, right + np.array([10, 0]), outlier]).astype(np.float32)
    assert np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)) == 120
    assert scan.typical_images(points, np.zeros(121, int))[0] < 120


def test_a_cluster_of_one_image_is_labelled_too():
    found = scan.typical_images(np.zeros((3, 2), np.float32), np.array([1, 1, 0]))
    assert found[1] == 2 and found[0] in (0, 1)
