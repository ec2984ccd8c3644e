"""Data sets from files to arrays of images: `load(spec) -> Dataset`, with no labels in it.

A spec is `digits`, `idx:DIR`, `npz:FILE`, `folder:DIR` or `tfds:NAME`. Training labels are
read only by `importing`, in a process of its own, and by `info`.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from jaxlabel.data import arrays, digits, folder, idx, npz, tfds
from jaxlabel.data.dataset import (
    DEFAULTS,
    KNOWN,
    Dataset,
    Images,
    Options,
    Source,
    kind_of,
    name_of,
)
from jaxlabel.data.images import with_channels
from jaxlabel.errors import DataError, did_you_mean

__all__ = ["Dataset", "Options", "has_labels", "load", "load_test_labels", "load_train_labels"]

SOURCES = {
    "digits": digits, "idx": idx, "npz": npz, "folder": folder, "tfds": tfds, "array": arrays
}  # fmt: skip
SPECS = "digits, idx:DIR, npz:FILE, folder:DIR or tfds:NAME"


def load(spec: str, options: Options = DEFAULTS) -> Dataset:
    """The data set that a spec names, without its labels.

    Where labels are stored apart they are not opened; where they are not, they are dropped at once.

    Raises:
      DataError: an unknown spec, or files that are missing, corrupt or do not fit together.
    """
    return dataset_of(spec, read(spec, options), options)


def load_test_labels(spec: str, options: Options = DEFAULTS) -> Int[np.ndarray, " m"]:
    """The labels of the test images, in their order: for the evaluator, once, after the run.

    Raises:
      DataError: as `load`, or there are no test labels.
    """
    return _labels(spec, options, "test")


def load_train_labels(spec: str, options: Options = DEFAULTS) -> Int[np.ndarray, " n"]:
    """The labels of the training images, in their order: for `importing`, `info` and the evaluator.

    Raises:
      DataError: as `load`, or there are no training labels.
    """
    return _labels(spec, options, "train")


def has_labels(spec: str, options: Options = DEFAULTS) -> bool:
    """Whether the source brings labels of its own for its training images; opens none of them."""
    prefix, location = split_spec(spec)
    return SOURCES[prefix].has_labels(location, options)


def read(spec: str, options: Options) -> Source:
    """What the spec's source reads: `load` before names and channels are settled."""
    prefix, location = split_spec(spec)
    return SOURCES[prefix].read(location, options)


def dataset_of(spec: str, source: Source, options: Options) -> Dataset:
    """The data set that a source's images make: all with the same number of channels.

    Raises:
      DataError: training and test images differ in size.
    """
    prefix, location = split_spec(spec)
    name = name_of(prefix, location)
    # what a folder is called says little about its sub-folders
    known = KNOWN[name][1] if name in KNOWN and prefix != "folder" else ()
    classes, items = source.classes or known, source.train.items
    train, test = _same_shape(spec, source.train, source.test, options.image_mode)
    return Dataset(name, kind_of(name), classes, train, items, test, source.paths)


def split_spec(spec: str) -> tuple[str, str]:
    """The source's prefix and the place: `idx:data/mnist` -> ("idx", "data/mnist").

    Raises:
      DataError: no such source; a near one is named.
    """
    prefix, colon, location = spec.partition(":")
    if prefix not in SOURCES:
        hint = did_you_mean(prefix, SOURCES)
        if spec and not hint and Path(spec).expanduser().exists():
            hint = f" (did you mean {_guess(Path(spec).expanduser())}:{spec}?)"
        raise DataError(f"data {spec!r} names no source{hint}: it is {SPECS}")
    if (prefix == "digits") == bool(location) or (prefix == "digits" and colon):
        fault = "takes no place" if prefix == "digits" else "lacks its place"
        raise DataError(f"data {spec!r} {fault}: it is {SPECS}")
    return prefix, location


def _guess(path: Path) -> str:
    if path.is_file():
        return "npz"
    return "idx" if any("ubyte" in child.name for child in path.iterdir()) else "folder"


def _same_shape(
    spec: str, train: Images, test: Images | None, mode: str
) -> tuple[np.ndarray, np.ndarray]:
    both = [train.pixels] if test is None else [train.pixels, test.pixels]
    shapes = [images.shape[1:3] for images in both]
    if shapes[0] != shapes[-1]:
        (h, w), (test_h, test_w) = shapes
        raise DataError(f"{spec}: training images are {w}x{h}, test images {test_w}x{test_h}: "
                        "set image_size to bring them to one")  # fmt: skip
    channels = {"grey": 1, "rgb": 3}.get(mode, max(images.shape[-1] for images in both))
    converted = [with_channels(images, channels) for images in both]
    empty = np.empty((0, *converted[0].shape[1:]), np.uint8)
    return converted[0], converted[1] if len(converted) > 1 else empty


def _labels(spec: str, options: Options, split: str) -> np.ndarray:
    prefix, location = split_spec(spec)
    labels = SOURCES[prefix].labels(location, options, split)
    if not len(labels):
        raise DataError(f"{spec} has no {split} labels")
    classes = KNOWN.get(name_of(prefix, location), ("", ()))[1] if prefix in ("idx", "npz") else ()
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes and high >= len(classes)):
        fits = f"0 to {len(classes) - 1}" if classes else "0 upwards"
        raise DataError(f"{spec} has {split} labels from {low} to {high}: they go from {fits}")
    return labels.astype(np.int64)
