"""Keep the order of a run's training images when the run is started again.

A run refers to an image by its index. WORKDIR/images.json records the images of the first start.
Renamed files then change nothing, and missing or new images raise an error.
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


def in_first_order(dataset: Dataset, spec: str, workdir: Path) -> Dataset:
    """Return the data set with its training images in the order of the run's first start.

    The first start records the images in WORKDIR/images.json. If the images are not files of their
    own, only a digest of their ids is recorded.

    Args:
      dataset: the images as they are read now.
      spec: the data set's specification, for the error message.
      workdir: the run's directory.

    Raises:
      DataError: images were added or removed since the first start; the message names the first.
    """
    items = dataset.train_items.tolist()
    recorded = files.read_json(workdir / IMAGES)
    if recorded is None:
        details = {"items": items, "files": list(dataset.paths)} if dataset.paths else {}
        files.write_json(workdir / IMAGES, {"digest": _digest(items), **details})
        return dataset
    if recorded["digest"] == _digest(items):
        return dataset
    old_items = recorded.get("items", [])
    if Counter(old_items) == Counter(items):
        indices: dict[str, list[int]] = defaultdict(list)
        for index, item in reversed(list(enumerate(items))):
            indices[item].append(index)
        order = np.array([indices[item].pop() for item in old_items])
        return dataset._replace(
            train_images=dataset.train_images[order],
            train_items=dataset.train_items[order],
            paths=tuple(dataset.paths[index] for index in order),
        )
    changes = ""
    if old_items and dataset.paths:
        gone = _change(old_items, recorded["files"], items, "gone")
        new = _change(items, dataset.paths, old_items, "new")
        changes = f" ({', '.join(filter(None, [gone, new]))})"
    raise DataError(
        f"{spec} holds other images than when {workdir} began{changes}: make them as they were, or "
        f"begin another --workdir{labels_of(workdir)}"
    )


def _digest(items: Sequence[str]) -> str:
    """Return a hash of a list of image ids, in their order."""
    return hashlib.blake2b("\n".join(items).encode(), digest_size=16).hexdigest()


def _change(items: Sequence[str], paths: Sequence[str], others: Sequence[str], fate: str) -> str:
    """Return a text such as "2 gone, as a.png" on the items that are not in `others`.

    Args:
      items: ids of images; an id may occur several times.
      paths: the file of each item.
      others: ids to compare with.
      fate: the word behind the number: "gone" or "new".

    Returns:
      The number of such items and the file of the first one; "" if there are none.
    """
    surplus = Counter(others)
    surplus.subtract(items)
    missing = -sum(count for count in surplus.values() if count < 0)
    if not missing:
        return ""
    first = next(path for item, path in zip(items, paths, strict=True) if surplus[item] < 0)
    return f"{missing} {fate}, as {first}"
