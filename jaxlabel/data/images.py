"""Convert images of any size and colour mode to uint8 arrays of one shape, with their ids."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Shaped, UInt8

from jaxlabel.data import intensity
from jaxlabel.data.dataset import Images, Options
from jaxlabel.data.identity import (
    deep_item_id,
    is_grey,
    item_id,
    item_ids,
    without_equal_channels,
)
from jaxlabel.errors import DataError, SizesDiffer


def from_array(array: np.ndarray, where: str, options: Options) -> Images:
    """Convert an array (n, h, w) or (n, h, w, c) to `Images`, resized to `options.image_size`.

    The result has one channel if all images are grey, even if the array has three channels.

    Args:
      array: the images, with pixels from 0 to 255, or booleans.
      where: the name of the array, for error messages.
      options: the settings for reading images.

    Raises:
      DataError: the array does not have the shape of images, or its values are not pixels.
    """
    array = _as_uint8(array, where)
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[-1] not in (1, 3):
        hint = ", channels last" if array.ndim == 4 and array.shape[1] in (1, 3) else ""
        raise DataError(f"{where} has the shape {array.shape}: images are (n, h, w), (n, h, w, 1) "
                        f"or (n, h, w, 3){hint}")  # fmt: skip
    if 0 in array.shape:
        raise DataError(f"{where} has the shape {array.shape}: it holds no pixels")
    pixels = array[..., :1] if array.shape[-1] == 3 and is_grey(array).all() else array
    return Images(resize(pixels, options.image_size), item_ids(array))


def _as_uint8(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "iu":
        raise DataError(f"{where} holds {array.dtype}: save pixels as uint8 from 0 to 255")
    if array.dtype != np.uint8 and array.size and (array.min() < 0 or array.max() > 255):
        raise DataError(f"{where} holds values from {array.min()} to {array.max()}: "
                        "pixels are from 0 to 255")  # fmt: skip
    return array.astype(np.uint8, copy=False)


def check_not_black(images: UInt8[np.ndarray, "n h w c"], where: str) -> None:
    """Raise a DataError if the largest pixel of two or more images is 1, which is almost black.

    A single image is accepted, because it may be a picture in the dark.

    Args:
      images: the images.
      where: the name of the images, for the error message.
    """
    if len(images) > 1 and all(image.max() <= 1 for image in images) and images.any():
        raise DataError(f"{where}: no pixel is above 1, where 255 is white: multiply the pixels by "
                        "255 (an array may hold booleans instead)")  # fmt: skip


def single_image(picture: Shaped[np.ndarray, "h w c"], options: Options) -> Images:
    """Convert one decoded image to `Images` of length 1, resized to `options.image_size`.

    A picture with more than 8 bits becomes float32 pixels with unscaled values. `merge` scales them
    to 8 bits.
    """
    if picture.dtype != np.uint8:
        item = deep_item_id(picture)
        return Images(resize(picture[None].astype(np.float32), options.image_size), item)
    pixels = without_equal_channels(picture)
    return Images(resize(pixels[None], options.image_size), np.array([item_id(pixels)]))


def merge(named: Iterable[tuple[str, Images]], rule: str = "") -> Images:
    """Concatenate pairs of (name, `Images` of length 1) to one `Images` of uint8 pixels.

    If any image has three channels, all images of the result have three. Pictures with more than 8
    bits are scaled to 8 bits by one rule for all of them (`jaxlabel.data.intensity`).

    Args:
      named: pairs of a file name and the image in the file.
      rule: "LOW:HIGH", the two pixel values that become 0 and 255 in pictures with more than 8
        bits; empty: they are measured on the images of `named`.

    Raises:
      DataError: two images differ in size. The error names both, and is raised at the first
        difference, before further images are decoded.
    """
    singles: list[Images] = []
    names: list[str] = []
    noted: dict[str, list[str]] = {}
    first_name, first = "", (0, 0)
    for name, single in named:
        size = single.pixels.shape[1:3]
        if not singles:
            first_name, first = name, size
        if size != first:
            raise SizesDiffer(f"images differ in size: {first_name} is {_size(first)}, {name} is "
                            f"{_size(size)}: set image_size to resize them to one size"
                            )  # fmt: skip
        for note in single.notes:
            noted.setdefault(note, []).append(name)
        singles.append(single)
        names.append(name)
    deep = [single.pixels for single in singles if single.pixels.dtype != np.uint8]
    notes = [f"{len(files):,} pictures {note}: {files[0]}" for note, files in noted.items()]
    if deep:
        rule = rule or intensity.measure(deep)
        notes.append(intensity.statement(rule, len(deep)))
    channels = max(single.pixels.shape[-1] for single in singles)
    pixels = np.empty((len(singles), *first, channels), np.uint8)
    flat = []  # the names of pictures whose differences the rule has removed
    for index, (name, single) in enumerate(zip(names, singles, strict=True)):
        image = single.pixels[0]  # a single channel is broadcast to three
        pixels[index] = image if image.dtype == np.uint8 else intensity.scale(image, rule)
        if image.dtype != np.uint8 and np.ptp(pixels[index]) == 0 and np.ptp(image) > 0:
            flat.append(name)
    if flat:
        notes.append(f"{len(flat):,} pictures have different pixel values, but become a single "
                     f"grey value by this rule: {flat[0]}")  # fmt: skip
    items = np.concatenate([single.items for single in singles])
    return Images(pixels, items, tuple(notes), rule if deep else "")


def _size(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"


def resize(images: Shaped[np.ndarray, "n h w c"], side: int) -> Shaped[np.ndarray, "n s s c"]:
    """Resize images to side x side pixels by bilinear filtering; side 0 returns them unchanged.

    The images are uint8, or float32 with one channel.
    """
    if side == 0 or images.shape[1:3] == (side, side):
        return images
    from PIL import Image

    channels = images.shape[-1]
    out = np.empty((len(images), side, side, channels), images.dtype)
    for index, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        small = picture.resize((side, side), Image.Resampling.BILINEAR)
        out[index] = np.asarray(small).reshape(side, side, channels)
    return out


def with_channels(images: UInt8[np.ndarray, "n h w c"], channels: int) -> np.ndarray:
    """Convert images to grey (1 channel) or to colour (3 channels).

    Grey values are the luma of ITU-R 601, rounded as Pillow does.
    """
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    grey = np.empty((*images.shape[:3], 1), np.uint8)
    for start in range(0, len(images), 4096):  # in parts, because uint32 takes 4 times the memory
        part = images[start : start + 4096].astype(np.uint32)
        luma = part @ np.array([19595, 38470, 7471], np.uint32) + 0x8000
        grey[start : start + 4096, ..., 0] = luma >> 16
    return grey
