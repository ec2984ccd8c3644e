"""Check images that the user passes as an array, and convert them to uint8."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxlabel import data
from jaxlabel.data.dataset import Options
from jaxlabel.data.images import from_array, with_channels
from jaxlabel.errors import DataError, UsageError


def checked(images: Any) -> UInt8[np.ndarray, "n h w c"]:
    """Return images as a uint8 array of shape (n, height, width, channels), or raise a DataError.

    Args:
      images: an array of shape (n, h, w), (n, h, w, 1) or (n, h, w, 3), or an object that
        `numpy.asarray` converts to one. Integers must be from 0 to 255 and floats from 0 to 1.
        Floats are multiplied by 255 and rounded.

    Raises:
      DataError: the shape or the type is a different one, there is no image, or a value is NaN or
        outside of the valid range.
    """
    try:
        array = np.asarray(images)
    except ValueError as error:  # a list of arrays of different shapes
        raise DataError("the images differ in size: bring them to one height and width") from error
    if array.ndim == 2:
        raise DataError(
            f"images has the shape {array.shape}: if it is one image, give images[None]; if each "
            "row is an image, give images.reshape(-1, height, width)"
        )
    if array.dtype.kind == "f":
        array = _from_float(array)
    elif array.dtype.kind not in "iub":
        raise DataError(f"images holds {array.dtype}: it takes integers from 0 to 255 or floats "
                        "from 0 to 1")  # fmt: skip
    return from_array(array, "images", Options()).pixels


def _from_float(array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise DataError("images holds NaN or infinity: pixels are numbers from 0 to 1")
    if array.size and (array.min() < 0 or array.max() > 1):
        raise DataError(
            f"images holds floats from {array.min():g} to {array.max():g}: floats go from 0 to 1; "
            "divide by the largest value, or pass uint8 from 0 to 255"
        )
    return np.round(array.astype(np.float64) * 255).astype(np.uint8)


def like_training(
    images: Any, shape: tuple[int, ...], options: Options
) -> UInt8[np.ndarray, "n h w c"]:
    """Return new images in the shape of the images that a model was trained on.

    Images are resized if the training images were resized, and grey images get further channels if
    the training images have them.

    Args:
      images: an array of images, or a data specification such as "folder:DIR". Of a data set, the
        test images are returned, or the training images if it has no test images.
      shape: height, width and number of channels of a training image.
      options: the options with which the training images were read, such as the size to which they
        were resized.

    Raises:
      DataError: the images are not valid.
      UsageError: the images have another height or width, and the training images were not resized.
    """
    if isinstance(images, str):
        dataset = data.load(images, options._replace(folder_labels=False))
        found = dataset.test_images if len(dataset.test_images) else dataset.train_images
    else:
        found = from_array(checked(images), "images", options).pixels
    if found.shape[1:3] != shape[:2]:
        (height, width), (wanted_height, wanted_width) = found.shape[1:3], shape[:2]
        raise UsageError(
            f"the images are {width}x{height} pixels, the model was trained on {wanted_width}x"
            f"{wanted_height}: resize them, or train with image_size set"
        )
    return with_channels(found, shape[2])
