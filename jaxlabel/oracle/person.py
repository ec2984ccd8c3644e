"""Exchange labels with a person through a CSV file: write the questions, import the answers.

A question is an image without a label, and its answer is the label that a person enters.
"""

import csv
import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from jaxlabel.errors import DataError
from jaxlabel.oracle import names as class_names
from jaxlabel.oracle import spreadsheet
from jaxlabel.oracle.names import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore

COLUMNS = ("item", "file", "label")
INDEX = "class_index"  # an optional column for answers by the index of a class


class Row(NamedTuple):
    """One line of the CSV file: an image, and the label that a person entered for it.

    Attributes:
      line: the number of the line in the file.
      item: the id of the image.
      file: the path of the image file; empty if images are not separate files.
      label: the class name that the person entered; empty if the line has no answer yet.
      class_index: the index of the class, if the file has the optional column class_index;
        otherwise empty.
      more: what the other columns of the file hold, class_index among them, by the column's name.
    """

    line: int
    item: str
    file: str
    label: str
    class_index: str = ""
    more: Mapping[str, str] = MappingProxyType({})


class Refused(NamedTuple):
    """An answer that was not stored, because the store keeps another label of the same image.

    Attributes:
      line: the number of the answer's line in the CSV file.
      item: the id of the image.
      kept: the name of the class that the store keeps.
      answer: the name of the class in the refused answer.
    """

    line: int
    item: str
    kept: str
    answer: str


class Counts(NamedTuple):
    """The result of importing answers from a CSV file.

    Attributes:
      added: the number of answers for images that had no label.
      known: the number of answers equal to the label in the store.
      blank: the number of lines without an answer.
      refused: the answers that contradict a label that the store keeps.
      new_classes: the names of the classes that were added.
      corrected: the number of answers that replaced an earlier answer.
      respelt: pairs (the answer as written, the class that it was taken for) whose spelling
        differs.
      blank_words: the words, such as "nan", that were taken for a missing answer.
    """

    added: int
    known: int
    blank: int
    refused: list[Refused]
    new_classes: tuple[str, ...]
    corrected: int = 0
    respelt: tuple[tuple[str, str], ...] = ()
    blank_words: tuple[str, ...] = ()


def write_questions(path: str | Path, items: Sequence[str], paths: Sequence[str] = ()) -> int:
    """Write a CSV file of images to label, and return the number of lines without a label.

    The columns are item, file and label. What a person has already entered in an existing file is
    kept: labels, indices of classes, and what further columns hold. A file that has all these lines
    already is not written again, so that the time of its last saving stays. The file begins with a
    byte-order mark, because Excel would read a file without one in a local encoding and destroy
    umlauts.

    Args:
      path: the CSV file to write.
      items: the ids of the images to label.
      paths: the image file of each item; empty if images are not separate files.

    Raises:
      DataError: an existing file is not a CSV file with these columns, or the file cannot be
        written.
    """
    target = Path(os.path.realpath(path))  # a link stays, and its file is written
    earlier = read_rows(target) if target.exists() else []
    by_item = {row.item: row for row in earlier if row.label or any(row.more.values())}
    more = list(dict.fromkeys(name for row in by_item.values() for name in row.more))
    files = list(map(str, paths)) or [""] * len(items)
    asked = dict(zip(map(str, items), files, strict=True))
    rows = [by_item.get(item, Row(0, item, "", ""))._replace(file=asked[item]) for item in asked]
    answered = [row for row in by_item.values() if row.label or row.class_index]
    rows += [row for row in answered if row.item not in asked]
    num_open = sum(not (row.label or row.class_index) for row in rows)
    lines, lines_there = [_cells(row, more) for row in rows], [_cells(row, more) for row in earlier]
    if target.exists() and lines == [line for line in lines_there if any(line)]:
        return num_open
    partial = target.with_name(target.name + ".partial")
    try:
        with partial.open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file).writerows([(*COLUMNS, *more), *lines])
        os.replace(partial, target)  # atomic: a killed process leaves no half-written file
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror}") from error
    return num_open


def _cells(row: Row, more: list[str]) -> tuple[str, ...]:
    """Return the cells of a line: those of the columns COLUMNS, then those of `more`."""
    return row.item, row.file, row.label, *(row.more.get(name, "") for name in more)


