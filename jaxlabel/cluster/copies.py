"""Find identical images, which count as one point in a neighbour graph.

An image's nearest neighbours would otherwise be its own copies. With as many copies as neighbours,
the copies form a part of the graph that no label of another image reaches.
"""

import hashlib

import numpy as np
from jaxtyping import Int, Shaped


def first_copies(images: Shaped[np.ndarray, "n *shape"]) -> Int[np.ndarray, "n"] | None:
    """Return, for each image, the index of the first image that is identical to it.

    Images are compared by their pixels, because the features that a network computes for identical
    images may differ by rounding.

    Args:
      images: the images or feature vectors.

    Returns:
      For example [0, 1, 0] if the third image is identical to the first. None if no two images are
      identical, or if all are: then copies need no special care, or there is no other neighbour.
    """
    positions = dict[bytes, int]()
    arrays = (np.ascontiguousarray(image) for image in images)
    digests = (hashlib.blake2b(array.data, digest_size=16) for array in arrays)
    found = [positions.setdefault(each.digest(), index) for index, each in enumerate(digests)]
    return np.array(found, np.int64) if 1 < len(positions) < len(found) else None
