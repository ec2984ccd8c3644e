"""Load data sets as arrays of images without labels: `load(spec) -> Dataset`.

A spec is a string that names a data set: `digits`, `idx:DIR`, `npz:FILE`, `folder:DIR` or
`tfds:NAME`. During a run, only `jaxlabel.data.importing` reads training labels, in a separate
process. Outside of the training code, `jaxlabel.data.info` and the final evaluation read them too.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from jaxlabel.data import digits, folder, idx, npz, tfds
from jaxlabel.data.dataset import (
    DEFAULTS,
    KNOWN_DATASETS,
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

SOURCES = {"digits": digits, "idx": idx, "npz": npz, "folder": folder, "tfds": tfds}
SPEC_SYNTAX = "digits, idx:DIR, npz:FILE, folder:DIR or tfds:NAME"


def load(spec: str, options: Options = DEFAULTS) -> Dataset:
    """Load the images of a data set, without its labels.

    Labels that are stored in separate files or arrays are not opened. Labels that are stored
    together with the images are discarded immediately.

    Args:
      spec: the data set, as `digits`, `idx:DIR`, `npz:FILE`, `folder:DIR` or `tfds:NAME`.
      options: how the images are read.

    Raises:
      DataError: the spec is unknown, or files are missing, corrupt, or inconsistent.
    """
    return dataset_of(spec, read(spec, options), options)


def load_test_labels(spec: str, options: Options = DEFAULTS) -> Int[np.ndarray, " m"]:
    """Return the labels of the test images, in the order of the images.

    The evaluator calls this once, after the run.

    Raises:
      DataError: the data set cannot be read, or it has no valid test labels.
    """
    return _labels(spec, options, "test")


def load_train_labels(spec: str, options: Options = DEFAULTS) -> Int[np.ndarray, " n"]:
    """Return the labels of the training images, in the order of the images.

    Training code must not call this: it buys labels from a `jaxlabel.oracle.Oracle`.

    Raises:
      DataError: the data set cannot be read, or it has no valid training labels.
    """
    return _labels(spec, options, "train")


def has_labels(spec: str, options: Options = DEFAULTS) -> bool:
    """Return True if the data source contains training labels, without reading any label."""
    prefix, location = split_spec(spec)
    return SOURCES[prefix].has_labels(location, options)


def read(spec: str, options: Options) -> Source:
    """Read a data set's images from its files, without setting its name or unifying channels."""
    prefix, location = split_spec(spec)
    return SOURCES[prefix].read(location, options)


def dataset_of(spec: str, source: Source, options: Options) -> Dataset:
    """Make a `Dataset` from the images read, all converted to one number of channels.

    Raises:
      DataError: training and test images differ in size.
    """
    prefix, location = split_spec(spec)
    name = name_of(prefix, location)
    # A folder may be named like a known data set and still have other classes as sub-folders.
    known = KNOWN_DATASETS[name][1] if name in KNOWN_DATASETS and prefix != "folder" else ()
    classes, items = source.classes or known, source.train.items
    train, test = _same_shape(spec, source.train, source.test, options.image_mode)
    return Dataset(name, kind_of(name), classes, train, items, test, source.paths)


def split_spec(spec: str) -> tuple[str, str]:
    """Split a spec into its prefix and its location: `idx:data/mnist` -> ("idx", "data/mnist").

    Raises:
      DataError: the prefix is unknown (the message suggests a similar one), or the location is
        missing, or a location is given for `digits`, which has none.
    """
    prefix, colon, location = spec.partition(":")
    if prefix not in SOURCES:
        hint = did_you_mean(prefix, SOURCES)
        if spec and not hint and Path(spec).expanduser().exists():
            hint = f" (did you mean {_guess_prefix(Path(spec).expanduser())}:{spec}?)"
        raise DataError(f"unknown data set {spec!r}{hint}: write {SPEC_SYNTAX}")
    if (prefix == "digits") == bool(location) or (prefix == "digits" and colon):
        fault = "takes no location" if prefix == "digits" else "lacks a location"
        raise DataError(f"data set {spec!r} {fault}: write {SPEC_SYNTAX}")
    return prefix, location


def _guess_prefix(path: Path) -> str:
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
                        "set image_size to resize them to one size")  # fmt: skip
    channels = {"grey": 1, "rgb": 3}.get(mode, max(images.shape[-1] for images in both))
    converted = [with_channels(images, channels) for images in both]
    empty = np.empty((0, *converted[0].shape[1:]), np.uint8)
    return converted[0], converted[1] if len(converted) > 1 else empty


def _labels(spec: str, options: Options, split: str) -> np.ndarray:
    prefix, location = split_spec(spec)
    labels = SOURCES[prefix].labels(location, options, split)
    if not len(labels):
        raise DataError(f"{spec} has no {split} labels")
    name = name_of(prefix, location) if prefix in ("idx", "npz") else ""
    classes = KNOWN_DATASETS.get(name, ("", ()))[1]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes and high >= len(classes)):
        valid = f"0 to {len(classes) - 1}" if classes else "0 upwards"
        raise DataError(f"{spec} has {split} labels from {low} to {high}: valid are {valid}")
    return labels.astype(np.int64)
