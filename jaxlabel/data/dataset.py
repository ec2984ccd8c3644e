"""What a data source gives: the options it is read with, its images, and the data sets we know."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8


class Options(NamedTuple):
    """How images are read; every field is a setting of the run with the same name."""

    data_dir: str = ""
    image_size: int = 0
    image_mode: str = "auto"
    folder_labels: bool = False
    skip_unreadable: bool = False


DEFAULTS = Options()


class Images(NamedTuple):
    """Images of one shape, and the id of each: the content hash of its original pixels."""

    pixels: UInt8[np.ndarray, "n h w c"]
    items: Shaped[np.ndarray, " n"]


class Source(NamedTuple):
    """What a source's reader returns: no labels."""

    train: Images
    test: Images | None = None
    classes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class Dataset(NamedTuple):
    """Images to train and to test on, without a label.

    `train_items` are content hashes: identical images share one, and they stay the same when the
    files are reordered, converted to another format, resized or turned grey by the options.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    train_images: UInt8[np.ndarray, "n h w c"]
    train_items: Shaped[np.ndarray, " n"]
    test_images: UInt8[np.ndarray, "m h w c"]
    paths: tuple[str, ...]


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

# By kind, augmentation knows what keeps a label: a digit must not be flipped, an aerial view may.
KNOWN: dict[str, tuple[str, tuple[str, ...]]] = {
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
    """What its images are of, as `Dataset.kind`, by the data set's name."""
    return KNOWN[name][0] if name in KNOWN else "unknown"


def name_of(prefix: str, location: str) -> str:
    """The data set's name: the last part of its place, in lower case with underscores.

    >>> name_of("idx", "data/Fashion-MNIST/")
    'fashion_mnist'
    """
    if prefix == "digits":
        return "digits"
    if prefix == "tfds":
        last = re.split(r"[:/]", location)[0]
    else:
        last = Path(location).expanduser().resolve().name
        last = last.removesuffix(".npz") if prefix == "npz" else last
    name = re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_") or "images"
    return ALIASES.get(name, name)
