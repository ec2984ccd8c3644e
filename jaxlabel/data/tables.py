"""Read pictures that a table lists: `csv:FILE`, `parquet:FILE` and `hf:NAME_OR_DIR`."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlabel.data.dataset import Options
from jaxlabel.data.listing import SPLITS
from jaxlabel.data.prices import price_of
from jaxlabel.data.streams import Entry, Reader
from jaxlabel.errors import DataError, reason_of
from jaxlabel.oracle import spreadsheet
from jaxlabel.oracle.names import clean

PICTURES = ("image", "img", "picture", "file", "path", "file_name", "filename", "bytes")
LABELS = ("label", "class", "class_name", "category", "fine_label", "coarse_label")
COSTS = ("cost",)
TEST_SPLITS = ("test", "validation")


def _column(names: list[str], known: tuple[str, ...]) -> str | None:
    """Return the first name in `known` that is also the name of a column; None if there is none.

    Upper and lower case count as equal; the result is spelt as in the table.
    """
    by_name = {name.strip().casefold(): name for name in reversed(names)}
    return next((by_name[name] for name in known if name in by_name), None)


def _picture_column(spec: str, names: list[str]) -> str:
    found = _column(names, PICTURES)
    if found is None:
        raise DataError(f"{spec} has no column of pictures, but {', '.join(names) or 'nothing'}: "
                        f"call it {PICTURES[0]} or path")  # fmt: skip
    return found


def _content(root: Path, value: Any) -> tuple[str, bytes, str]:
    """Return the name and the bytes of the picture in a cell of a table, and what is wrong with it.

    Args:
      root: the folder to which paths in the table are relative.
      value: the cell: bytes, a path, or Hugging Face's dict with "path" and "bytes".

    Returns:
      The name, the bytes, and a text. The text is empty unless the cell holds no picture, or names
      a file that cannot be read; then there are no bytes.
    """
    name = ""
    if isinstance(value, Mapping):
        name, value = str(value.get("path") or ""), value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return name, value, ""
    if not isinstance(value, str) or not value.strip():
        return name, b"", "the row has no picture"
    # "~1.png" is an ordinary name; only "~/..." stands for the home directory
    file = root / (Path(value).expanduser() if value.startswith("~/") else value)
    try:
        if "\\" in value and not file.exists():  # a path that was written on Windows
            file = root / value.replace("\\", "/")
        return value, file.read_bytes(), ""
    except (OSError, ValueError) as error:  # ValueError: a name with the character NUL
        reason = getattr(error, "strerror", None) or str(error)
        return value, b"", f"{file} cannot be read: {reason}"


def _entry(
    root: Path, number: int, cell: Any, label: Any, split: str = "train",
    cost: float | None = None,
) -> Entry:  # fmt: skip
    """Return the picture, the label and the price of a row of a table.

    The picture's name begins with the number of the row, so that sorting by name keeps the order.
    """
    name, content, fault = _content(root, cell)
    text = "" if label is None else clean(str(label))
    return Entry(f"{number:09d}/{name}", content, text or None, split, cost, fault)


def names_in_source(spec: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of pictures as the user knows them.

    The paths of a `Dataset` from a table or from WebDataset shards have the number of the row or
    of the shard, and are no files. The result has the cells of the table, or the paths in the
    shards. Other paths, and those of rows without a path, are returned unchanged.

    >>> names_in_source("csv:shop/list.csv", ["shop/list.csv/000000007/a/7.png"])
    ('a/7.png',)

    Args:
      spec: the data set, such as "csv:FILE".
      paths: `Dataset.paths` or `Dataset.test_paths`.
    """
    prefix, _, location = spec.partition(":")
    if prefix not in ("csv", "parquet", "hf", "webdataset"):
        return tuple(paths)
    return tuple(path.removeprefix(f"{location}/").partition("/")[2] or path for path in paths)


def _csv_rows(location: str) -> Iterator[dict[str, str]]:
    shown = f"csv:{location}"
    sheet = spreadsheet.open_csv(Path(location).expanduser(), shown)
    try:
        for row in sheet.rows:
            if any(cell for name, cell in row.items() if name):  # not a line of separators alone
                yield row
    except csv.Error as error:
        raise spreadsheet.fault(sheet, shown, error) from error


def _csv_entries(location: str) -> Iterator[Entry]:
    spec, root = f"csv:{location}", Path(location).expanduser().parent
    for number, row in enumerate(_csv_rows(location)):
        names = [name for name in row if name]
        label, cost, split = (_column(names, known) for known in (LABELS, COSTS, ("split",)))
        where = f"{spec}, row {number + 1}"
        yield _entry(root, number, row[_picture_column(spec, names)],
                     _one_line(where, row[label]) if label else None,
                     _split(where, row[split]) if split else "train",
                     price_of(where, row[cost]) if cost else None)  # fmt: skip


def _unread_prices(names: list[str]) -> tuple[str, ...]:
    """Return a message for the user if a table has a column of prices that is not called cost."""
    other = _column(names, ("price", "prices", "costs"))
    if other is None or _column(names, COSTS) is not None:
        return ()
    return (f"the column {other} is not read: the column of prices is called cost",)


def _split(where: str, cell: Any) -> str:
    """Return the split that a row's column "split" names: "train", or "test" for validation too.

    Args:
      where: the table and the row, for error messages.
      cell: the content of the column; a row without one is a training picture.

    Raises:
      DataError: the column names no split.
    """
    word = "" if cell is None else str(cell).strip()
    if word and word.lower() not in SPLITS:
        raise DataError(f"{where}: the split {word[:40]!r} is none of train, test and validation")
    return "train" if not word or SPLITS[word.lower()] == "train" else "test"


