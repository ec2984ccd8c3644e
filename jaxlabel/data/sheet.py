"""A picture of many samples: a row for each class, or a square of them where labels are unknown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

COLUMNS = 14
MAX_ROWS = 40
CELL = 56  # pixels that a sample is wide, about
GAP = 3


def samples_sheet(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"] | None,
    classes: Sequence[str],
) -> Any:
    """A Pillow image of samples that lie evenly over the data set, in rows by class if known."""
    from PIL import Image, ImageDraw, ImageFont

    rows = _rows(len(images), labels, classes)
    font = ImageFont.load_default(15)
    margin = max([font.getlength(name) for name, _ in rows if name], default=-GAP) + 2 * GAP
    step = _cell(images[0]).width + GAP, _cell(images[0]).height + GAP
    size = int(margin) + COLUMNS * step[0] + GAP, len(rows) * step[1] + GAP
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, indices) in enumerate(rows):
        top = GAP + row * step[1]
        draw.text((2 * GAP, top + step[1] // 2), name, "black", font, anchor="lm")
        for column, index in enumerate(indices):
            sheet.paste(_cell(images[index]), (int(margin) + GAP + column * step[0], top))
    return sheet


def _rows(
    num: int, labels: Int[np.ndarray, " n"] | None, classes: Sequence[str]
) -> list[tuple[str, list[int]]]:
    if labels is None:
        chosen = _spread(np.arange(num), COLUMNS * COLUMNS)
        return [("", chosen[i : i + COLUMNS]) for i in range(0, len(chosen), COLUMNS)]
    members = [np.flatnonzero(labels == label) for label in range(min(len(classes), MAX_ROWS))]
    return [(classes[label], _spread(found, COLUMNS)) for label, found in enumerate(members)]


def _spread(indices: np.ndarray, count: int) -> list[int]:
    places = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
    return indices[places].tolist()


def _cell(image: UInt8[np.ndarray, "h w c"]) -> Any:
    """A sample near CELL pixels wide: small ones enlarged in whole steps, to keep their pixels."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    longest = max(picture.size)
    if longest > CELL:
        picture.thumbnail((CELL, CELL))
        return picture
    return picture.resize([side * round(CELL / longest) for side in picture.size], 0)
