"""Reader of folders of image files, of any image size and colour mode."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from jaxlabel.data import images as image_module
from jaxlabel.data.dataset import Images, Options, Source, Unread
from jaxlabel.data.decoded import Decoded, decoded
from jaxlabel.data.decoding import (
    decoding_threads,
    file_may_be_good,
    log_unread,
    printable,
    read_picture,
    why_unreadable,
)
from jaxlabel.data.listing import Listing, list_images
from jaxlabel.errors import DataError, NoLabels
from jaxlabel.oracle import names


def read(location: str, options: Options) -> Source:
    """Read the images below a folder, sorted by file name.

    Sub-folders called train, val and test are splits if no sub-folder has another name. The names
    of other sub-folders are used only if `options.folder_labels` is set, and then only to name the
    classes.

    Args:
      location: the folder.
      options: the settings for reading images.

    Raises:
      DataError: the folder does not exist or has no images, an image or a sub-folder cannot be
        read, or images differ in size.
    """
    found = list_images(location)
    unread = _unreadable_folders(found, options)
    files, images = _decode(location, found, "train", options, unread)
    options = options._replace(intensity=images.intensity or options.intensity)
    test_files: list[str] = []
    test_images: Images | None = None
    if found.test:
        test_files, test_images = _decode(location, found, "test", options, unread)
    classes: tuple[str, ...] = ()
    notes = found.notes
    if options.folder_labels:
        classes, alike = _class_names(found)
        notes += alike
    if unread:
        notes += (f"{len(unread):,} files or folders cannot be read and are left out",)
    return Source(
        images, test_images, classes, _paths(found, files), _paths(found, test_files), notes,
        tuple(unread),
    )  # fmt: skip


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """Return the labels of the split "train" or "test" of a folder, in the order of the images.

    A label is the index of the image's sub-folder in the sorted names of all sub-folders.

    Args:
      location: the folder.
      options: the settings for reading images.
      split: "train" or "test".

    Raises:
      NoLabels: `options.folder_labels` is not set, or no test image lies in the folder of a class.
      DataError: the folder cannot be read, or an image lies in no sub-folder.
    """
    if not options.folder_labels:
        raise NoLabels(f"folder:{location} has no labels: set folder_labels to use the names "
                        "of the sub-folders as labels")  # fmt: skip
    found = list_images(location)
    positions = {name: index for index, name in enumerate(_class_names(found)[0])}
    files = found.train if split == "train" else found.test
    if split == "test" and not _has_test_classes(found):
        raise NoLabels(f"folder:{location} has no test labels: no test image lies in a folder "
                       "named after its class")  # fmt: skip
    if options.skip_unreadable and files:
        # `read` skips unreadable files, so their labels must be skipped too.
        files = _decode(location, found, split, options, [])[0]
    return np.array([positions[_class_name(found, file)] for file in files], np.int64)


def class_names(location: str, options: Options) -> tuple[str, ...]:
    """Return the class names of a folder of images: the sorted names of its sub-folders."""
    return _class_names(list_images(location))[0]


def has_labels(location: str, options: Options) -> bool:
    """Return True if the setting `folder_labels` is on: names of sub-folders are then labels."""
    return options.folder_labels


def _paths(found: Listing, files: list[str]) -> tuple[str, ...]:
    return tuple(printable(found.root / file) for file in files)


def _unreadable_folders(found: Listing, options: Options) -> list[Unread]:
    """Return the sub-folders that cannot be read, if `options.skip_unreadable` is set.

    Raises:
      DataError: a sub-folder cannot be read, and `options.skip_unreadable` is not set.
    """
    if found.unread and not options.skip_unreadable:
        folder, reason = found.unread[0]
        raise DataError(f"{printable(folder)} cannot be read ({reason}): give yourself the right "
                        "to enter it, or set skip_unreadable to skip it")  # fmt: skip
    for folder, reason in found.unread:
        logging.getLogger("jaxlabel").warning("skipped %s: %s", printable(folder), reason)
    return [Unread("train", printable(folder), reason) for folder, reason in found.unread]


def _class_names(found: Listing) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sorted class names, and messages about names that may not be what was meant.

    Raises:
      DataError: an image lies in no sub-folder, or two sub-folders have names that look the same.
    """
    labelled = [*found.train, *(found.test if _has_test_classes(found) else ())]
    classes = sorted({_class_name(found, file) for file in labelled})
    seen: dict[str, str] = {}
    for name in classes:
        if (other := seen.setdefault(names.clean(name), name)) != name:
            raise DataError(f"the sub-folders {other!r} and {name!r} of {printable(found.root)} "
                            "look the same, but their names are stored differently: put their "
                            "pictures into one of them")  # fmt: skip
    return tuple(classes), names.class_notes(classes)


