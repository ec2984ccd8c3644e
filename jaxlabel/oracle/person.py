"""Exchange labels with a person through a CSV file: write the questions, import the answers."""

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
MAX_NAME_LENGTH = 200  # the maximal number of characters in a class name


class Row(NamedTuple):
    """A line of the CSV file.

    Attributes:
      line: the number of the line in the file.
      item: the id of the image.
      file: the image file that a person can open; empty if there is none.
      label: the person's answer; empty if there is none yet.
    """

    line: int
    item: str
    file: str
    label: str


class Refused(NamedTuple):
    """An answer that was not stored, because it contradicts a label that is kept.

    Attributes:
      line: the number of the answer's line in the CSV file.
      item: the id of the image.
      kept: the name of the class that is kept.
      answer: the name of the class in the refused answer.
    """

    line: int
    item: str
    kept: str
    answer: str


class Counts(NamedTuple):
    """The counts of what an import of answers did.

    Attributes:
      added: the number of answers stored for the first time.
      known: the number of answers that were stored before.
      blank: the number of lines without an answer.
      refused: the answers that contradict a label that is kept.
      new_classes: the names of the classes that were added.
      corrected: the number of answers that replaced an earlier answer.
    """

    added: int
    known: int
    blank: int
    refused: list[Refused]
    new_classes: tuple[str, ...]
    corrected: int = 0


def write_questions(path: str | Path, items: Sequence[str], paths: Sequence[str] = ()) -> int:
    """Write a CSV file of images to label, and return the number of lines without a label.

    The columns are item, file and label. Labels that a person has already entered in an existing
    file are kept.

    Args:
      path: the CSV file.
      items: the ids of the images to label.
      paths: the file of each image; empty if images are not separate files.

    Raises:
      DataError: an existing file is not a CSV file with these columns, or the file cannot be
        written.
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
        os.replace(partial, target)  # atomic: a killed process leaves no half-written file
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
    """Store the labels in a CSV file with the columns item and label, and return the counts.

    A label is the name of a class, in upper or lower case, or its index. Other names become new
    classes. If all class names are numbers, or there are no classes yet, a number is a name.

    An answer that differs from the stored label replaces it only if the item is in `correctable`
    and no account has bought its label; otherwise the answer is refused. All other answers are
    stored. If the file has an error, nothing is stored.

    Args:
      store: the label store.
      label_set: the name of the label set.
      path: the CSV file.
      known_items: the ids of all images, to find damaged ids; None: ids are not checked.
      correctable: the items whose earlier answers came from this person and may be corrected.

    Raises:
      DataError: the file cannot be read, or one of its lines is wrong; the message says which.
    """
    rows = [row for row in _read(Path(path)) if row.label or row.item]
    filled = [row for row in rows if row.label]
    _check_items(path, filled, known_items)
    classes = store.classes(label_set)
    named = {row.item: (row, _class_name(path, row, classes)) for row in filled}
    labelled = store.bought(label_set, list(named))
    free = {item: name for item, (_, name) in named.items() if item not in labelled}
    new = sorted(set(free.values()) - set(classes), key=_by_number)
    if pair := _differ_only_in_case(new):
        line = next(row.line for row, name in named.values() if name == pair[1])
        raise DataError(f"{path} line {line}: {pair[1]!r} and {pair[0]!r} differ only in upper "
                        "and lower case: write them in the same way")  # fmt: skip
    names = [*classes, *new]
    store.define(label_set, names)
    labels = {name: label for label, name in enumerate(names)}
    answers = {item: labels[name] for item, name in free.items()}
    before = store.num_labelled(label_set, list(answers))
    conflicts = [(item, kept) for item, kept in labelled.items() if named[item][1] != names[kept]]
    contradictions = store.add_labels(label_set, list(answers), list(answers.values()))
    corrections = {item: label for item, _, label in contradictions if item in correctable}
    corrected = store.correct(label_set, list(corrections), list(corrections.values()))
    conflicts += [(item, kept) for item, kept, _ in contradictions if item not in corrected]
    refused = [Refused(named[i][0].line, i, names[kept], named[i][1]) for i, kept in conflicts]
    known = len(named) - (len(answers) - before) - len(corrected) - len(refused)
    return Counts(len(answers) - before, known, len(rows) - len(filled),
                  sorted(refused), tuple(new), len(corrected))  # fmt: skip


def _read(path: Path) -> list[Row]:
    """Read the lines of a CSV file.

    Commas, semicolons or tabs may separate columns, and UTF-16 and byte order marks are accepted,
    because spreadsheets write such files.
    """
    try:
        content = path.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError)
                  else "it is not UTF-8 text: save it as CSV UTF-8")  # fmt: skip
        raise DataError(f"{path} cannot be read: {reason}") from error
    first, _, rest = text.partition("\n")
    skipped = int(first.lower().startswith("sep="))  # Excel writes the separator in such a line
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


def _check_items(path: str | Path, rows: list[Row], known_items: Container[str] | None) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        if not row.item:
            raise DataError(f"{path} line {row.line} has a label but no item")
        if known_items is not None and row.item not in known_items:
            raise DataError(
                f"{path} line {row.line}: there is no item {row.item!r}; "
                "a spreadsheet may have changed the id: format the column item as text"
            )
        earlier = first.setdefault(row.item, row)
        if earlier.label != row.label:
            raise DataError(
                f"{path} lines {earlier.line} and {row.line} label the same item "
                f"{earlier.label!r} and {row.label!r}: keep one of these lines"
            )


def _class_name(path: str | Path, row: Row, classes: tuple[str, ...]) -> str:
    if len(row.label) > MAX_NAME_LENGTH or not row.label.isprintable():
        raise DataError(f"{path}: the label before or in line {row.line} is not a class name: it "
                        f"has several lines or more than {MAX_NAME_LENGTH} characters; is a quote "
                        "missing?")  # fmt: skip
    if row.label in classes:
        return row.label
    matches = [name for name in classes if name.casefold() == row.label.casefold()]
    if len(matches) == 1:
        return matches[0]
    if not row.label.isdecimal() or all(name.isdecimal() for name in classes):
        return row.label
    if int(row.label) < len(classes):
        return classes[int(row.label)]
    raise DataError(
        f"{path} line {row.line}: {row.label} is none of the classes 0 to {len(classes) - 1}"
    )


def _differ_only_in_case(names: list[str]) -> tuple[str, str] | None:
    """Return the first two names that differ only in upper and lower case, or None."""
    first_names: dict[str, str] = {}
    for name in names:
        if (other := first_names.setdefault(name.casefold(), name)) != name:
            return other, name
    return None


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (10**9, name)
