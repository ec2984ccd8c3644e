"""List the image files of a folder, decide which sub-folders are splits, and count ignored files.

`Listing.notes` says how many files there were and why some of them are no images of the data set.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxlabel.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif",
           ".ppm", ".pgm", ".pbm", ".pnm")  # fmt: skip
HEIF = (".heic", ".heif", ".hif")
# Folders and files of operating systems, network storage and archivers, in lower case.
SYSTEM = {"@eadir", "#recycle", "@recycle", "#snapshot", "@tmp", "@sharebin", "$recycle.bin",
          "recycler", "lost+found", ".trashes", ".trash", "__macosx", "thumbs.db", "ehthumbs.db",
          "desktop.ini", "system volume information", ".ds_store", ".spotlight-v100",
          ".thumbnails", ".@__thumb", ".fseventsd", ".picasa.ini"}  # fmt: skip
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
          "test": "test", "testing": "test"}  # fmt: skip
# The files by which the work directory of a run is recognised. It may lie in the folder of the
# images, and hold copies of them, such as an exported folder per class.
WORK_DIRECTORY = {"config.json", ".lock"}
# The first bytes of the formats that are read, for files without an extension.
SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0\0\0\0|II\*\0|MM\0\*|RIFF....WEBP|"
                        rb"....ftypavi|P[1-6]\s", re.DOTALL)  # fmt: skip
HEIF_SIGNATURE = re.compile(rb"....ftyp(hei|hev|mif1)", re.DOTALL)


class Listing(NamedTuple):
    """The image files of a folder.

    Attributes:
      root: the folder.
      train: the training images, as sorted paths relative to the folder.
      test: the test images, as sorted paths relative to the folder.
      splits: the top-level sub-folders that are splits rather than classes.
      notes: messages for the user on the files that were found and ignored.
      unread: pairs of a folder that cannot be read and the reason.
    """

    root: Path
    train: list[str]
    test: list[str]
    splits: tuple[str, ...]
    notes: tuple[str, ...]
    unread: tuple[tuple[str, str], ...] = ()


def list_images(location: str) -> Listing:
    """List the image files below a folder, divided into training and test images.

    Sub-folders called train, val and test (in some spellings) are splits if no sub-folder has
    another name; otherwise they are classes. Validation images are added to the training images.

    Args:
      location: the folder.

    Raises:
      DataError: there is no such folder, or it holds no images to train on.
    """
    root = Path(location).expanduser()
    try:
        is_folder = root.is_dir()
        top = (
            sorted(entry.name for entry in os.scandir(root) if entry.is_dir()) if is_folder else []
        )
    except OSError as error:
        raise DataError(f"folder:{location} cannot be read: {error.strerror}") from error
    if not is_folder:
        if root.is_file():
            raise DataError(f"folder:{location} is a file: name a folder, or write what the file "
                            "is, such as zip:FILE or csv:FILE")  # fmt: skip
        raise DataError(f"folder:{location}: there is no such folder")
    counts: Counter[str] = Counter()
    unread: list[tuple[str, str]] = []
    files = sorted(_images_below(root, counts, unread))
    used = {file.split("/", 1)[0] for file in files if "/" in file}
    loose = any("/" not in file for file in files)
    role = split_roles([name for name in top if not _reason_to_ignore(name)], used, loose)
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": [], "beside": []}
    for file in files:
        head = file.split("/", 1)[0] if "/" in file else ""
        parts[role.get(head, "train" if "train" not in role.values() else "beside")].append(file)
    train = sorted(parts["train"] + parts["val"])
    if not train:
        place = next((f"{location}/{name}" for name in role if role[name] == "train"), location)
        left_out = f" ({_counts_in_words(counts)})" if counts else ""
        raise DataError(f"folder:{place} holds no images: no file ends in "
                        f"{', '.join(EXTENSIONS)}{left_out}")  # fmt: skip
    if parts["beside"]:
        counts["pictures beside the folder of training pictures"] = len(parts["beside"])
    return Listing(root, train, parts["test"], tuple(role),
                   _notes(location, parts, role, used, counts), tuple(unread))  # fmt: skip


def split_roles(folders: Iterable[str], used: set[str], loose: bool) -> dict[str, str]:
    """Decide which top-level sub-folders of a data set are splits ("train", "val" or "test").

    They are splits if all sub-folders have the name of a split. A test folder alone is a split only
    if there are images beside it.

    Args:
      folders: the names of all top-level sub-folders.
      used: the names of the top-level sub-folders that contain images.
      loose: True if some images lie in no sub-folder.

    Returns:
      A dict from the name of each sub-folder to its split; empty if the sub-folders are not splits.
    """
    names = used | {name for name in folders if name.lower() in SPLITS}
    roles = {name: SPLITS.get(name.lower(), "") for name in sorted(names)}
    only_test = set(roles.values()) == {"test"}
    # The images of a test folder that stands alone are the data set: there is nothing else.
    return {} if not all(roles.values()) or (only_test and not loose) else roles


def _notes(
    location: str, parts: dict[str, list[str]], role: dict[str, str], used: set[str],
    counts: Counter[str],
) -> tuple[str, ...]:  # fmt: skip
    """Return messages for the user: the number of files and images, and which folders are splits.

    Args:
      location: the folder of the data set.
      parts: the image files of "train", "val" and "test", and "beside" for images in no split.
      role: the split of each sub-folder; empty if the sub-folders are not splits.
      used: the names of the sub-folders that contain images.
      counts: the number of ignored files by the reason.
    """
    num_images = sum(map(len, parts.values())) - len(parts["beside"])
    total = num_images + sum(counts.values())
    left_out = f"; left out: {_counts_in_words(counts)}" if counts else ""
    lines = [f"{location}: {total:,} files, {num_images:,} of them pictures{left_out}"]
    if role:
        of = {split: ", ".join(f"{name}/" for name in role if role[name] == split)
              for split in ("train", "val", "test")}  # fmt: skip
        train = " and ".join(filter(None, [of["train"], of["val"]])) or location
        joined = " (the validation pictures join the training pictures)" if of["val"] else ""
        lines.append(f"to train: {len(parts['train'] + parts['val']):,} pictures of {train}"
                     f"{joined}; to test: {len(parts['test']):,} of {of['test'] or 'no folder'}"
                     )  # fmt: skip
    else:
        lines += note_on_splits(used)
    return tuple(lines)


def note_on_splits(used: Iterable[str]) -> tuple[str, ...]:
    """Return a message for the user if sub-folders named like splits are none; else nothing.

    Args:
      used: the names of the top-level sub-folders that contain images and are not splits.
    """
    named = sorted(name for name in used if name.lower() in SPLITS)
    if not named:
        return ()
    others = next((name for name in sorted(used) if name.lower() not in SPLITS), "others")
    return (f"{', '.join(f'{name}/' for name in named)} beside {others}/: taken as sub-folders "
            "like the others, not as splits",)  # fmt: skip


def _images_below(root: Path, counts: Counter[str], unread: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the relative path of each image file below a folder, and count the ignored files.

    Files in the work directory of a run are ignored, unless `root` is or lies in this directory.

    Args:
      root: the folder.
      counts: a counter in which the function counts the ignored files by the reason.
      unread: a list to which the function appends (folder, reason) for each folder that cannot be
        read.
    """

    def refuse(error: OSError) -> None:
        unread.append((str(error.filename), error.strerror or str(error)))

    heif = heif_is_readable()
    extensions = EXTENSIONS + HEIF if heif else EXTENSIONS
    for parent, folders, files, is_repeated in walk(root, refuse):
        if is_repeated:
            counts["in folders that links reach again"] += len(files)
            continue
        place = os.path.relpath(parent, root)
        if place != "." and WORK_DIRECTORY.issubset(files):
            counts["in work directories of runs"] += _num_files(Path(parent))
            folders[:] = []
            continue
        for name in folders:
            if reason := _reason_to_ignore(name):
                counts[reason] += _num_files(Path(parent) / name)
        folders[:] = [name for name in folders if not _reason_to_ignore(name)]
        prefix = "" if place == "." else f"{Path(place).as_posix()}/"
        for name in files:
            if reason := _reason_to_ignore(name):
                counts[reason] += 1
            elif name.lower().endswith(extensions) or (
                not _extension(name) and _is_image(Path(parent) / name, heif)
            ):
                yield prefix + name
            else:
                counts[_unread_format(name, heif)] += 1


