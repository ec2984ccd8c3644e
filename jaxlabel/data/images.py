"""Convert images of any size and colour mode to uint8 arrays of one shape, with their ids."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxlabel.data.dataset import Images, Options
from jaxlabel.data.identity import is_grey, item_id, item_ids
from jaxlabel.errors import DataError

ORIENTATION = 0x0112  # the EXIF tag that says how a photograph must be turned to be upright


def from_array(array: np.ndarray, where: str, options: Options) -> Images:
    """Convert an array (n, h, w) or (n, h, w, c) to `Images`, resized to `options.image_size`.

    The result has one channel if all images are grey, even if the array has three channels.

    Args:
      array: the images, with pixels from 0 to 255, or booleans.
      where: the name of the array, for error messages.
      options: how the images are resized.

    Raises:
      DataError: the array has not the shape of images, or its values are not pixels.
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


def single_image(picture: UInt8[np.ndarray, "h w c"], options: Options) -> Images:
    """Convert one decoded image to `Images` of length 1, resized to `options.image_size`."""
    pixels = picture[..., :1] if (picture == picture[..., :1]).all() else picture
    return Images(resize(pixels[None], options.image_size), np.array([item_id(picture)]))


def merge(named: Iterable[tuple[str, Images]]) -> Images:
    """Concatenate pairs of (name, `Images` of length 1) to one `Images`.

    If any image has three channels, all images of the result have three.

    Raises:
      DataError: two images differ in size. The error names both, and is raised at the first
        difference, before further images are decoded.
    """
    singles: list[Images] = []
    first_name, first = "", (0, 0)
    for name, single in named:
        size = single.pixels.shape[1:3]
        if not singles:
            first_name, first = name, size
        if size != first:
            raise DataError(f"images differ in size: {first_name} is {_size(first)}, {name} is "
                            f"{_size(size)}: set image_size to resize them to one size"
                            )  # fmt: skip
        singles.append(single)
    channels = max(single.pixels.shape[-1] for single in singles)
    pixels = np.empty((len(singles), *first, channels), np.uint8)
    for index, single in enumerate(singles):
        pixels[index] = single.pixels[0]  # a single channel is broadcast to three
    return Images(pixels, np.concatenate([single.items for single in singles]))


def _size(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"


def resize(images: UInt8[np.ndarray, "n h w c"], side: int) -> UInt8[np.ndarray, "n s s c"]:
    """Resize images to side x side pixels by bilinear filtering; side 0 returns them unchanged."""
    if side == 0 or images.shape[1:3] == (side, side):
        return images
    from PIL import Image

    channels = images.shape[-1]
    out = np.empty((len(images), side, side, channels), np.uint8)
    for index, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        small = picture.resize((side, side), Image.Resampling.BILINEAR)
        out[index] = np.asarray(small).reshape(side, side, channels)
    return out


def with_channels(images: UInt8[np.ndarray, "n h w c"], channels: int) -> np.ndarray:
    """Convert images to 1 channel (ITU-R 601 luma, rounded as Pillow does) or to 3 channels."""
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


def decode(file: Any) -> UInt8[np.ndarray, "h w c"]:
    """Decode an image file or binary stream to upright pixels with 1 channel or 3 channels.

    Transparent images are drawn on white; 16-bit grey is scaled to 8 bits.

    Raises:
      Exception: the exception that Pillow raises for a file that it cannot read.
    """
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        image.load()
        turned = image.getexif().get(ORIENTATION, 1) != 1
        upright = ImageOps.exif_transpose(image) if turned else image
        return _to_array(upright)


def _to_array(upright: Any) -> np.ndarray:
    from PIL import Image

    if upright.mode == "L":
        return np.asarray(upright)[..., None]
    if upright.mode == "1":
        return np.asarray(upright.convert("L"))[..., None]
    if upright.mode.startswith("I;16"):
        return ((np.asarray(upright).astype(np.uint32) + 128) // 257).astype(np.uint8)[..., None]
    if upright.mode in ("I", "F"):
        raise ValueError("32-bit pixels: save it with 8 or 16 bits")
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright.convert("RGBA"))
    return np.asarray(upright.convert("RGB"))