def _one_line(where: str, label: str) -> str:
    """Return a label; raise DataError if it has several lines, as after a missing quote."""
    if set("\r\n") & set(label.strip()):
        raise DataError(f"{where}: the label has several lines; is a quote missing?")
    return label


def _csv_columns(location: str) -> list[str]:
    return [name for name in next(_csv_rows(location), {}) if name]


def _csv_has_labels(location: str, options: Options) -> bool:
    return _column(_csv_columns(location), LABELS) is not None


def open_parquet(location: str) -> Any:
    """Open a Parquet file (a table) and return pyarrow's object for it.

    Raises:
      DataError: pyarrow is missing, or the file cannot be read.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f"parquet:{location} needs the package pyarrow: "
                        "pip install 'jaxlabel[parquet]'") from error  # fmt: skip
    file = Path(location).expanduser()
    try:
        return parquet.ParquetFile(file)
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses of these
        raise DataError(f"parquet:{location} cannot be read ({reason_of(error)})") from error


def _parquet_entries(location: str) -> Iterator[Entry]:
    spec, root = f"parquet:{location}", Path(location).expanduser().parent
    with open_parquet(location) as file:
        names = list(file.schema_arrow.names)
        picture, label = _picture_column(spec, names), _column(names, LABELS)
        split, cost = _column(names, ("split",)), _column(names, COSTS)
        columns = [name for name in (picture, label, split, cost) if name]
        for number, row in enumerate(_parquet_rows(spec, file, columns)):
            where = f"{spec}, row {number + 1}"
            yield _entry(
                root, number, row[picture], row[label] if label else None,
                _split(where, row[split]) if split else "train",
                price_of(where, row[cost]) if cost else None,
            )  # fmt: skip


def _parquet_rows(spec: str, file: Any, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of an open Parquet file, with some of its columns.

    Raises:
      DataError: the file is damaged.
    """
    try:
        for batch in file.iter_batches(batch_size=256, columns=columns):
            yield from batch.to_pylist()
    except (OSError, ValueError, NotImplementedError, KeyError) as error:  # those of pyarrow
        raise DataError(f"{spec} cannot be read ({reason_of(error)})") from error


def _parquet_columns(location: str) -> list[str]:
    with open_parquet(location) as file:
        return list(file.schema_arrow.names)


def _parquet_has_labels(location: str, options: Options) -> bool:
    return _column(_parquet_columns(location), LABELS) is not None


def _load_hub(location: str) -> Any:
    """Load a data set with Hugging Face's package `datasets`; return its splits by name.

    Args:
      location: a directory that `save_to_disk` wrote, or the name of a data set of the Hugging Face
        Hub.

    Raises:
      DataError: the package datasets is missing, or there is no such data set.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"hf:{location} needs the package datasets: "
                        "pip install 'jaxlabel[hf]'") from error  # fmt: skip
    folder = Path(location).expanduser()
    try:
        if folder.is_dir():
            loaded = datasets.load_from_disk(str(folder))
        else:
            loaded = datasets.load_dataset(location)
    except Exception as error:  # datasets raises many types of exceptions
        raise DataError(f"hf:{location} cannot be loaded ({reason_of(error)})") from error
    return loaded if isinstance(loaded, dict) else {"train": loaded}


def _hub_entries(location: str) -> Iterator[Entry]:
    spec, number, parts = f"hf:{location}", 0, _load_hub(location)
    import datasets  # `_load_hub` has said so if it is missing

    for name, part in parts.items():
        if name != "train" and name not in TEST_SPLITS:
            continue
        picture, label = _hub_columns(spec, part)
        plain = part.cast_column(picture, datasets.Image(decode=False))
        names = getattr(part.features[label], "names", None) if label else None
        cost = _column(list(part.features), COSTS)
        columns = [name for name in (picture, label, cost) if name]
        for row in plain.select_columns(columns):
            given = row[label] if label else None
            if names is not None and given is not None:
                given = names[given] if given >= 0 else None  # -1 stands for no label
            split, where = "train" if name == "train" else "test", f"{spec}, row {number + 1}"
            yield _entry(Path(), number, row[picture], given, split,
                         price_of(where, row[cost]) if cost else None)  # fmt: skip
            number += 1


def _hub_columns(spec: str, part: Any) -> tuple[str, str | None]:
    """Return the names of the columns of pictures and of labels of a Hugging Face data set.

    The name of the column of labels is None if there is none.
    """
    kinds = {name: type(feature).__name__ for name, feature in part.features.items()}
    pictures = [name for name, kind in kinds.items() if kind == "Image"]
    classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    picture = pictures[0] if pictures else _picture_column(spec, list(kinds))
    return picture, classes[0] if len(classes) == 1 else _column(list(kinds), LABELS)


def _hub_has_labels(location: str, options: Options) -> bool:
    return _hub_columns(f"hf:{location}", _hub_training_part(location))[1] is not None


def _hub_columns_notes(location: str, _: object) -> tuple[str, ...]:
    return _unread_prices(list(_hub_training_part(location).features))


def _hub_training_part(location: str) -> Any:
    """Return the split "train" of a Hugging Face data set, or its first split if it has none."""
    parts = _load_hub(location)
    return parts["train"] if "train" in parts else next(iter(parts.values()))


CSV = Reader("csv", _csv_entries, _csv_has_labels,
             notes=lambda location, _: _unread_prices(_csv_columns(location)))  # fmt: skip
PARQUET = Reader("parquet", _parquet_entries, _parquet_has_labels,
                 notes=lambda location, _: _unread_prices(_parquet_columns(location)))  # fmt: skip
HUB = Reader("hf", _hub_entries, _hub_has_labels, notes=_hub_columns_notes)
