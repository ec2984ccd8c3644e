"""Show the images that a run has asked a person about, if they are not files of their own."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel.errors import DataError
from jaxlabel.oracle.person import read_rows
from jaxlabel.report.run import Run
from jaxlabel.report.sections import thumbnails

FILE = "questions.csv"  # questions and answers; the folder `questions` beside it has the pictures
OPEN = "not answered yet"


def questions(run: Run) -> dict[str, Any] | None:
    """Return the report section with the images that a person is asked to label, or has labelled.

    Images of arrays (NPZ, IDX) are not files, so the run has written those that it asks about as
    PNG files. The section groups them by the answer in questions.csv.

    Args:
      run: the content of the run's directory.

    Returns:
      The section as a dictionary for the report's template; None if the run wrote no such pictures
      or if questions.csv is damaged, which must not keep the rest of the report from the user.
    """
    path = run.workdir / FILE
    pictures = run.workdir / Path(FILE).stem
    if not path.exists() or not pictures.is_dir():
        return None
    try:
        rows = read_rows(path)
    except DataError:
        return None
    shown = [(row.label or OPEN, row.item, image) for row in rows
             if (image := _read(pictures / f"{Path(row.item).name}.png")) is not None]  # fmt: skip
    if not shown:
        return None
    shown.sort(key=lambda one: (one[0] != OPEN, one[0]))  # those without an answer come first
    counts = Counter(name for name, _, _ in shown)
    uris = thumbnails([image for _, _, image in shown])
    groups: dict[str, list[dict[str, str]]] = {}
    for (name, item, _), uri in zip(shown, uris, strict=False):
        groups.setdefault(name, []).append({"uri": uri, "alt": f"{name}: {item}", "size": ""})
    text = f"{len(shown):,} images by the answer in {FILE}."
    if len(uris) < len(shown):
        text += f" The first {len(uris):,} are shown."
    return {"text": text, "groups": [
        {"name": name, "note": f"{counts[name]:,}", "images": images}
        for name, images in groups.items()
    ]}  # fmt: skip


def _read(path: Path) -> np.ndarray | None:
    """Return the pixels of a picture as an array (h, w, c); None if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
    except OSError:
        return None
    return pixels if pixels.ndim == 3 else pixels[..., None]
