import numpy as np

from jaxlabel import cluster, scan
from jaxlabel.log import NullLog


def test_copies_of_images_are_no_neighbours_and_share_a_row_of_the_embedding():
    features = np.random.default_rng(0).standard_normal((80, 4)).astype(np.float32)
    of = np.repeat(np.arange(80), 5)
    alone = scan.mine(features, 6, 4, 3, NullLog())
    first = cluster.first_copies(np.arange(80)[of])
    together = scan.mine(features[of], 6, 4, 3, NullLog(), first)
    np.testing.assert_array_equal(of[together.neighbours], alone.neighbours[of])
    for part in ("points", "modes"):
        np.testing.assert_array_equal(getattr(together.space, part), getattr(alone.space, part)[of])
