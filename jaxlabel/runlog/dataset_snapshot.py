"""The images that a run began with: their order stays, and other images are refused.

A run speaks of an image by its place. WORKDIR/images.json keeps which images there were, so that a
file that gets another name changes nothing, and one that is gone or new is said in a line.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxlabel import files
from jaxlabel.data.dataset import Dataset
from jaxlabel.errors import DataError
from jaxlabel.runlog.workdir import IMAGES, labels_of


def as_begun(dataset: Dataset, spec: str, workdir: Path) -> Dataset:
    """The data set, its training images in the order that they had when the run began.

    Of images that are no files of their own only a digest is kept.

    Raises:
      DataError: they are other images than those; which.
    """
    items = dataset.train_items.tolist()
    there = files.read_json(workdir / IMAGES)
    if there is None:
        kept = {"items": items, "files": list(dataset.paths)} if dataset.paths else {}
        files.write_json(workdir / IMAGES, {"digest": _digest(items), **kept})
        return dataset
    if there["digest"] == _digest(items):
        return dataset
    began = there.get("items", [])
    if Counter(began) == Counter(items):
        places: dict[str, list[int]] = defaultdict(list)
        for place, item in reversed(list(enumerate(items))):
            places[item].append(place)
        order = np.array([places[item].pop() for item in began])
        return dataset._replace(
            train_images=dataset.train_images[order],
            train_items=dataset.train_items[order],
            paths=tuple(dataset.paths[place] for place in order),
        )
    found = ""
    if began and dataset.paths:
        gone = _named(began, there["files"], items, "gone")
        found = f" ({', '.join(filter(None, [gone, _named(items, dataset.paths, began, 'new')]))})"
    raise DataError(
        f"{spec} holds other images than when {workdir} began{found}: make them as they were, or "
        f"begin another --workdir{labels_of(workdir)}"
    )


def _digest(items: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(items).encode(), digest_size=16).hexdigest()


def _named(items: Sequence[str], paths: Sequence[str], others: Sequence[str], fate: str) -> str:
    """How many of the items are not among the others, and the file of the first."""
    left = Counter(others)
    left.subtract(items)
    missing = -sum(count for count in left.values() if count < 0)
    if not missing:
        return ""
    first = next(path for item, path in zip(items, paths, strict=True) if left[item] < 0)
    return f"{missing} {fate}, as {first}"