def walk(
    root: Path, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str], bool]]:
    """Walk through a folder as `os.walk` does, and through symbolic links, which may form loops.

    Args:
      root: the folder.
      onerror: a function that is called with the error if a folder cannot be read.

    Yields:
      For each folder its path, the names of its sub-folders and of its files, and whether a link
      has led to a folder that was visited before; its sub-folders are not visited again.
    """
    visited = set()
    for parent, folders, files in os.walk(root, followlinks=True, onerror=onerror):
        real = os.path.realpath(parent)
        is_repeated = real in visited
        visited.add(real)
        if is_repeated:
            folders[:] = []
        yield parent, folders, files, is_repeated


def heif_is_readable() -> bool:
    """Return True if HEIC image files can be read: the package pillow-heif is installed.

    In this case, the function also registers the package with Pillow.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _reason_to_ignore(name: str) -> str:
    """Return why a file or folder of the given name is ignored; an empty string if it is not.

    Hidden files and files of operating systems are ignored.
    """
    if name.lower() in SYSTEM or name.lower().startswith((".trash-", "._")):
        return "files of the operating system or network storage"
    return "hidden" if name.startswith(".") else ""


def _num_files(folder: Path) -> int:
    """Return the number of files below a folder, including those in its sub-folders."""
    return sum(len(files) for _, _, files in os.walk(folder))


def _extension(name: str) -> str:
    """Return the extension of a file name in lower case, such as ".png".

    A number such as in "scan.001" is not an extension; the result is then an empty string.
    """
    extension = os.path.splitext(name)[1].lower()
    return "" if extension[1:].isdecimal() else extension


def _is_image(file: Path, heif: bool) -> bool:
    """Return True if a file is an image that can be read, judged by its first bytes."""
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
    except OSError:
        return False
    return bool(SIGNATURES.match(start) or (heif and HEIF_SIGNATURE.match(start)))


def _unread_format(name: str, heif: bool) -> str:
    """Return a text on the format of a file that is ignored because it is no readable image.

    The text is the extension of its name, and for HEIC files also which package reads them.
    """
    extension = _extension(name)
    if extension in HEIF and not heif:
        return f"{extension} (pip install 'jaxlabel[heif]' reads them)"
    return extension or "without an extension, of no known format"


def _counts_in_words(counts: Counter[str]) -> str:
    """Return counts as text, the largest first, such as "3 .txt, 1 hidden"."""
    shown = [f"{count:,} {reason}" for reason, count in counts.most_common(12)]
    more = [f"{len(counts) - 12} other kinds"] if len(counts) > 12 else []
    return ", ".join(shown + more)
