"""Read pictures in archives: `zip:FILE`, `tar:FILE` and `webdataset:PATTERN`."""

import glob
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxlabel.data.archive import Member, read_members
from jaxlabel.data.dataset import Options
from jaxlabel.data.folder import has_labels as has_folder_labels
from jaxlabel.data.listing import EXTENSIONS, SPLITS, note_on_splits, split_roles
from jaxlabel.data.streams import Entry, Reader
from jaxlabel.errors import DataError
from jaxlabel.oracle.names import clean

LABEL_FILES = (".cls", ".json", ".txt")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MAX_SHARDS = 100_000  # files that a range may stand for


def is_picture(name: str) -> bool:
    """Return True if a path in an archive is that of an image file, judged by its extension.

    Hidden files and files of an operating system, such as those below `__MACOSX`, give False.
    """
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and name.lower().endswith(EXTENSIONS)


def _arrange_like_folder(spec: str, entries: list[Entry], options: Options) -> list[Entry | None]:
    """Set the split and the label of each picture of an archive by the folders in its path.

    The rules are those of `folder:DIR` (see `listing.split_roles`): sub-folders called train, val
    and test are splits if no sub-folder has another name, validation images join the training
    images, and the name of a sub-folder is a label if `options.folder_labels` is set.

    Returns:
      The pictures in their order, with None for each one that lies beside the folders of splits.
    """
    top = _top_folder([entry.name for entry in entries])
    roles, _ = _roles_and_folders([entry.name.removeprefix(top) for entry in entries])
    return [_with_split_and_label(spec, entry, top, roles, options) for entry in entries]


