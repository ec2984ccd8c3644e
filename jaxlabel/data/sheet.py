"""Draw a sheet of sample images: one row per class, or a square grid if labels are unknown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

COLUMNS = 14
MAX_ROWS = 40
CELL = 56  # the approximate width of a sample in pixels
GAP = 3  # the space between samples in pixels


def sample_sheet(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"] | None,
    classes: Sequence[str],
) -> Any:
    """Draw sample images of a data set side by side, and return the drawing as a Pillow image.

    The samples are taken at even intervals of the data set.

    Args:
      images: all images of the data set.
      labels: their labels, for one row of samples per class; None: a square grid of samples.
      classes: the names of the classes by label.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = _rows(len(images), labels, classes)
    font = ImageFont.load_default(15)
    margin = max([font.getlength(name) for name, _ in rows if name], default=-GAP) + 2 * GAP
    step = _thumbnail(images[0]).width + GAP, _thumbnail(images[0]).height + GAP
    size = int(margin) + COLUMNS * step[0] + GAP, len(rows) * step[1] + GAP
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, indices) in enumerate(rows):
        top = GAP + row * step[1]
        draw.text((2 * GAP, top + step[1] // 2), name, "black", font, anchor="lm")
        for column, index in enumerate(indices):
            sheet.paste(_thumbnail(images[index]), (int(margin) + GAP + column * step[0], top))
    return sheet


def _rows(
    num: int, labels: Int[np.ndarray, " n"] | None, classes: Sequence[str]
) -> list[tuple[str, list[int]]]:
    if labels is None:
        chosen = _evenly_spaced(np.arange(num), COLUMNS * COLUMNS)
        return [("", chosen[i : i + COLUMNS]) for i in range(0, len(chosen), COLUMNS)]
    members = [np.flatnonzero(labels == label) for label in range(min(len(classes), MAX_ROWS))]
    return [
        (classes[label], _evenly_spaced(indices, COLUMNS)) for label, indices in enumerate(members)
    ]


def _evenly_spaced(indices: np.ndarray, count: int) -> list[int]:
    positions = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
    return indices[positions].tolist()


def _thumbnail(image: UInt8[np.ndarray, "h w c"]) -> Any:
    """Return an image resized to a width of about `CELL` (56) pixels.

    Small images are enlarged by a whole factor, so that their pixels stay sharp squares.
    """
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    longest = max(picture.size)
    if longest > CELL:
        picture.thumbnail((CELL, CELL))
        return picture
    return picture.resize([side * round(CELL / longest) for side in picture.size], 0)
