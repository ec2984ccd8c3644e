"""Reader of folders of image files, of any image size and colour mode."""

import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxlabel.data import images as image_module
from jaxlabel.data.dataset import Images, Options, Source
from jaxlabel.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif",
           ".ppm", ".pgm", ".pbm", ".pnm")  # fmt: skip


def read(location: str, options: Options) -> Source:
    """Read the images of DIR/train and DIR/test, sorted by file name.

    Without a folder DIR/train, all images below DIR but those in DIR/test are training images. The
    names of sub-folders are used only with `options.folder_labels`, and only to name the classes.

    Args:
      location: the folder DIR.
      options: how the images are read.

    Raises:
      DataError: the folder does not exist or has no images, an image cannot be read, or images
        differ in size.
    """
    train, test = _split_files(location)
    paths, images = _decode(location, train, options)
    test_images = _decode(location, test, options)[1] if test else None
    classes = _class_names(location, train, test) if options.folder_labels else ()
    return Source(images, test_images, classes, tuple(map(_printable, paths)))


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """Return the labels of the split "train" or "test", in the order of the images.

    A label is the index of the image's sub-folder in the sorted names of all sub-folders.

    Raises:
      DataError: the folder cannot be read, `options.folder_labels` is not set, or an image lies in
        no sub-folder.
    """
    if not options.folder_labels:
        raise DataError(f"folder:{location} has no labels: set folder_labels to use the names "
                        "of the sub-folders as labels")  # fmt: skip
    train, test = _split_files(location)
    classes = _class_names(location, train, test)
    files = train if split == "train" else test
    if options.skip_unreadable and files:
        # `read` skips unreadable files, so their labels must be skipped too.
        files = _decode(location, files, options)[0]
    return np.array([classes.index(_class_name(location, path)) for path in files], np.int64)


def class_names(location: str, options: Options) -> tuple[str, ...]:
    """Return the names of the classes, by label: those of the sub-folders."""
    train, test = _split_files(location)
    return _class_names(location, train, test)


def has_labels(location: str, options: Options) -> bool:
    """Return True if the options say that the names of sub-folders are labels."""
    return options.folder_labels


def _split_files(location: str) -> tuple[list[Path], list[Path]]:
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
                        f"{', '.join(EXTENSIONS)}")  # fmt: skip
    return [root / file for file in train], [root / file for file in test]


def _images_below(folder: Path, root: Path) -> Iterator[str]:
    """Yield the image files below a folder, without hidden ones, as paths relative to the root."""
    visited = set()  # symbolic links may form loops
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [] if real in visited else [f for f in folders if not _hidden(f)]
        if real not in visited:
            yield from (
                (Path(parent) / file).relative_to(root).as_posix()
                for file in files
                if not _hidden(file) and file.lower().endswith(EXTENSIONS)
            )
        visited.add(real)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _class_names(location: str, train: list[Path], test: list[Path]) -> tuple[str, ...]:
    return tuple(sorted({_class_name(location, path) for path in [*train, *test]}))


def _class_name(location: str, path: Path) -> str:
    """Return the name of the image's top-level sub-folder, not counting train/ and test/."""
    root = Path(location).expanduser()
    parts = path.relative_to(root).parts
    if parts[0] == "test" or (parts[0] == "train" and (root / "train").is_dir()):
        parts = parts[1:]
    if len(parts) < 2:
        raise DataError(f"{_printable(path)} lies in no sub-folder: with folder_labels, every "
                        "image must be in a folder named after its class")  # fmt: skip
    return _printable(parts[0])


def _decode(location: str, files: list[Path], options: Options) -> tuple[list[Path], Images]:
    """Decode image files in parallel; return the files that could be read, and their images."""
    kept: list[Path] = []

    def readable(decoded: Iterable[Images | None]) -> Iterator[tuple[str, Images]]:
        for file, image in zip(files, decoded, strict=True):
            if image is not None:
                kept.append(file)
                yield _printable(file), image
        if not kept:
            raise DataError(f"folder:{location}: none of its {len(files)} images can be read")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            images = image_module.merge(
                readable(pool.map(lambda file: _decode_one(file, options), files))
            )
        except DataError:
            pool.shutdown(cancel_futures=True)
            raise
    return kept, images


def _decode_one(file: Path, options: Options) -> Images | None:
    try:
        picture = image_module.decode(file)
    except Exception as error:  # Pillow raises many types of exceptions for a broken file.
        if not options.skip_unreadable:
            raise DataError(f"{_printable(file)} cannot be read ({_reason(error)}): remove it, or "
                            "set skip_unreadable to skip such files") from error  # fmt: skip
        logging.getLogger("jaxlabel").warning("skipped %s: %s", _printable(file), _reason(error))
        return None
    return image_module.single_image(picture, options)


def _printable(path: Path | str) -> str:
    """Return a path as printable text, with bytes that are not valid UTF-8 escaped.

    Old archives contain file names in other encodings.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image format that Pillow can read"
    return str(error) or type(error).__name__
