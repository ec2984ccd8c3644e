"""A person answers by a CSV file: the questions go out, the answers come in."""

import csv
import io
import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jaxlabel.errors import DataError
from jaxlabel.oracle.records import Contradiction

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore

COLUMNS = ("item", "file", "label")


class Row(NamedTuple):
    """A line of the file: which image, where a person can see it, and the answer so far."""

    line: int
    item: str
    file: str
    label: str


class Counts(NamedTuple):
    """What an import did: answers stored, already there, still empty, refused; classes made."""

    added: int
    known: int
    blank: int
    contradictions: list[Contradiction]
    new_classes: tuple[str, ...]


def write_questions(path: str | Path, items: Sequence[str], paths: Sequence[str] = ()) -> int:
    """Writes a CSV file (item, file, label) of images to be labelled; returns how many are open.

    Labels that a person has already put into the file are kept.

    Args:
      items: their ids.
      paths: the image file of each, if there are files.

    Raises:
      DataError: the file is there and is not such a file, or cannot be written.
    """
    target = Path(path)
    answered = {row.item: row for row in _read(target) if row.label} if target.exists() else {}
    files = list(map(str, paths)) or [""] * len(items)
    asked = dict(zip(map(str, items), files, strict=True))
    lines = [
        (item, asked[item], answered[item].label if item in answered else "") for item in asked
    ]
    lines += [(row.item, row.file, row.label) for row in answered.values() if row.item not in asked]
    partial = target.with_name(target.name + ".partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *lines])
        os.replace(partial, target)  # a kill leaves the old file or the new one, whole
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror}") from error
    return sum(not label for _, _, label in lines)


def import_answers(
    store: "LabelStore",
    label_set: str,
    path: str | Path,
    known_items: Container[str] | None = None,
) -> Counts:
    """Stores the answers of a CSV file with the columns item and label; all of them, or none.

    A label is a class's name, whatever its case, or its index. Other names become new classes.
    Where all names are numbers, or there is none yet, a number is a name.

    Args:
      known_items: the items that exist, if known, so that a spoilt id is found.

    Raises:
      DataError: the file cannot be read, or which of its lines is wrong and why.
    """
    rows = [row for row in _read(Path(path)) if row.label or row.item]
    filled = [row for row in rows if row.label]
    _check_items(path, filled, known_items)
    classes = store.classes(label_set)
    named = [_class_name(path, row, classes) for row in filled]
    new = sorted(set(named) - set(classes), key=_by_number)
    if len({name.casefold() for name in new}) < len(new):
        raise DataError(
            f"{path}: new classes differ only in upper and lower case: {', '.join(new)}"
        )
    store.define(label_set, [*classes, *new])
    labels = {name: label for label, name in enumerate([*classes, *new])}
    answers = {row.item: labels[name] for row, name in zip(filled, named, strict=True)}
    before = store.num_labelled(label_set, list(answers))
    contradictions = store.add_labels(label_set, list(answers), list(answers.values()))
    known = before - len(contradictions)
    return Counts(len(answers) - before, known, len(rows) - len(filled), contradictions, tuple(new))


def _read(path: Path) -> list[Row]:
    """The file's lines; spreadsheets that write semicolons, tabs or a byte order mark are fine."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DataError(f"{path} cannot be read: {reason}") from error
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="")
    names = [(name or "").strip().casefold() for name in reader.fieldnames or ()]
    if not {"item", "label"} <= set(names):
        raise DataError(f"{path} has no columns called item and label in its first line")
    reader.fieldnames = names
    try:
        return [
            Row(reader.line_num, *(row.get(name, "").strip() for name in COLUMNS)) for row in reader
        ]
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num} is not CSV: {error}") from error


def _check_items(path: str | Path, rows: list[Row], known: Container[str] | None) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        if not row.item:
            raise DataError(f"{path} line {row.line} has a label but no item")
        if known is not None and row.item not in known:
            raise DataError(
                f"{path} line {row.line}: there is no item {row.item!r}; "
                "a spreadsheet may have changed its id: keep that column as text"
            )
        earlier = first.setdefault(row.item, row)
        if earlier.label != row.label:
            raise DataError(
                f"{path} lines {earlier.line} and {row.line} call one item "
                f"{earlier.label!r} and {row.label!r}: keep one of them"
            )


def _class_name(path: str | Path, row: Row, classes: tuple[str, ...]) -> str:
    if row.label in classes:
        return row.label
    alike = [name for name in classes if name.casefold() == row.label.casefold()]
    if len(alike) == 1:
        return alike[0]
    if not row.label.isdecimal() or all(name.isdecimal() for name in classes):
        return row.label
    if int(row.label) < len(classes):
        return classes[int(row.label)]
    raise DataError(
        f"{path} line {row.line}: {row.label} is none of the classes 0 to {len(classes) - 1}"
    )


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (10**9, name)