def _has_test_classes(found: Listing) -> bool:
    """Return True if a test image lies in a folder of a class, such as "test/cat/1.png".

    If none does, the test images have no labels, whatever the training images have.
    """
    return any(len(_parts_below_split(found, file)) > 1 for file in found.test)


def _parts_below_split(found: Listing, file: str) -> list[str]:
    """Return the parts of a path below the folder of its split: ["cat", "1.png"]."""
    parts = file.split("/")
    return parts[1:] if parts[0] in found.splits and len(parts) > 1 else parts


def _class_name(found: Listing, file: str) -> str:
    """Return the class of an image: the name of the first sub-folder in its path.

    The folder of a split does not count: "train/cat/1.png" gives "cat".
    """
    parts = _parts_below_split(found, file)
    if len(parts) < 2:
        raise DataError(f"{printable(found.root / file)} lies in no sub-folder: with "
                        "folder_labels, every image must be in a folder named after its class"
                        )  # fmt: skip
    return printable(parts[0])


def _decode(
    location: str, found: Listing, split: str, options: Options, unread: list[Unread]
) -> tuple[list[str], Images]:
    """Decode the image files of a split, or read what an earlier start has decoded.

    Args:
      location: the folder, for error messages.
      found: the list of its image files.
      split: "train" or "test".
      options: the settings for reading images.
      unread: a list to which the function appends each file that cannot be read.

    Returns:
      The files that could be read, and their images.
    """
    files = found.train if split == "train" else found.test
    kept, images, failed = decoded(
        found.root, files, options, lambda: _decode_all(location, found, split, options)
    )
    log_unread(failed)
    unread += failed
    return kept, images


def _decode_all(location: str, found: Listing, split: str, options: Options) -> Decoded:
    """Decode the image files of a split in parallel; the arguments are those of `_decode`."""
    files = found.train if split == "train" else found.test
    kept: list[str] = []
    failed: list[Unread] = []

    def readable(singles: Iterable[Images | Unread]) -> Iterator[tuple[str, Images]]:
        for file, image in zip(files, singles, strict=True):
            if isinstance(image, Unread):
                failed.append(image)
            else:
                kept.append(file)
                yield printable(found.root / file), image
        if not kept:
            raise DataError(f"folder:{location}: none of its {len(files)} images can be read")

    with decoding_threads() as pool:
        singles = pool.map(lambda file: _decode_one(found.root / file, split, options), files)
        images = image_module.merge(readable(singles), options.intensity)
    return kept, images, failed


def _decode_one(file: Path, split: str, options: Options) -> Images | Unread:
    """Return the image in a file, or a record that says why the file cannot be read.

    Raises:
      DataError: the file cannot be read, and `options.skip_unreadable` is not set.
    """
    try:
        picture = read_picture(file)
        single = image_module.single_image(picture.pixels, options)
    except Exception as error:  # Pillow raises many types of exceptions for a broken file.
        if not options.skip_unreadable:
            raise DataError(f"{printable(file)} cannot be read ({why_unreadable(error)}): remove "
                            "it, or set skip_unreadable to skip such files") from error  # fmt: skip
        return Unread(split, printable(file), why_unreadable(error), file_may_be_good(error))
    return single._replace(notes=picture.notes) if picture.notes else single


def file_of(path: str) -> Path | None:
    """Return the file that `Dataset.paths` names by a printable path; None if there is none.

    Args:
      path: the path, in which bytes that are not valid UTF-8 are escapes such as "\\xe9".
    """
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda code: bytes.fromhex(code[1].decode()), path.encode())
    # os.path.isfile is False, and raises no error, for a path that is too long with its escapes.
    found = [name for name in (path, os.fsdecode(raw)) if os.path.isfile(name)]
    return Path(found[0]) if found else None
