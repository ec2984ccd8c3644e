"""Keep the order of a run's training images when the run is continued.

A run refers to an image by its index. The file images.json in the run's directory records the
images of the first start. When the run is continued, files may have been renamed or reordered, but
missing or new images raise an error.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from jaxlabel import files
from jaxlabel.data.dataset import Dataset
from jaxlabel.errors import DataError
from jaxlabel.runlog.workdir import IMAGES, reuse_labels_hint


def in_first_order(dataset: Dataset, spec: str, workdir: Path, *, reorder: bool = True) -> Dataset:
    """Return the data set of a run with its training images in the order of the run's first start.

    At the first start, the function records the ids of the images in the file images.json. If the
    images are not separate files, only a hash of all ids is recorded.

    Args:
      dataset: the images in the order in which they have been read at this start of the run.
      spec: the data set, such as "folder:DIR", for the error message.
      workdir: the run's directory, which holds images.json.
      reorder: False to refuse files in another order, because the caller's labels and indices are
        in the order in which the images have been read.

    Raises:
      DataError: images were added or removed since the first start (the message names the first
        added or removed file), or images have another order and either are no files or `reorder` is
        False.
    """
    items = dataset.train_items.tolist()
    recorded = files.read_json(workdir / IMAGES)
    if recorded is None:
        details = {"items": items, "files": list(dataset.paths)} if dataset.paths else {}
        files.write_json(workdir / IMAGES, {"digest": _hash_ids(items), **details})
        return dataset
    if recorded["digest"] == _hash_ids(items):
        return dataset
    old_items = recorded.get("items", [])
    if (order := order_of(items, old_items)) is not None:
        if not reorder:
            raise DataError(f"{spec} has the images of the run in {workdir} in another order, but "
                            "Python code names images by their position: give the files their "
                            "earlier names and places, or begin another workdir"
                            f"{reuse_labels_hint(workdir)}")  # fmt: skip
        return dataset._replace(
            train_images=dataset.train_images[order],
            train_items=dataset.train_items[order],
            paths=tuple(dataset.paths[index] for index in order),
            costs=None if dataset.costs is None else dataset.costs[order],
        )
    changes = ""
    if old_items and dataset.paths:
        old, now = (old_items, recorded["files"]), (items, dataset.paths)
        gone = _describe_difference(*old, *now, "gone")
        new = _describe_difference(*now, *old, "new")
        changes = f" ({', '.join(filter(None, [gone, new]))})"
    raise DataError(
        f"{spec} holds other images than when {workdir} began{changes}: make them as they were, or "
        f"begin another workdir{reuse_labels_hint(workdir)}"
    )


def order_of(items: Sequence[str], wanted: Sequence[str]) -> Int[np.ndarray, "n"] | None:
    """Return the indices that bring the ids `items` into the order `wanted`.

    Of equal ids, the first comes first. None is returned if `wanted` has other ids, or an id more
    often or less often.
    """
    if list(items) == list(wanted):
        return np.arange(len(items))
    given, asked = np.array(items, str), np.array(wanted, str)
    rows, places = np.argsort(given, kind="stable"), np.argsort(asked, kind="stable")
    if not np.array_equal(given[rows], asked[places]):
        return None
    order = np.empty_like(rows)
    order[places] = rows
    return order


def _hash_ids(items: Sequence[str]) -> str:
    """Return a hash of a list of image ids, which also depends on their order."""
    return hashlib.blake2b("\n".join(items).encode(), digest_size=16).hexdigest()


def _describe_difference(
    items: Sequence[str],
    paths: Sequence[str],
    others: Sequence[str],
    other_paths: Sequence[str],
    fate: str,
) -> str:
    """Describe in a text which images of one list are missing from another: "2 gone, as a.png".

    Args:
      items: the ids of the first list's images; an id may occur several times.
      paths: the file of each image in `items`.
      others: the ids of the second list's images.
      other_paths: the file of each image in `others`.
      fate: the word that follows the number in the text: "gone" or "new".

    Returns:
      The text, with the number of images in `items` that are not in `others`, and the file of the
      first such image; an empty string if there is no such image. Of the files of equal images, one
      that the second list does not have is named.
    """
    surplus = Counter(others)
    surplus.subtract(items)
    missing = -sum(count for count in surplus.values() if count < 0)
    if not missing:
        return ""
    found = [path for item, path in zip(items, paths, strict=True) if surplus[item] < 0]
    known = set(other_paths)
    return f"{missing} {fate}, as {next((path for path in found if path not in known), found[0])}"
