"""Approximate nearest neighbours by cells, against the exact search."""

import numpy as np
import pytest

from jaxlabel import cluster
from jaxlabel.cluster import cells
from jaxlabel.log import NullLog

K = 7


@pytest.fixture(scope="module")
def points():
    """4,000 points around 60 centres, of which 50 are the same point."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.standard_normal((60, 8))
    drawn = centres[rng.integers(60, size=4000)] + rng.standard_normal((4000, 8))
    drawn[100:150] = drawn[100]
    return drawn.astype(np.float32)


@pytest.fixture(scope="module")
def exact(points):
    return tuple(map(np.asarray, cluster.knn(points, None, K)))


@pytest.fixture(scope="module")
def found(points):
    return cluster.nearest_neighbours(points, K, exact_up_to=100)


def test_below_the_limit_neighbours_are_those_of_the_exact_search(points, exact):
    by_default = cluster.nearest_neighbours(points, K)
    for one, other in zip(by_default[:2], exact, strict=True):
        np.testing.assert_array_equal(one, other)
    assert by_default.recall == 1.0


def test_the_share_of_neighbours_found_is_the_one_that_is_stated(points, exact, found):
    hits = found.distances <= exact[1][:, -1:] * (1 + 1e-5)
    assert hits.mean() > 0.95 and not hits.all()  # it is approximate
    assert abs(hits.mean() - found.recall) < 0.015


def test_distances_are_those_of_the_neighbours_nearest_first(points, found):
    differences = points[:, None] - points[found.indices]
    np.testing.assert_allclose(found.distances, np.linalg.norm(differences, axis=-1), atol=1e-4)
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert not (found.indices == np.arange(len(points))[:, None]).any()
    assert all(len(set(row)) == K for row in found.indices.tolist())


def test_the_same_seed_gives_the_same_neighbours(points, found):
    again = cluster.nearest_neighbours(points, K, exact_up_to=100)
    np.testing.assert_array_equal(again.indices, found.indices)
    other = cluster.nearest_neighbours(points, K, seed=1, exact_up_to=100)
    assert (other.indices != found.indices).any()


def test_every_point_is_in_one_cell_with_its_mean_as_centre(points):
    import jax

    made = cells.divide_into_cells(jax.random.key(0), points)
    assert sorted(made.members[made.members >= 0].tolist()) == list(range(len(points)))
    assert made.members.shape[1] == round(4000**0.5 / 4)
    for row, centre in zip(made.members, made.centres, strict=True):
        np.testing.assert_allclose(points[row[row >= 0]].mean(axis=0), centre, atol=1e-4)


def test_copies_have_the_neighbours_of_the_first_copy_and_are_no_neighbours(points):
    of = np.append(np.arange(4000), [7, 9, 7])
    images = np.arange(4000, dtype=np.uint16)[:, None]
    first = cluster.first_copies(images[of])
    np.testing.assert_array_equal(first, of)
    alone = cluster.nearest_neighbours(points, K)
    together = cluster.nearest_neighbours(points[of], K, first=first)
    np.testing.assert_array_equal(together.indices, alone.indices[of])
    np.testing.assert_array_equal(together.distances, alone.distances[of])
    graph = together.graph()
    assert (graph.weights != alone.graph().weights).nnz == 0
    np.testing.assert_array_equal(graph.point_of, of)
    assert cluster.first_copies(images) is None  # no copies
    assert cluster.first_copies(images[[3, 3, 3]]) is None  # no other image


def test_noise_of_many_dimensions_is_searched_exactly():
    noise = np.random.default_rng(0).standard_normal((2000, 200)).astype(np.float32)
    searched = cluster.nearest_neighbours(noise, K, exact_up_to=100)
    assert searched.recall == 1.0
    np.testing.assert_array_equal(searched.indices, cluster.knn(noise, None, K)[0])


def test_the_run_says_what_share_was_found():
    class Lines(NullLog):
        said: list[str] = []  # noqa: RUF012

        def say(self, text):
            self.said.append(text)

    cluster.report_recall(1.0, Lines())
    cluster.report_recall(np.array(0.9714), Lines())
    assert len(Lines.said) == 1 and Lines.said[0].startswith("neighbours found: 97.1% (")
