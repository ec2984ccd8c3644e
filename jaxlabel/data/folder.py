"""A folder of image files, of any size and mode."""

import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxlabel.data import images as pictures
from jaxlabel.data.dataset import Images, Options, Source
from jaxlabel.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif",
           ".ppm", ".pgm", ".pbm", ".pnm")  # fmt: skip


def read(location: str, options: Options) -> Source:
    """The images of DIR/train and DIR/test, or all below DIR when it has no train/.

    Their order is that of the sorted file names. Only with `options.folder_labels` are sub-folder
    names looked at, and then only for the classes' names.

    Raises:
      DataError: no such folder, no images, one that cannot be read, or sizes that differ.
    """
    train, test = _files(location)
    paths, images = _decode(location, train, options)
    test_images = _decode(location, test, options)[1] if test else None
    classes = _classes(location, train, test) if options.folder_labels else ()
    return Source(images, test_images, classes, tuple(map(_text, paths)))


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """The labels of "train" or "test": the place of the sub-folder's name among all of them.

    Raises:
      DataError: as `read`; labels were not asked for, or an image lies in no sub-folder.
    """
    if not options.folder_labels:
        raise DataError(f"folder:{location} has no labels: set folder_labels to take the names "
                        "of the sub-folders")  # fmt: skip
    train, test = _files(location)
    classes = _classes(location, train, test)
    files = train if split == "train" else test
    if options.skip_unreadable and files:  # what read leaves out has no label either
        files = _decode(location, files, options)[0]
    return np.array([classes.index(_class(location, path)) for path in files], np.int64)


def has_labels(location: str, options: Options) -> bool:
    """Whether the sub-folders' names are to be taken as labels."""
    return options.folder_labels


def _files(location: str) -> tuple[list[Path], list[Path]]:
    root = Path(location).expanduser()
    if not root.is_dir():
        raise DataError(f"folder:{location}: there is no such folder")
    test = sorted(_images_below(root / "test", root))
    if (root / "train").is_dir():
        train = sorted(_images_below(root / "train", root))
    else:
        train = sorted(set(_images_below(root, root)) - set(test))
    if not train:
        place = f"{location}/train" if (root / "train").is_dir() else location
        raise DataError(f"folder:{place} holds no images: no file ends in "
                        f"{', '.join(ENDINGS)}")  # fmt: skip
    return [root / file for file in train], [root / file for file in test]


def _images_below(folder: Path, root: Path) -> Iterator[str]:
    """The image files below a folder, hidden ones left out, as paths from the root."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [f for f in folders if not _hidden(f)]
        if real not in seen:
            yield from (
                (Path(place) / file).relative_to(root).as_posix()
                for file in files
                if not _hidden(file) and file.lower().endswith(ENDINGS)
            )
        seen.add(real)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _classes(location: str, train: list[Path], test: list[Path]) -> tuple[str, ...]:
    return tuple(sorted({_class(location, path) for path in [*train, *test]}))


def _class(location: str, path: Path) -> str:
    """The name of the sub-folder that an image lies in, below train/ or test/ if there is one."""
    root = Path(location).expanduser()
    parts = path.relative_to(root).parts
    if parts[0] == "test" or (parts[0] == "train" and (root / "train").is_dir()):
        parts = parts[1:]
    if len(parts) < 2:
        raise DataError(f"{_text(path)} lies in no sub-folder: with folder_labels every image is "
                        "in a folder named after its class")  # fmt: skip
    return _text(parts[0])


def _decode(location: str, files: list[Path], options: Options) -> tuple[list[Path], Images]:
    """The files that could be read, and their images."""
    kept: list[Path] = []

    def readable(found: Iterable[Images | None]) -> Iterator[tuple[str, Images]]:
        for file, image in zip(files, found, strict=True):
            if image is not None:
                kept.append(file)
                yield _text(file), image
        if not kept:
            raise DataError(f"folder:{location}: none of its {len(files)} images can be read")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            images = pictures.merge(
                readable(pool.map(lambda file: _decode_one(file, options), files))
            )
        except DataError:
            pool.shutdown(cancel_futures=True)
            raise
    return kept, images


def _decode_one(file: Path, options: Options) -> Images | None:
    try:
        picture = pictures.decode(file)
    except Exception as error:  # Pillow's readers raise nearly everything for a broken file
        if not options.skip_unreadable:
            raise DataError(f"{_text(file)} cannot be read ({_reason(error)}): remove it, or set "
                            "skip_unreadable to leave such files out") from error  # fmt: skip
        logging.getLogger("jaxlabel").warning("skipped %s: %s", _text(file), _reason(error))
        return None
    return pictures.one_of(picture, options)


def _text(path: Path | str) -> str:
    """A name for files and terminals: bytes that are no UTF-8, as in old archives, escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image that Pillow knows"
    return str(error) or type(error).__name__
