"""Keep the decoded pixels of many picture files on disk, so that the next start need not decode.

They are kept in ~/.cache/jaxlabel/pictures, or in the folder that the environment variable
JAXLABEL_CACHE names. An entry is used only as long as the names, sizes and times of all files are
the same. Its pixels are memory-mapped: the system reads from the disk what is used. If a file could
not be opened or read, all files are decoded again as soon as the system lets us open this one.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel import cache
from jaxlabel.data.dataset import Images, Options, Source, Unread
from jaxlabel.data.decoding import printable

FEWEST = 1_000  # fewer files are decoded again: it takes less than a second
MAX_BYTES = 8_000_000_000  # the pixels of all entries; the ones unused for longest are deleted
DAMAGED = (OSError, ValueError, KeyError, TypeError)  # errors of an entry that cannot be used
VERSION = 4  # a new version of the decoding or of the splits makes all entries invalid

Decoded = tuple[list[str], Images, list[Unread]]  # the files that could be read, and the others


def decoded(
    root: Path, files: Sequence[str], options: Options, decode: Callable[[], Decoded]
) -> Decoded:
    """Return what `decode` returns, from an earlier call's entry on disk if no file has changed.

    Args:
      root: the folder of the files.
      files: the picture files, as paths relative to `root`.
      options: the settings for reading images.
      decode: a function that decodes the files.
    """
    if len(files) < FEWEST:
        return decode()
    entry = cache.pictures_folder() / _fingerprint(root, files, options)
    kept: Decoded | None = None
    with contextlib.suppress(*DAMAGED):
        kept = _read(entry)[0]
    if kept is not None and not _may_read_more(root, files, kept[2]):
        return kept
    result = decode()
    if kept is not None and kept[2] != result[2]:
        shutil.rmtree(entry, ignore_errors=True)  # else `_write` leaves it as it is
    # Without space or the right to write, the next start decodes again.
    with contextlib.suppress(OSError):
        _write(entry, result)
    with contextlib.suppress(*DAMAGED):
        written = _read(entry)[0]
        if written[2] == result[2]:
            return written  # so that the pixels need not stay in memory
    return result


def _may_read_more(root: Path, files: Sequence[str], unread: Sequence[Unread]) -> bool:
    """Return True if a file that could not be opened or read may be readable now.

    Args:
      root: the folder of the files.
      files: the picture files, as paths relative to `root`.
      unread: the files that could not be read.
    """
    failed = {one.file for one in unread if one.may_be_good}
    if not failed:
        return False
    paths = [root / file for file in files]
    return any(os.access(path, os.R_OK) for path in paths if printable(path) in failed)


def decoded_archive(
    files: Sequence[Path], spec: str, options: Options, read: Callable[[], Source]
) -> Source:
    """Return the images of archives: from the cache on disk if no file has changed, else by `read`.

    If a picture was skipped, nothing is kept: the next start may be able to read it.

    Args:
      files: the archives that `read` reads; if there are none, nothing is kept.
      spec: the data set, such as "tar:FILE".
      options: the settings for reading images.
      read: a function that reads the archives.
    """
    if not files:
        return read()
    names = [str(file.absolute()) for file in files]
    key = _fingerprint(Path("/"), [*names, spec], options, archives=True)
    train, test = (cache.pictures_folder() / f"{key}-{split}" for split in ("train", "test"))
    with contextlib.suppress(*DAMAGED):
        return _read_source(train, test)
    source = read()
    if len(source.train.pixels) >= FEWEST and not source.unread:
        with contextlib.suppress(OSError):
            _write_source(train, test, source)
    return source


def _write_source(train: Path, test: Path, source: Source) -> None:
    """Write the entries of training and test images; neither has the labels of the images."""
    splits = [images for images in (source.train, source.test) if images is not None]
    if sum(images.pixels.nbytes for images in splits) > MAX_BYTES:
        return  # one without the other is of no use
    costs = None if source.costs is None else source.costs.tolist()
    about = {"classes": source.classes, "costs": costs, "has_test": source.test is not None}
    if source.test is not None:
        _write(test, (list(source.test_paths), source.test, []))
    _write(train, (list(source.paths), source.train, []), about)


def _read_source(train: Path, test: Path) -> Source:
    """Read the entries of an archive; any error means that they are not there, or damaged."""
    (paths, images, _), about = _read(train)
    costs = None if about["costs"] is None else np.array(about["costs"], np.float64)
    source = Source(images, None, tuple(about["classes"]), tuple(paths), costs=costs)
    if not about["has_test"]:
        return source
    (paths, images, _), _ = _read(test)
    return source._replace(test=images, test_paths=tuple(paths))


def _fingerprint(
    root: Path, files: Sequence[str], options: Options, *, archives: bool = False
) -> str:
    """Return a hash of the names, sizes and times of files, and of how they are to be read.

    Args:
      root: the folder of the files.
      files: the files, as paths relative to `root`, or absolute ones.
      options: the settings for reading images.
      archives: True to detect as well that a file was replaced by one of the same size and time.
    """
    import PIL

    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((VERSION, PIL.__version__, str(root.resolve()), tuple(options))).encode())
    for file in files:
        try:
            status = (root / file).stat()
            about = [file, status.st_size, status.st_mtime_ns]
            if archives:
                about += [status.st_ino, status.st_ctime_ns]
        except OSError as error:
            about = [file, -1, error.errno or 0]
        digest.update(repr(about).encode())
    return digest.hexdigest()


def _read(entry: Path) -> tuple[Decoded, dict[str, Any]]:
    """Read an entry and the texts that are kept with it.

    Any error means that there is none, or a damaged one.
    """
    about = json.loads((entry / "about.json").read_text())
    pixels = np.asarray(np.load(entry / "pixels.npy", mmap_mode="r"))
    items = np.load(entry / "items.npy")
    if not len(pixels) == len(items) == len(about["files"]):
        raise ValueError("damaged")
    os.utime(entry)  # it was used now
    images = Images(pixels, items, tuple(about["notes"]), about["intensity"])
    return (about["files"], images, [Unread(*one) for one in about["unread"]]), about


def _write(entry: Path, result: Decoded, more: dict[str, Any] | None = None) -> None:
    """Write an entry, so that a reader finds all of it or nothing, and delete old entries.

    Args:
      entry: the folder of the entry.
      result: the pictures.
      more: further texts and numbers to keep.
    """
    files, images, unread = result
    if images.pixels.nbytes > MAX_BYTES:
        return
    entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=entry.parent, suffix=".part"))
    try:
        np.save(part / "pixels.npy", images.pixels)
        np.save(part / "items.npy", images.items)
        about = {"files": files, "notes": images.notes, "intensity": images.intensity,
                 "unread": unread, **(more or {})}  # fmt: skip
        (part / "about.json").write_text(json.dumps(about))
        # Another process may have written the entry and use it. Over a network, it would be killed
        # if its file were removed.
        with contextlib.suppress(*DAMAGED):
            _read(entry)
            return
        shutil.rmtree(entry, ignore_errors=True)
        part.rename(entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _delete_old(entry.parent)


def _delete_old(folder: Path) -> None:
    """Delete the entries that were unused for longest until the others fit into MAX_BYTES."""
    entries = sorted(folder.glob("*/pixels.npy"), key=lambda file: -file.parent.stat().st_mtime)
    total = 0
    for file in entries:
        total += file.stat().st_size
        if total > MAX_BYTES:
            shutil.rmtree(file.parent, ignore_errors=True)
