"""Show confusion matrices as a section of a page, as a picture, and as pixels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from jaxlabel.report import figures
from jaxlabel.report.evaluate import per_class_recall
from jaxlabel.report.run import Run, artifact, class_name, percent
from jaxlabel.report.sections import Section

GREEN, RED = (46, 139, 87), (200, 62, 44)
LARGEST_TABLE = 20  # with more classes, the confusion matrix is shown as a picture


def confusion(run: Run) -> Section | None:
    """Return the section of a run's report that shows the confusion matrix of the test images.

    Args:
      run: the content of the run's directory.

    Returns:
      The section as a dictionary for the report's template; None if the run saved no confusion
      matrix.
    """
    if (arrays := artifact(run, "confusion", "matrix")) is None:
        return None
    matrix = arrays["matrix"].astype(int)
    return confusion_table(matrix, [class_name(run, i) for i in range(len(matrix))], "test images")


def confusion_table(matrix: Int[np.ndarray, "k k"], names: Sequence[str], images: str) -> Section:
    """Return a report section with a confusion matrix, recall per class, and frequent mistakes.

    Args:
      matrix: the number of images per [true class, predicted class]. A matrix of more than
        LARGEST_TABLE (20) classes is shown as a picture, a smaller one as a table.
      names: the names of the classes.
      images: a text that says which images are counted, such as "test images".

    Returns:
      The section as a dictionary for the page's template.
    """
    recall = per_class_recall(matrix)
    rows: list[Section] = []
    section = {"names": names, "rows": rows, "pairs": _frequent_mistakes(matrix, names),
               "text": f"The {matrix.sum():,} {images}: a row per true class, "
               "a column per predicted class."}  # fmt: skip
    if len(matrix) > LARGEST_TABLE:
        pixels = confusion_pixels(matrix)
        return section | {"uri": figures.data_uri(pixels, longest=len(matrix))}
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    alphas = np.round(shares**0.6, 3)
    for i, name in enumerate(names):
        cells = [
            {"count": int(matrix[i, j]), "alpha": float(alphas[i, j]),
             "kind": _css_classes(i == j, alphas[i, j])}
            for j in range(len(matrix))
        ]  # fmt: skip
        shown_recall = "" if np.isnan(recall[i]) else percent(recall[i])
        rows.append({"name": name, "cells": cells, "recall": shown_recall})
    return section


def _frequent_mistakes(matrix: Int[np.ndarray, "k k"], names: Sequence[str]) -> list[str]:
    """Return texts on the five most frequent mistakes, such as "cat predicted as dog: 5 of 12".

    Args:
      matrix: the number of images per [true class, predicted class].
      names: the names of the classes.
    """
    wrong = matrix - np.diag(np.diag(matrix))
    cells = np.argsort(-wrong, axis=None, kind="stable")[:5]
    pairs = [divmod(int(cell), len(matrix)) for cell in cells]
    return [
        f"{names[i]} predicted as {names[j]}: {wrong[i, j]:,} of {matrix[i].sum():,}"
        for i, j in pairs
        if wrong[i, j]
    ]


def confusion_pixels(matrix: Int[np.ndarray, "classes classes"]) -> UInt8[np.ndarray, "k k 4"]:
    """Draw a confusion matrix as a small RGBA picture, with one pixel for each cell.

    Correct predictions are green and mistakes are red. A cell is the more opaque, the larger its
    share of its row (the images of one true class). Empty cells are transparent.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    pixels = np.zeros((*matrix.shape, 4), np.uint8)
    pixels[..., :3] = np.where(np.eye(len(matrix), dtype=bool)[..., None], GREEN, RED)
    pixels[..., 3] = np.round(255 * shares**0.6)
    return pixels


def confusion_figure(
    matrix: Int[np.ndarray, "classes classes"], classes: Sequence[str] = ()
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a confusion matrix as a picture for TensorBoard.

    Args:
      matrix: the number of images per [true class, predicted class].
      classes: the names of the classes; a class without a name is shown by its number. Names and
        counts are drawn only if there are at most 20 classes.
    """
    from PIL import Image, ImageDraw, ImageFont

    k = len(matrix)
    names = [str(classes[i]) if i < len(classes) else str(i) for i in range(k)]
    cell = 44 if k <= 20 else max(4, 880 // k)
    font = ImageFont.load_default(size=13)
    margin = 8 + (int(max(font.getlength(name) for name in names)) if k <= 20 else 0)
    page = Image.new("RGB", (margin + cell * k + 8, margin + cell * k + 8), "white")
    heat = Image.fromarray(confusion_pixels(matrix))
    heat = heat.resize((cell * k, cell * k), Image.Resampling.NEAREST)
    page.paste(heat, (margin, margin), heat)
    draw = ImageDraw.Draw(page)
    for i in range(k if k <= 20 else 0):
        middle = margin + cell * i + cell // 2
        draw.text((margin - 5, middle), names[i], "black", font, anchor="rm")
        label = Image.new("L", (margin, 18))
        ImageDraw.Draw(label).text((4, 9), names[i], 255, font, anchor="lm")
        turned = label.rotate(90, expand=True)
        page.paste((0, 0, 0), (middle - 9, 0), turned)
        for j in range(k):
            centre = (margin + cell * j + cell // 2, middle)
            draw.text(centre, str(matrix[i, j]), "black", font, anchor="mm")
    return np.asarray(page)


def _css_classes(is_correct: bool, alpha: float) -> str:
    """Return the CSS classes of a cell of the confusion matrix, such as "right strong".

    Args:
      is_correct: True if the cell is on the diagonal, so that it counts correct predictions.
      alpha: the opacity of the cell's colour, in 0 ... 1; 0 if the cell counts no image.
    """
    if alpha == 0:
        return "zero"
    return ("right" if is_correct else "wrong") + (" strong" if alpha > 0.6 else "")
