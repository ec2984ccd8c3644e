"""A person answers by a CSV file: the questions go out, the answers come in."""

import codecs
import csv
import io
import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jaxlabel.errors import DataError

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore

COLUMNS = ("item", "file", "label")
LONGEST = 200  # characters of a class's name


class Row(NamedTuple):
    """A line of the file: which image, where a person can see it, and the answer so far."""

    line: int
    item: str
    file: str
    label: str


class Refused(NamedTuple):
    """An answer that another one stands against: where it is, and the classes of both."""

    line: int
    item: str
    kept: str
    answer: str


class Counts(NamedTuple):
    """What an import did: answers stored, there before, empty, refused, put right; classes made."""

    added: int
    known: int
    blank: int
    refused: list[Refused]
    new_classes: tuple[str, ...]
    corrected: int = 0


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
    correctable: Container[str] = (),
) -> Counts:
    """Stores the answers of a CSV file with the columns item and label; all of them, or none.

    An answer that is another than before is refused where the first one is paid for, or is not
    this person's own; the others are stored all the same.

    A label is a class's name, whatever its case, or its index. Other names become new classes.
    Where all names are numbers, or there is none yet, a number is a name.

    Args:
      known_items: the items that exist, if known, so that a spoilt id is found.
      correctable: the items whose answer may be put right as long as nobody has paid for it.

    Raises:
      DataError: the file cannot be read, or which of its lines is wrong and why.
    """
    rows = [row for row in _read(Path(path)) if row.label or row.item]
    filled = [row for row in rows if row.label]
    _check_items(path, filled, known_items)
    classes = store.classes(label_set)
    named = {row.item: (row, _class_name(path, row, classes)) for row in filled}
    labelled = store.bought(label_set, list(named))
    free = {item: name for item, (_, name) in named.items() if item not in labelled}
    new = sorted(set(free.values()) - set(classes), key=_by_number)
    if alike := _alike(new):
        line = next(row.line for row, name in named.values() if name == alike[1])
        raise DataError(f"{path} line {line}: {alike[1]!r} and {alike[0]!r} differ only in upper "
                        "and lower case: write them alike")  # fmt: skip
    names = [*classes, *new]
    store.define(label_set, names)
    labels = {name: label for label, name in enumerate(names)}
    answers = {item: labels[name] for item, name in free.items()}
    before = store.num_labelled(label_set, list(answers))
    against = [(item, kept) for item, kept in labelled.items() if named[item][1] != names[kept]]
    others = store.add_labels(label_set, list(answers), list(answers.values()))
    mine = {item: label for item, _, label in others if item in correctable}
    corrected = store.correct(label_set, list(mine), list(mine.values()))
    against += [(item, kept) for item, kept, _ in others if item not in corrected]
    refused = [Refused(named[i][0].line, i, names[kept], named[i][1]) for i, kept in against]
    known = len(named) - (len(answers) - before) - len(corrected) - len(refused)
    return Counts(len(answers) - before, known, len(rows) - len(filled),
                  sorted(refused), tuple(new), len(corrected))  # fmt: skip


def _read(path: Path) -> list[Row]:
    """The file's lines; spreadsheets that write semicolons, tabs or a byte order mark are fine."""
    try:
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError)
                  else "it is not UTF-8 text: save it as CSV UTF-8")  # fmt: skip
        raise DataError(f"{path} cannot be read: {reason}") from error
    first, _, rest = text.partition("\n")
    skipped = int(first.lower().startswith("sep="))  # a hint that Excel takes and writes
    text = rest if skipped else text
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    lines = io.StringIO(text, newline="")
    reader = csv.DictReader(lines, delimiter=delimiter, restval="", strict=True)
    try:
        names = [(name or "").strip().casefold() for name in reader.fieldnames or ()]
        if any(names.count(name) != 1 for name in ("item", "label")):
            raise DataError(f"{path} needs a column called item and one called label, named in its "
                            "first line")  # fmt: skip
        reader.fieldnames = names
        return [
            Row(reader.line_num + skipped, *((row.get(name) or "").strip() for name in COLUMNS))
            for row in reader
        ]
    except csv.Error as error:
        line = reader.line_num + skipped
        raise DataError(f"{path} line {line} is not CSV: {error}; is a quote missing?") from error


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
    if len(row.label) > LONGEST or not row.label.isprintable():
        raise DataError(f"{path}: the label before or in line {row.line} is no class's name: it is "
                        f"of several lines or longer than {LONGEST} characters; is a quote "
                        "missing?")  # fmt: skip
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


def _alike(names: list[str]) -> tuple[str, str] | None:
    """Two names that differ only in upper and lower case."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            return other, name
    return None


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (10**9, name)
