"""Tests of image ids, resizing and channels."""

import numpy as np
import pytest

from jaxlabel import data
from jaxlabel.data import identity
from jaxlabel.data.images import check_not_black, from_array, resize, with_channels
from jaxlabel.errors import DataError

RNG = np.random.default_rng(4)


def test_an_id_is_blake2b_of_shape_and_pixels():
    # Label stores keep ids for years, so this constant must never change.
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1)
    assert identity.item_ids(image).tolist() == [ID_OF_0_TO_5]
    assert identity.item_id(np.repeat(image[0], 3, -1)) == ID_OF_0_TO_5
    assert identity.item_id(image.reshape(3, 2, 1)) != ID_OF_0_TO_5
    colours = RNG.integers(0, 256, (4, 3, 3, 3), np.uint8)
    colours[2] = 7  # one of the images is grey
    assert identity.item_ids(colours).tolist() == [identity.item_id(c) for c in colours]
    changed = colours.copy()
    changed[1, 2, 2, 2] ^= 1
    assert (identity.item_ids(changed) == identity.item_ids(colours)).tolist() == [1, 0, 1, 1]


ID_OF_0_TO_5 = "13c8f65b4e2bd76c8e364a0a68484f4c"


def test_duplicates_and_contradictions():
    items = ["a", "b", "a", "c", "b", "a"]
    assert identity.duplicates(items) == [[0, 2, 5], [1, 4]]
    assert identity.contradictions(items, np.array([1, 2, 1, 0, 3, 1])) == [[1, 4]]
    assert identity.shared_items(items, ["z", "b", "a", "b"]) == [(1, 1), (0, 2), (1, 3)]


def test_resizing_keeps_means_and_flat_images():
    flat = np.full((2, 6, 4, 3), 77, np.uint8)
    np.testing.assert_array_equal(resize(flat, 5), np.full((2, 5, 5, 3), 77))
    assert resize(flat, 0) is flat
    blocks = RNG.integers(0, 256, (1, 4, 4, 1)).astype(np.uint8)
    assert abs(float(resize(blocks, 2).mean()) - float(blocks.mean())) < 25
    checks = np.tile(np.array([[0, 200], [200, 0]], np.uint8), (8, 8))[None, ..., None]
    assert abs(int(resize(checks, 4)[0, 1, 1, 0]) - 100) <= 2  # smoothed, not sampled


def test_grey_is_pillows_grey():
    from PIL import Image

    colours = RNG.integers(0, 256, (3, 7, 5, 3), np.uint8)
    grey = [np.asarray(Image.fromarray(c).convert("L")) for c in colours]
    np.testing.assert_array_equal(with_channels(colours, 1)[..., 0], grey)
    np.testing.assert_array_equal(with_channels(colours[..., :1], 3)[..., 2], colours[..., 0])


def test_pixels_0_and_1_are_refused_but_not_a_dark_picture():
    dark = np.eye(3, dtype=np.uint8)[None, ..., None].repeat(2, 0)
    with pytest.raises(DataError, match=r"^a: no pixel is above 1, .*multiply the pixels by 255"):
        check_not_black(dark, "a")
    for fine in (dark[:1], 0 * dark, 2 * dark):
        check_not_black(fine, "a")


def test_booleans_are_black_and_white():
    converted = from_array(np.eye(3, dtype=bool)[None], "x", data.Options())
    np.testing.assert_array_equal(converted.pixels[0, ..., 0], np.eye(3) * 255)