def _roles_and_folders(names: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """Return the splits of the top-level sub-folders, and the names of all that hold pictures."""
    used = {name.partition("/")[0] for name in names if "/" in name}
    return split_roles((), used, loose=any("/" not in name for name in names)), used


def _notes(location: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return a message if sub-folders of an archive are named like splits but are none.

    Args:
      location: the archive; not used, but the readers of tables need it in the same place.
      names: the paths of all pictures in the archive.
    """
    roles, used = _roles_and_folders(names)
    return () if roles else note_on_splits(used)


def _with_split_and_label(
    spec: str, entry: Entry, top: str, roles: dict[str, str], options: Options
) -> Entry | None:
    """Return a picture of an archive with its split and label, which follow from its path.

    None is returned if there is a folder of training images and the picture lies in no sub-folder.

    Args:
      spec: the data set, for error messages.
      entry: the picture, named by its path in the archive.
      top: the outermost folder of the archive, if it contains all others; else "".
      roles: the split of each sub-folder; empty if the sub-folders are not splits.
      options: the settings for reading images.

    Raises:
      DataError: `options.folder_labels` is set, and the picture is one to train on that lies in no
        sub-folder.
    """
    name = entry.name.removeprefix(top)
    folder, slash, rest = name.partition("/")
    if not slash and "train" in roles.values():
        return None
    split = "test" if slash and roles.get(folder) == "test" else "train"
    label: str | None = None
    if options.folder_labels:
        inner = rest if slash and folder in roles else name
        label, slash, _ = inner.partition("/")
        if not slash and split == "test":
            label = None  # `Reader.labels` raises an error if other test images have one
        elif not slash:
            raise DataError(f"{spec}: {entry.name} lies in no sub-folder: with folder_labels, "
                            "every image must be in a folder named after its class")  # fmt: skip
    return entry._replace(name=name, label=label, split=split)


def _top_folder(names: list[str]) -> str:
    """Return the outermost folder of an archive, such as "photos/", if it contains all others.

    It is returned if all pictures lie in sub-folders of one folder whose name is not that of a
    split, such as train. Otherwise the result is an empty string.

    Args:
      names: the paths of all pictures in the archive.
    """
    tops = {name.partition("/")[0] for name in names}
    deep = any(name.count("/") > 1 for name in names)
    is_split = any(top.lower() in SPLITS for top in tops)
    return f"{tops.pop()}/" if len(tops) == 1 and deep and not is_split else ""


def _shard_entries(location: str) -> Iterator[Entry]:
    """Yield the pictures of WebDataset shards (TAR archives) with their labels.

    Files with the same path up to the first dot belong together: 07.jpg is a picture and 07.cls its
    label.
    """
    spec = f"webdataset:{location}"
    for number, shard in enumerate(shards(location)):
        key, group = "", dict[str, Member]()
        for member in read_members(shard, spec, _is_picture_or_label):
            folder, slash, base = member.name.rpartition("/")
            stem, _, extension = base.partition(".")
            if group and f"{folder}{slash}{stem}" != key:
                yield from _picture_of_group(spec, number, key, group)
                group = {}
            key = f"{folder}{slash}{stem}"
            group[f".{extension.lower()}"] = member
        yield from _picture_of_group(spec, number, key, group)


def _is_picture_or_label(name: str) -> bool:
    """Return True if a path in a WebDataset shard has the extension of a picture or of a label."""
    return name.lower().endswith((*EXTENSIONS, *LABEL_FILES))


def _picture_of_group(
    spec: str, number: int, key: str, group: dict[str, Member]
) -> Iterator[Entry]:
    """Yield the picture and label in a group of files of a WebDataset shard; nothing if none.

    Args:
      spec: the data set, for error messages.
      number: the index of the shard, which becomes the first part of the picture's name.
      key: the path that the files of the group share, without extensions.
      group: the files, by extension.

    Raises:
      DataError: the label cannot be read.
    """
    picture = next((end for end in group if end.endswith(EXTENSIONS)), None)
    if picture is None:
        return
    label: str | None = None
    try:
        if ".cls" in group:
            label = clean(group[".cls"].content.decode()) or None
        elif ".json" in group:
            found = json.loads(group[".json"].content)
            given = found.get("label")
            label = None if given is None else clean(str(given)) or None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{spec}: the label of {key} cannot be read ({error})") from error
    yield Entry(f"{number:05d}/{key}{picture}", group[picture].content, label)


def shards(pattern: str) -> list[Path]:
    """Return the sorted paths of the files that a pattern stands for.

    Args:
      pattern: a path with a range or a wildcard, such as "a-{000..009}.tar" or "a-*.tar".

    Raises:
      DataError: there is no such file.
    """
    pattern = str(Path(pattern).expanduser())
    expanded = [pattern]
    while match := RANGE.search(expanded[0]):
        low, high = match.groups()
        if max(len(low), len(high)) > 9 or not 0 <= int(high) - int(low) < MAX_SHARDS:
            raise DataError(f"webdataset:{pattern}: the range {match[0]} must ascend and name at "
                            f"most {MAX_SHARDS:,} files")  # fmt: skip
        numbers = [f"{i:0{len(low)}d}" for i in range(int(low), int(high) + 1)]
        expanded = [RANGE.sub(number, each, count=1) for each in expanded for number in numbers]
    if expanded != [pattern] or Path(pattern).is_file():
        files = [Path(each) for each in expanded]
    else:
        files = [Path(each) for each in sorted(glob.glob(pattern))]
    missing = next((file for file in files if not file.is_file()), None)
    if missing or not files:
        raise DataError(f"webdataset:{pattern}: there is no such file: {missing or pattern}")
    return files


def _has_shard_labels(location: str, options: Options) -> bool:
    """Return True if the first picture of WebDataset shards (TAR archives) has a label."""
    first = next(_shard_entries(location), None)
    return first is not None and first.label is not None


def _archive_reader(prefix: str) -> Reader:
    """Return the reader of an archive format, "zip" or "tar"."""

    def pictures(location: str) -> Iterator[Entry]:
        for member in read_members(Path(location).expanduser(), f"{prefix}:{location}", is_picture):
            yield Entry(member.name, member.content)

    def files(location: str) -> list[Path]:
        return [Path(location).expanduser()]

    return Reader(prefix, pictures, has_folder_labels, _arrange_like_folder, files, _notes)


ZIP = _archive_reader("zip")
TAR = _archive_reader("tar")
WEBDATASET = Reader("webdataset", _shard_entries, _has_shard_labels, archives=shards)
