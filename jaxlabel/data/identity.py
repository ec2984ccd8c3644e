"""Compute image ids from pixels, and find duplicate images by their ids.

An image's id is a hash of its pixels, so it does not depend on the file or on its position.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8


def item_ids(images: UInt8[np.ndarray, "n h w c"]) -> Shaped[np.ndarray, " n"]:
    """Return the id of each image of an array: 32 hexadecimal digits, a hash of its pixels.

    The id is the BLAKE2b hash of the image's shape and pixels, so identical images have the same
    id. A grey image has one id whether it is stored with one channel or with three equal ones.
    """
    grey = is_grey(images)
    ids = np.empty(len(images), dtype="<U32")
    for mask, part in ((grey, images[grey][..., :1]), (~grey, images[~grey])):
        start = _hash_of_shape(part.shape[1:])
        ids[mask] = [_digest(start, image) for image in np.ascontiguousarray(part)]
    return ids


def item_id(image: UInt8[np.ndarray, "h w c"]) -> str:
    """Return the id of a single image: 32 hexadecimal digits, a hash of its shape and pixels.

    It is the id that `item_ids` returns for this image in an array of images.
    """
    pixels = without_equal_channels(image)
    return _digest(_hash_of_shape(pixels.shape), np.ascontiguousarray(pixels))


def without_equal_channels(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w d"]:
    """Return an image with three equal channels as an image with one channel.

    Any other image is returned unchanged.
    """
    if image.shape[-1] == 1:
        return image
    # The first row of pixels already shows colour in nearly every colour image.
    grey = (image[:1] == image[:1, :, :1]).all() and (image == image[..., :1]).all()
    return image[..., :1] if grey else image


def deep_item_id(image: Shaped[np.ndarray, "h w c"]) -> Shaped[np.ndarray, "1"]:
    """Return the id of an image with more than 8 bits per pixel, as an array of length 1.

    The id is a hash of the unscaled pixel values. An 8-bit picture that was saved with 16 bits
    (each value times 257) has the id of the 8-bit picture. Whole numbers have one id, whether they
    are stored as 16 bits, as 32 bits or as floating-point numbers.
    """
    whole = image.dtype.kind in "iu" or bool((np.floor(image) == image).all())
    if not whole or np.abs(image.astype(np.float64)).max() >= 2**31:
        canonical = np.where(np.isnan(image), np.nan, image + 0.0).astype("<f4")
        return np.array([_digest(_hash_of_shape(("float32", *image.shape)), canonical)])
    values = image.astype("<i4")
    if values.min() >= 0 and values.max() <= 65535 and not (values % 257).any():
        return np.array([item_id((values // 257).astype(np.uint8))])
    return np.array([_digest(_hash_of_shape(("int32", *image.shape)), values)])


def _hash_of_shape(shape: tuple[object, ...]) -> "hashlib.blake2b":
    return hashlib.blake2b(f"{'x'.join(map(str, shape))}:".encode(), digest_size=16)


def _digest(start: "hashlib.blake2b", image: np.ndarray) -> str:
    digest = start.copy()  # copying takes half the time of hashing the shape anew
    digest.update(image.data)
    return digest.hexdigest()


def is_grey(images: UInt8[np.ndarray, "n h w c"]) -> Bool[np.ndarray, " n"]:
    """Return, for each image, True if it is grey: it has one channel, or three equal ones."""
    grey = np.ones(len(images), bool)
    if images.shape[-1] > 1:
        # The first row of pixels already shows colour in nearly every colour image, so only
        # the others are compared in full.
        grey = (images[:, 0] == images[:, 0, :, :1]).all(axis=(1, 2))
        for index in np.flatnonzero(grey):
            grey[index] = (images[index] == images[index, ..., :1]).all()
    return grey


def duplicates(items: Iterable[str]) -> list[list[int]]:
    """Find identical images by their ids.

    Returns:
      A list of indices for each id that two or more images have, ordered by the first index.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[item].append(index)
    return [group for group in groups.values() if len(group) > 1]


def contradictions(items: Iterable[str], labels: Int[np.ndarray, " n"]) -> list[list[int]]:
    """Find identical images (by their ids) that have different labels.

    Returns:
      A list of indices for each id whose images do not all have the same label.
    """
    return [group for group in duplicates(items) if len(set(labels[group].tolist())) > 1]


def shared_items(items: Iterable[str], others: Iterable[str]) -> list[tuple[int, int]]:
    """Find the ids that occur in both of two sequences of image ids.

    Args:
      items: the ids of the first sequence.
      others: the ids of the second sequence.

    Returns:
      A pair (first index in `items`, index in `others`) for each element of `others` that is also
      in `items`, in the order of `others`.
    """
    positions = {item: index for index, item in reversed(list(enumerate(items)))}
    return [(positions[item], index) for index, item in enumerate(others) if item in positions]