def import_answers(
    store: "LabelStore",
    label_set: str,
    path: str | Path,
    known_items: Container[str] | None = None,
    correctable: Container[str] = (),
) -> Counts:
    """Store the labels that a person entered in a CSV file, and return counts of what was stored.

    The file has the columns item (the id of an image) and label (the name of a class, never its
    index). A name that is new becomes a new class; other spellings of an existing class, or of one
    in an earlier line, are that class (see `jaxlabel.oracle.names`). An index is read only from an
    optional column class_index.

    An answer that differs from the stored label replaces it only if the item is in `correctable`
    and no run has bought the label; otherwise the answer is refused. All other answers are stored.
    If a line of the file is wrong, nothing is stored.

    Args:
      store: the label store (a database).
      label_set: the name of the label set (the classes and labels of one data set).
      path: the CSV file.
      known_items: the ids of all images. An id in the file that is not among them is an error. None
        if ids are not checked.
      correctable: the items whose stored label this person may correct.

    Raises:
      DataError: the file cannot be read, or one of its lines is wrong; the message says which.
    """
    classes = store.classes(label_set)
    rows = [row for row in read_rows(Path(path)) if row.label or row.class_index or row.item]
    rows = [_with_name(path, row, classes) for row in rows]
    filled = [row for row in rows if not class_names.is_blank(row.label, classes)]
    blank_words = {row.label for row in rows} - {row.label for row in filled}
    blank_words = {word for word in blank_words if class_names.clean(word)}
    _check_items(path, filled, known_items)
    spellings: dict[str, str] = {}  # of new classes: a name that is new in one line is known later
    named = {}
    for row in filled:
        name, fault = _class_name(path, row, classes), ""
        if name not in classes:
            name, fault = class_names.first_spelling(name, spellings)
        if fault:
            raise DataError(f"{path} line {row.line}: the label {row.label!r} is not stored: "
                            f"{fault}")  # fmt: skip
        named[row.item] = row, name
    labelled = store.bought(label_set, list(named))
    free = {item: name for item, (_, name) in named.items() if item not in labelled}
    new = sorted(set(free.values()) - set(classes), key=class_names.by_number)
    foreign = [name for name in new if not name.isascii()]
    for name in foreign:
        if other := class_names.wrongly_decoded(name, [twin for twin in foreign if twin != name]):
            line = max(row.line for row, given in named.values() if given in (name, other))
            raise DataError(f"{path} line {line}: {name!r} and {other!r} are one name in two "
                            "character encodings: save the file as CSV UTF-8")  # fmt: skip
    before = store.num_labelled(label_set, list(free))
    added = store.add_named(label_set, list(free), list(free.values()), correctable)
    names, corrected = store.classes(label_set), added.corrected
    kept = dict(added.kept) | {item: names[label] for item, label in labelled.items()}
    refused = [
        Refused(named[item][0].line, item, name, named[item][1])
        for item, name in kept.items()
        if name != named[item][1]
    ]
    known = len(named) - (len(free) - before) - len(corrected) - len(refused)
    respelt = {(row.label, name) for row, name in named.values() if row.label != name}
    return Counts(
        len(free) - before, known, len(rows) - len(filled), sorted(refused),
        tuple(name for name in new if name in names), len(corrected), tuple(sorted(respelt)),
        tuple(sorted(blank_words)),
    )  # fmt: skip


def read_rows(path: Path) -> list[Row]:
    """Return the lines of a CSV file of questions.

    Raises:
      DataError: the file cannot be read, is not CSV, or lacks the column item or label.
    """
    sheet = spreadsheet.open_csv(path, str(path))
    reader = sheet.rows
    try:
        written = [(name or "").strip() for name in reader.fieldnames or ()]
        names = [name.casefold() for name in written]
        more = {name: own for name, own in zip(names, written, strict=True) if name not in COLUMNS}
        more.pop("", None)  # a column without a name
        if any(names.count(name) != 1 for name in ("item", "label")) or names.count(INDEX) > 1:
            raise DataError(f"{path} needs a column called item and one called label, named in its "
                            "first line")  # fmt: skip
        reader.fieldnames = names
        rows = []
        for row in reader:
            item, file, label, index = ((row.get(name) or "").strip() for name in (*COLUMNS, INDEX))
            others = {own: (row.get(name) or "").strip() for name, own in more.items()}
            rows.append(Row(sheet.line, item, file, label, index, others))
        return rows
    except csv.Error as error:
        raise spreadsheet.fault(sheet, str(path), error) from error


def _check_items(path: str | Path, rows: list[Row], known_items: Container[str] | None) -> None:
    """Raise DataError if a line has no item, or two lines label an item differently.

    An item that is not in `known_items` is an error too, unless `known_items` is None.
    """
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


def _with_name(path: str | Path, row: Row, classes: tuple[str, ...]) -> Row:
    """Return a line of the CSV file in which an index of a class is replaced by the class name.

    The index is in the optional column class_index. A line without an index is returned unchanged.

    Raises:
      DataError: there is no class of that index, or the line's label is another class.
    """
    if class_names.is_blank(row.class_index, ()):
        return row
    if not classes:
        raise DataError(f"{path} line {row.line}: there are no classes yet, so the {INDEX} names "
                        "none: write the names of the classes in the column label")  # fmt: skip
    number = class_names.value(row.class_index)
    if number is None or len(number) > 9 or not 0 <= int(number) < len(classes):
        raise DataError(f"{path} line {row.line}: the {INDEX} {row.class_index[:40]!r} is none of "
                        f"0 to {len(classes) - 1}")  # fmt: skip
    name = classes[int(number)]
    written = class_names.clean(row.label)
    if not class_names.is_blank(written, classes) and (
        class_names.match(written, classes).name != name
    ):
        raise DataError(f"{path} line {row.line}: the label is {row.label!r}, but class {number} "
                        f"is {name!r}: keep one of them")  # fmt: skip
    return row._replace(label=name)


def _class_name(path: str | Path, row: Row, classes: tuple[str, ...]) -> str:
    """Return the class that the label of a line names, which may be a new class.

    Raises:
      DataError: the label cannot be a class name, or a person must decide which class it is.
    """
    name = class_names.clean(row.label)
    # the invisible joiners of some scripts are allowed
    is_printable = name != "" and name.translate(class_names.JOINERS).isprintable()
    if len(name) > MAX_NAME_LENGTH or set("\r\n") & set(row.label) or not is_printable:
        raise DataError(f"{path}: the label before or in line {row.line} is not a class name: it "
                        f"has several lines or more than {MAX_NAME_LENGTH} characters; is a quote "
                        "missing?")  # fmt: skip
    meant, fault = class_names.match(name, classes)
    if meant is None:
        raise DataError(f"{path} line {row.line}: the label {name!r} is not stored: {fault}")
    return meant
