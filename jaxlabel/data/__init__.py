"""Load data sets as arrays of images without labels: `load(spec) -> Dataset`.

A spec is a string that names a data set, such as `digits`, `idx:DIR`, `folder:DIR` or `tfds:NAME`.
During a run, only `jaxlabel.data.importing` reads training labels, in a separate process. Outside
of the training code, `jaxlabel.data.info` and the final evaluation read them too.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxlabel.data import archived, arrays, digits, folder, idx, npz, tables, tfds
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
from jaxlabel.errors import DataError, NoLabels, SizesDiffer, did_you_mean

__all__ = [
    "Dataset",
    "Options",
    "has_labels",
    "label_names",
    "load",
    "load_test_labels",
    "load_train_labels",
]

SOURCES: dict[str, Any] = {
    "digits": digits, "idx": idx, "npz": npz, "folder": folder, "tfds": tfds, "array": arrays,
    "zip": archived.ZIP, "tar": archived.TAR, "webdataset": archived.WEBDATASET,
    "csv": tables.CSV, "parquet": tables.PARQUET, "hf": tables.HUB,
}  # fmt: skip
SPEC_SYNTAX = (
    "digits, idx:DIR, npz:FILE, folder:DIR, zip:FILE, tar:FILE, csv:FILE, parquet:FILE, "
    "webdataset:PATTERN, hf:NAME_OR_DIR or tfds:NAME"
)


def load(spec: str, options: Options = DEFAULTS) -> Dataset:
    """Load the images of a data set, without its labels.

    Labels that are stored in separate files or arrays are not opened. Labels that are stored
    together with the images are discarded immediately.

    Args:
      spec: the data set, as `digits`, `idx:DIR`, `npz:FILE`, `folder:DIR` or `tfds:NAME`.
      options: the settings for reading images, such as their size.

    Raises:
      DataError: the spec is unknown, or files are missing, corrupt, or inconsistent.
    """
    return dataset_of(spec, read(spec, options), options)


def load_test_labels(spec: str, options: Options = DEFAULTS) -> Int[np.ndarray, " m"]:
    """Return the labels of a data set's test images, in the order of the images.

    The final evaluation calls this once, after the training.

    Args:
      spec: the data set, such as `folder:DIR`.
      options: the settings for reading images.

    Raises:
      NoLabels: no test image has a label.
      DataError: the data set cannot be read, or some of its test labels are missing or not valid.
    """
    return _labels(spec, options, "test")


def load_train_labels(spec: str, options: Options = DEFAULTS) -> Int[np.ndarray, " n"]:
    """Return the labels of a data set's training images, in the order of the images.

    Training code must not call this. It buys labels from an oracle, the object that sells labels
    and keeps the budget (`jaxlabel.oracle.Oracle`).

    Args:
      spec: the data set, such as `folder:DIR`.
      options: the settings for reading images.

    Raises:
      DataError: the data set cannot be read, or it has no valid training labels.
    """
    return _labels(spec, options, "train")


def label_names(spec: str, options: Options = DEFAULTS) -> tuple[str, ...]:
    """Return the class names of a data set, so that the name of label i is element i.

    If the source of the data has only class numbers, the name of a class is its number as text.
    Classes without an image are left out: the numbers 3, 70 and 900 give the names "3", "70" and
    "900", for the labels 0, 1 and 2. Numbers that only test images have come last. The function
    reads the labels.

    Args:
      spec: the data set, such as `folder:DIR`.
      options: the settings for reading images.

    Raises:
      DataError: the data set cannot be read, or it has no valid training labels.
    """
    prefix, location = split_spec(spec)
    if prefix == "digits":
        return digits.DIGITS
    if hasattr(SOURCES[prefix], "class_names"):
        return SOURCES[prefix].class_names(location, options)
    if names := _known_classes(spec):
        return names
    train = np.unique(_raw_labels(spec, options, "train"))
    try:
        test = np.unique(_raw_labels(spec, options, "test"))
    except DataError:
        test = train[:0]
    return tuple(map(str, [*train.tolist(), *np.setdiff1d(test, train).tolist()]))


def has_labels(spec: str, options: Options = DEFAULTS) -> bool:
    """Return True if a data set contains training labels, without reading any label.

    Args:
      spec: the data set, such as `folder:DIR`.
      options: the settings for reading images.
    """
    prefix, location = split_spec(spec)
    return SOURCES[prefix].has_labels(location, options)


def read(spec: str, options: Options) -> Source:
    """Read a data set's images from its files.

    Training and test images may still differ in their number of channels; `dataset_of` changes
    that.

    Args:
      spec: the data set, such as `folder:DIR`.
      options: the settings for reading images.
    """
    prefix, location = split_spec(spec)
    return SOURCES[prefix].read(location, options)


def dataset_of(spec: str, source: Source, options: Options) -> Dataset:
    """Make a `Dataset` from the images that `read` returned.

    All training and test images are converted to one number of channels.

    Args:
      spec: the data set, such as `folder:DIR`; it gives the name of the data set.
      source: the images that `read` returned.
      options: the settings for reading images.

    Raises:
      DataError: training and test images differ in size.
    """
    prefix, location = split_spec(spec)
    name = name_of(prefix, location)
    # A folder may be named like a known data set and still have other classes as sub-folders.
    known = KNOWN_DATASETS[name][1] if name in KNOWN_DATASETS and prefix != "folder" else ()
    classes, items = source.classes or known, source.train.items
    train, test = _same_shape(spec, source.train, source.test, options.image_mode)
    converted = source.train.notes + (source.test.notes if source.test else ())
    notes = (*source.notes, *identical_lines(items), *dict.fromkeys(converted))
    return Dataset(
        name, kind_of(name), classes, train, items, test, source.paths, source.test_paths, notes,
        source.unread, source.train.intensity, source.costs,
    )  # fmt: skip


def identical_lines(items: np.ndarray) -> list[str]:
    """Return a list with a message for the user if some training images are identical, else [].

    Args:
      items: the ids of the training images; identical images have the same id.
    """
    distinct = len(set(items.tolist()))
    if distinct == len(items):
        return []
    hint = "" if 2 * distinct > len(items) else ": are these the pictures that you meant?"
    return [f"{len(items):,} pictures, {distinct:,} distinct: identical pictures share one label"
            f"{hint}"]  # fmt: skip


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


def spec_of(text: str) -> str:
    """Return the spec that a user's text stands for: a bare path stands for `folder:PATH`.

    The path of an archive or of a table stands for `zip:PATH`, `csv:PATH` and so on. A text is
    returned unchanged if it begins with a prefix such as "folder:", or if it is no path that exists
    and begins with a misspelt prefix.
    """
    prefix, path = text.partition(":")[0], Path(text).expanduser()
    if prefix in SOURCES or not text:
        return text
    if path.is_file():
        return f"{_guess_prefix(path)}:{text}"
    is_misspelt = did_you_mean(prefix, SOURCES) and not path.exists()
    return text if is_misspelt else f"folder:{text}"


def _guess_prefix(path: Path) -> str:
    if path.is_file():
        endings = {".zip": "zip", ".tar": "tar", ".tgz": "tar", ".csv": "csv",
                   ".parquet": "parquet", ".npz": "npz", ".npy": "npz"}  # fmt: skip
        prefix = "tar" if ".tar." in path.name else endings.get(path.suffix.lower())
        if prefix is None:
            raise DataError(f"jaxlabel cannot tell what kind of file {path} is: name the folder it "
                            "is in, or write the kind, such as csv:FILE or npz:FILE")  # fmt: skip
        return prefix
    return "idx" if any("ubyte" in child.name for child in path.iterdir()) else "folder"


def _same_shape(
    spec: str, train: Images, test: Images | None, mode: str
) -> tuple[np.ndarray, np.ndarray]:
    # the copy does not keep the training images in memory, as a view of them would
    pixels, test_pixels = train.pixels, train.pixels[:0].copy() if test is None else test.pixels
    (h, w), (test_h, test_w) = pixels.shape[1:3], test_pixels.shape[1:3]
    if (h, w) != (test_h, test_w):
        raise SizesDiffer(f"{spec}: training images are {w}x{h}, test images {test_w}x{test_h}: "
                        "set image_size to resize them to one size")  # fmt: skip
    channels = {"grey": 1, "rgb": 3}.get(mode, max(pixels.shape[-1], test_pixels.shape[-1]))
    return with_channels(pixels, channels), with_channels(test_pixels, channels)


def _labels(spec: str, options: Options, split: str) -> np.ndarray:
    """Return the labels of a split as indices of the names that `label_names` returns.

    Args:
      spec: the data set, such as `folder:DIR`.
      options: the settings for reading images.
      split: "train" or "test".
    """
    raw = _raw_labels(spec, options, split)
    if _known_classes(spec) or spec.partition(":")[0] not in ("idx", "npz"):
        return raw.astype(np.int64)
    numbers = np.unique(raw if split == "train" else _raw_labels(spec, options, "train"))
    labels = np.searchsorted(numbers, raw)
    if split == "train":
        return labels
    known = numbers[np.minimum(labels, len(numbers) - 1)] == raw
    only_test = np.unique(raw[~known])
    return np.where(known, labels, len(numbers) + np.searchsorted(only_test, raw))


def _known_classes(spec: str) -> tuple[str, ...]:
    """Return the class names of a well-known data set such as MNIST, or () if `spec` names none.

    Only data sets in IDX or NPZ files have names in this table; all others give ().
    """
    prefix, location = split_spec(spec)
    name = name_of(prefix, location) if prefix in ("idx", "npz") else ""
    return KNOWN_DATASETS.get(name, ("", ()))[1]


def _raw_labels(spec: str, options: Options, split: str) -> np.ndarray:
    """Return the labels of the split "train" or "test" as the numbers that the data's files have.

    Raises:
      DataError: there are no labels, or a number is negative or too large for a well-known data
        set.
    """
    prefix, location = split_spec(spec)
    labels = SOURCES[prefix].labels(location, options, split)
    if (labels == -1).all():  # -1 stands for no label; also true if there are no images
        raise NoLabels(f"{spec} has no {split} labels")
    classes = _known_classes(spec)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes and high >= len(classes)):
        valid = f"0 to {len(classes) - 1}" if classes else "0 upwards"
        raise DataError(f"{spec} has {split} labels from {low} to {high}: valid are {valid}")
    return labels
