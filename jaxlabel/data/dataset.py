"""Types for data sets and their images, settings for reading them, and the known data sets."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt8


class Options(NamedTuple):
    """The settings for reading images. A run has a setting of each name, except `intensity`.

    Attributes:
      data_dir: the folder of data sets prepared for tensorflow-datasets; empty: its default folder.
      image_size: the side in pixels to which images are resized; 0: images keep their size.
      image_mode: the channels: "grey", "rgb", or "auto" (grey only if all images are grey).
      folder_labels: True to use the names of sub-folders as labels.
      skip_unreadable: True to skip pictures that cannot be read in folders, archives, tables and
        shards; False to raise an error.
      intensity: "LOW:HIGH", the two pixel values that become 0 and 255 in pictures with more than 8
        bits; empty: they are measured on the training images. `predict` sets it to the values with
        which the model was trained.
    """

    data_dir: str = ""
    image_size: int = 0
    image_mode: str = "auto"
    folder_labels: bool = False
    skip_unreadable: bool = False
    intensity: str = ""


DEFAULTS = Options()


def options_of(settings: object) -> Options:
    """Return the settings for reading images that another object has as attributes.

    Args:
      settings: the object, such as the configuration of a run.
    """
    names = [name for name in Options._fields if hasattr(settings, name)]
    return Options(**{name: getattr(settings, name) for name in names})


def recorded_options(settings: Mapping[str, Any]) -> Options:
    """Return the settings for reading images in the content of a run's config.json.

    Settings that an earlier version did not record get their default values.
    """
    return Options(**{name: settings[name] for name in Options._fields if name in settings})


class Images(NamedTuple):
    """Images of one shape and their ids.

    Attributes:
      pixels: the images.
      items: the id of each image: a hash of its original pixels.
      notes: messages for the user that say how images were converted.
      intensity: "LOW:HIGH", the two pixel values that became 0 and 255 in pictures with more than 8
        bits; empty if there are none.
    """

    pixels: UInt8[np.ndarray, "n h w c"]
    items: Shaped[np.ndarray, " n"]
    notes: tuple[str, ...] = ()
    intensity: str = ""


class Unread(NamedTuple):
    """An image file that cannot be read.

    Attributes:
      split: "train" or "test".
      file: its path.
      reason: what is wrong with it.
      may_be_good: True if the system could not open or read the file, for example because the right
        to read it is missing. The file itself may be good, so a later start tries again.
    """

    split: str
    file: str
    reason: str
    may_be_good: bool = False


class Source(NamedTuple):
    """The images that a reader of one format (such as `idx` or `folder`) returns, without labels.

    Attributes:
      train: the training images.
      test: the test images; None if there are none.
      classes: the names of the classes by label; empty if unknown.
      paths: the file of each training image; empty unless the images are separate files.
      test_paths: the file of each test image; empty unless the images are separate files.
      notes: messages for the user: which files were found, and which folders were used as splits.
      unread: the image files that were skipped because they cannot be read.
      costs: the price of each training image's label; None if the source states no prices.
    """

    train: Images
    test: Images | None = None
    classes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    test_paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()
    costs: Float[np.ndarray, " n"] | None = None


class Dataset(NamedTuple):
    """The training and test images of a data set, without labels.

    Attributes:
      name: the name in lower case with underscores, such as "fashion_mnist".
      kind: what the images show: "digits", "clothes", "overhead", "objects" or "unknown".
      classes: the names of the classes by label; empty if unknown.
      train_images: the training images.
      train_items: the id of each training image, a hash of its original pixels. Identical images
        share one id. Ids do not change if files are reordered or converted to another format, or if
        the options resize images or turn them grey.
      test_images: the test images; of length 0 if there are none.
      paths: the file of each training image; empty unless the images are separate files.
      test_paths: the file of each test image; empty unless the images are separate files.
      notes: messages for the user: which files were found, which folders were used as splits, and
        how images were converted.
      unread: the image files that were skipped because they cannot be read.
      intensity: "LOW:HIGH", the two pixel values that became 0 and 255 in pictures with more than 8
        bits; empty if there are none.
      costs: the price of each training image's label; None if the data set states no prices.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    train_images: UInt8[np.ndarray, "n h w c"]
    train_items: Shaped[np.ndarray, " n"]
    test_images: UInt8[np.ndarray, "m h w c"]
    paths: tuple[str, ...]
    test_paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()
    intensity: str = ""
    costs: Float[np.ndarray, " n"] | None = None


DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
OVERHEAD = (
    "car", "harbor", "helicopter", "oil_gas_field", "parking_lot",
    "plane", "runway_mark", "ship", "stadium", "storage_tank",
)  # fmt: skip
CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

# The kind and the classes of each well-known data set. Augmentation depends on the kind, because
# a flipped digit may be another digit, while a flipped aerial view keeps its label.
KNOWN_DATASETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "digits": ("digits", DIGITS),
    "mnist": ("digits", DIGITS),
    "fashion_mnist": ("clothes", CLOTHES),
    "overhead_mnist": ("overhead", OVERHEAD),
    "cifar10": ("objects", CIFAR10),
    "kmnist": ("digits", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    "emnist": ("digits", ()),
    "usps": ("digits", DIGITS),
    "svhn_cropped": ("digits", DIGITS),
    "cifar100": ("objects", ()),
    "stl10": ("objects", ()),
    "eurosat": ("overhead", ()),
}
ALIASES = {"fashion": "fashion_mnist", "fashionmnist": "fashion_mnist", "fmnist": "fashion_mnist",
           "cifar_10": "cifar10", "overheadmnist": "overhead_mnist"}  # fmt: skip


def kind_of(name: str) -> str:
    """Return what the images of a data set show, by its name: "mnist" gives "digits".

    An unknown name gives "unknown".
    """
    return KNOWN_DATASETS[name][0] if name in KNOWN_DATASETS else "unknown"


def name_of(prefix: str, location: str) -> str:
    """Return a data set's name: the last part of its location, in lower case with underscores.

    >>> name_of("idx", "data/Fashion-MNIST/")
    'fashion_mnist'
    """
    if prefix == "digits":
        return "digits"
    if prefix == "tfds":
        stem = re.split(r"[:/]", location)[0]
    else:
        stem = Path(location).expanduser().resolve().name
        if prefix in ("npz", "zip", "csv", "parquet", "tar"):
            stem = re.sub(r"(\.tar)?\.(npz|zip|csv|parquet|tar|tgz|gz|bz2|xz)$", "", stem)
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_") or "images"
    return ALIASES.get(name, name)
