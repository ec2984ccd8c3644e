"""Readers of pictures in archives: `zip:FILE`, `tar:FILE` and `webdataset:PATTERN`."""

import glob
import json
import re
from collections.abc import Iterator
from pathlib import Path

from jaxlabel.data.archive import Member, read_members
from jaxlabel.data.dataset import Options
from jaxlabel.data.listing import EXTENSIONS
from jaxlabel.data.streams import Entry, Reader
from jaxlabel.errors import DataError

LABEL_FILES = (".cls", ".json", ".txt")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def is_picture(name: str) -> bool:
    """Return True for the name of an image file that is neither hidden nor a system's own."""
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and name.lower().endswith(EXTENSIONS)


def _members(prefix: str, location: str) -> Iterator[Entry]:
    """Yield the pictures of an archive under their names in it."""
    for member in read_members(Path(location).expanduser(), f"{prefix}:{location}", is_picture):
        yield Entry(member.name, member.content)


def _as_folder(spec: str, entries: list[Entry], options: Options) -> list[Entry | None]:
    """Give the pictures of an archive the splits and labels that `folder:DIR` would give them."""
    top = _top_folder([entry.name for entry in entries])
    has_train = any(entry.name.startswith(f"{top}train/") for entry in entries)
    return [_placed(spec, entry, top, has_train, options) for entry in entries]


def _placed(spec: str, entry: Entry, top: str, has_train: bool, options: Options) -> Entry | None:
    """Return a picture with its split and label, or None if it belongs to no split."""
    name = entry.name.removeprefix(top)
    folder, _, rest = name.partition("/")
    if has_train and folder not in ("train", "test"):
        return None
    split = "test" if folder == "test" and rest else "train"
    label = None
    if options.folder_labels:
        inner = rest if folder == split else name
        label, slash, _ = inner.partition("/")
        if not slash:
            raise DataError(f"{spec}: {entry.name} lies in no sub-folder: with folder_labels, "
                            "every image must be in a folder named after its class")  # fmt: skip
    return entry._replace(name=name, label=label, split=split)


def _top_folder(names: list[str]) -> str:
    """Return the folder, with a slash, that all pictures lie in and that means nothing; else "".

    An archive of a folder mostly holds the folder itself. One folder with nothing but pictures is
    kept, because it may be a class.
    """
    tops = {name.partition("/")[0] for name in names}
    deep = any(name.count("/") > 1 for name in names)
    return f"{tops.pop()}/" if len(tops) == 1 and deep and not tops & {"train", "test"} else ""


def _shard_entries(location: str, options: Options) -> Iterator[Entry]:
    """Yield the pictures of WebDataset's shards; the files of one picture share its key."""
    spec = f"webdataset:{location}"
    for number, shard in enumerate(shards(location)):
        key, group = "", dict[str, Member]()
        for member in read_members(shard, spec, _is_sample):
            folder, slash, base = member.name.rpartition("/")
            stem, _, extension = base.partition(".")
            if group and f"{folder}{slash}{stem}" != key:
                yield from _of_group(spec, number, key, group)
                group = {}
            key = f"{folder}{slash}{stem}"
            group[f".{extension.lower()}"] = member
        yield from _of_group(spec, number, key, group)


def _is_sample(name: str) -> bool:
    """Return True for the name of a picture or of a label in a shard."""
    return name.lower().endswith((*EXTENSIONS, *LABEL_FILES))


def _of_group(spec: str, number: int, key: str, group: dict[str, Member]) -> Iterator[Entry]:
    """Yield the picture of a group of files with one key, if there is one."""
    picture = next((end for end in group if end.endswith(EXTENSIONS)), None)
    if picture is None:
        return
    label: str | None = None
    try:
        if ".cls" in group:
            label = group[".cls"].content.decode().strip()
        elif ".json" in group:
            found = json.loads(group[".json"].content)
            label = str(found["label"]) if "label" in found else None
    except (ValueError, TypeError) as error:
        raise DataError(f"{spec}: the label of {key} cannot be read ({error})") from error
    yield Entry(f"{number:05d}/{key}{picture}", group[picture].content, label)


def shards(pattern: str) -> list[Path]:
    """Return the files of a pattern with {000..009} or with *, sorted.

    Raises:
      DataError: there is no such file.
    """
    pattern = str(Path(pattern).expanduser())
    expanded = [pattern]
    while match := RANGE.search(expanded[0]):
        low, high = match.groups()
        numbers = [f"{i:0{len(low)}d}" for i in range(int(low), min(int(high), 10**5) + 1)]
        expanded = [RANGE.sub(number, each, count=1) for each in expanded for number in numbers]
    files = [Path(each) for each in expanded] if len(expanded) > 1 else [
        Path(each) for each in sorted(glob.glob(pattern))
    ]  # fmt: skip
    if not files:
        raise DataError(f"webdataset:{pattern}: there is no such file")
    return files


def _has_shard_labels(location: str, options: Options) -> bool:
    """Return True if the first picture of the shards has a label."""
    first = next(iter(_shard_entries(location, options)), None)
    return first is not None and first.label is not None


def _has_folder_labels(location: str, options: Options) -> bool:
    """Return True if the options say that the names of sub-folders are labels."""
    return options.folder_labels


ZIP = Reader("zip", lambda location, _: _members("zip", location), _has_folder_labels, _as_folder)
TAR = Reader("tar", lambda location, _: _members("tar", location), _has_folder_labels, _as_folder)
WEBDATASET = Reader("webdataset", _shard_entries, _has_shard_labels)
