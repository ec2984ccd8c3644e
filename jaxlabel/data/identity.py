"""Which images are the same: an item's id is a hash of its pixels, never of its place."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8


def item_ids(images: UInt8[np.ndarray, "n h w c"]) -> Shaped[np.ndarray, " n"]:
    """The id of each image: 32 hexadecimal digits of BLAKE2b over its shape and pixels.

    A grey image has the same id whether it is stored with one channel or with three equal ones.
    """
    grey = is_grey(images)
    ids = np.empty(len(images), dtype="<U32")
    for mask, part in ((grey, images[grey][..., :1]), (~grey, images[~grey])):
        start = _start(part.shape[1:])
        ids[mask] = [_digest(start, image) for image in np.ascontiguousarray(part)]
    return ids


def item_id(image: UInt8[np.ndarray, "h w c"]) -> str:
    """The id of one image, as `item_ids` gives it."""
    seen = image[..., :1] if (image == image[..., :1]).all() else image
    return _digest(_start(seen.shape), np.ascontiguousarray(seen))


def _start(shape: tuple[int, ...]) -> "hashlib.blake2b":
    return hashlib.blake2b("{}x{}x{}:".format(*shape).encode(), digest_size=16)


def _digest(start: "hashlib.blake2b", image: np.ndarray) -> str:
    digest = start.copy()  # half the time of a new one
    digest.update(image.data)
    return digest.hexdigest()


def is_grey(images: UInt8[np.ndarray, "n h w c"]) -> Bool[np.ndarray, " n"]:
    """Which images have one channel, or three that are equal."""
    grey = np.ones(len(images), bool)
    if images.shape[-1] > 1:
        # The first row settles it for nearly every colour image, at a fraction of the cost.
        grey = (images[:, 0] == images[:, 0, :, :1]).all(axis=(1, 2))
        for index in np.flatnonzero(grey):
            grey[index] = (images[index] == images[index, ..., :1]).all()
    return grey


def duplicates(items: Iterable[str]) -> list[list[int]]:
    """The groups of two or more indices that are one item, in the order of their first index."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[item].append(index)
    return [group for group in groups.values() if len(group) > 1]


def contradictions(items: Iterable[str], labels: Int[np.ndarray, " n"]) -> list[list[int]]:
    """The groups of indices that are one item but have more than one label."""
    return [group for group in duplicates(items) if len(set(labels[group].tolist())) > 1]


def shared(items: Iterable[str], others: Iterable[str]) -> list[tuple[int, int]]:
    """(index in items, index in others) of each of the others that is also among the items."""
    place = {item: index for index, item in reversed(list(enumerate(items)))}
    return [(place[item], index) for index, item in enumerate(others) if item in place]
