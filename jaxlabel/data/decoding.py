"""Decode an image file to upright pixels, and note how the file is unusual."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from jaxlabel.data.dataset import Unread
from jaxlabel.errors import reason_of

MAX_LINES = 10  # how many unreadable files are named before a line says how many more there are
ORIENTATION = 0x0112  # the EXIF tag that says how a photograph must be turned to be upright
LIGHT = 230  # a drawing whose channels are all at least so light cannot be seen on white
DARK_BYTES = 16  # 16-bit colours whose upper bytes are all below this are rejected

# Notes for the user on unusual pictures; in a message, each follows the number of pictures.
BLACK_GROUND = "are white drawings on a transparent ground, which are drawn on black"
FIRST_ONLY = "hold several pictures in one file, of which the first is read"
UPPER_BYTES = "have 16 bits per colour, of which the upper 8 are read"


class Picture(NamedTuple):
    """A decoded image file.

    Attributes:
      pixels: (height, width, channels): uint8 with 1 channel or 3, or the unscaled values of a
        picture with more than 8 bits (uint16, int32 or float32) with 1 channel.
      notes: messages for the user about unusual properties of the file, such as transparency.
    """

    pixels: Shaped[np.ndarray, "h w c"]
    notes: tuple[str, ...] = ()


def read_picture(file: Any) -> Picture:
    """Decode an image file or binary stream to upright pixels.

    Transparent images are drawn on white, or on black if they would vanish on white.

    Raises:
      Exception: the exception that Pillow raises for a file that it cannot read.
    """
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        notes = _notes(image)
        image.load()
        turned = image.getexif().get(ORIENTATION, 1) != 1
        upright = ImageOps.exif_transpose(image) if turned else image
        picture = _to_array(upright)
    if UPPER_BYTES in notes and picture.pixels.max() < DARK_BYTES:
        raise ValueError("its 16 bits per colour use a small part of their range: save it with 8")
    return picture._replace(notes=notes + picture.notes)


@contextlib.contextmanager
def without_size_warnings() -> Iterator[None]:
    """Return a context manager in which Pillow does not warn of large pictures.

    Pillow still raises an error for a picture with more than 179 million pixels, twice the number
    at which it warns.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def decoding_threads() -> Iterator[ThreadPoolExecutor]:
    """Return a context manager with a pool of threads that decode pictures.

    Pillow does not warn of large pictures in it. If the `with` block raises an exception, the
    pictures that no thread has begun to decode are left.
    """
    with without_size_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def why_unreadable(error: Exception) -> str:
    """Return in words why a picture cannot be read.

    Args:
      error: the exception that was raised when the picture was read.
    """
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image format that Pillow can read"
    if type(error).__name__ == "DecompressionBombError":
        return "it has more than 179 million pixels: make it smaller"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return reason_of(error)


def printable(path: Path | str) -> str:
    """Return a path as printable text: each byte that is not valid UTF-8 is replaced by an escape.

    Old archives contain file names in other encodings.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def file_may_be_good(error: Exception) -> bool:
    """Return True if the system could not open or read a file, whose content may be good.

    Examples are a missing right, a network drive that is away, and too little memory.

    Args:
      error: the exception that was raised when the picture was read.
    """
    # Pillow also raises OSError for damaged content, but without a number of the system.
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno is not None
    )


def log_unread(unread: Sequence[Unread]) -> None:
    """Log a warning for each picture that is skipped because it cannot be read, at most 10.

    One more warning says how many others there are.
    """
    log = logging.getLogger("jaxlabel")
    for one in unread[:MAX_LINES]:
        log.warning("skipped %s: %s", one.file, one.reason)
    if len(unread) > MAX_LINES:
        log.warning("skipped %d more files that cannot be read", len(unread) - MAX_LINES)


def _notes(image: Any) -> tuple[str, ...]:
    """Return messages for the user about unusual properties of a file that Pillow has opened."""
    notes = []
    if image.mode not in ("L", "1") and image.format != "MPO":
        if image.mode in ("RGB", "RGBA", "LA") and ";16" in str(image.tile[:1]):
            notes.append(UPPER_BYTES)
        if getattr(image, "is_animated", False):
            notes.append(FIRST_ONLY)
    elif image.format in ("TIFF", "GIF", "WEBP") and getattr(image, "is_animated", False):
        notes.append(FIRST_ONLY)
    return tuple(notes)


def _to_array(upright: Any) -> Picture:
    """Convert a Pillow image to a `Picture` with pixels (height, width, channels)."""
    if upright.mode == "L":
        return Picture(np.asarray(upright)[..., None])
    if upright.mode == "1":
        return Picture(np.asarray(upright.convert("L"))[..., None])
    if upright.mode.startswith("I;16"):
        values = np.asarray(upright).astype(np.uint16)[..., None]
        if values.any() and not (values % 257).any():  # 8 bits that were saved as 16
            return Picture((values // 257).astype(np.uint8))
        return Picture(values)
    if upright.mode in ("I", "F"):
        return Picture(np.asarray(upright)[..., None])
    if upright.has_transparency_data:
        return _on_background(upright.convert("RGBA"))
    rgb = upright if upright.mode == "RGB" else upright.convert("RGB")
    return Picture(np.asarray(rgb))


def _on_background(rgba: Any) -> Picture:
    """Draw a transparent image on white, or on black if its visible pixels are nearly white."""
    from PIL import Image

    pixels = np.asarray(rgba)
    opaque = pixels[..., 3] > 127
    visible = pixels[opaque if opaque.any() else pixels[..., 3] > 0][..., :3]
    vanishes = visible.size and visible.min() >= LIGHT and pixels[..., 3].min() < 128
    ground = Image.new("RGBA", rgba.size, "black" if vanishes else "white")
    drawn = np.asarray(Image.alpha_composite(ground, rgba).convert("RGB"))
    return Picture(drawn, (BLACK_GROUND,) if vanishes else ())
