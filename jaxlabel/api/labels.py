"""Convert labels that the user gives (names or integers) to class names of the label store."""

from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxlabel import files
from jaxlabel.data.dataset import Dataset
from jaxlabel.errors import DataError, UsageError, did_you_mean
from jaxlabel.runlog.workdir import LABEL_KINDS


class Vocabulary:
    """The class names of a run, and the rules that map the labels a user gives to class names.

    If `classes` has strings, a label is one of these names or its position: with `classes=["cat",
    "dog"]`, the labels "dog" and 1 name the same class. With `classes=["1", "0"]`, the label 1
    could name either class, and is refused. If `classes` has integers, a label is one of these
    integers. If `classes` is None, every new label is a new class; all labels must then be strings,
    or all must be integers. The label -1 is then refused: it stands for no label in scikit-learn.

    Args:
      classes: the names of all classes in order; None if any label may occur.

    Raises:
      UsageError: `classes` is no list, is empty, repeats a name, or has strings as well as
        integers.
    """

    def __init__(self, classes: Sequence[Any] | None = None):
        self.names: tuple[str, ...] = ()
        self.fixed = classes is not None
        self.integers: bool | None = None  # None: no label was seen yet
        if classes is None:
            return
        if isinstance(classes, str) or not isinstance(classes, Iterable):
            raise UsageError(f"classes is {classes!r}: it takes the names of the classes, such as "
                             "range(10) or ['cat', 'dog']")  # fmt: skip
        _check_has_order(classes, "classes")
        given = list(classes)
        if not given:
            raise UsageError("classes is empty: it takes the names of all classes")
        kinds = {_is_integer(name) for name in given}
        wrong = [name for name in given if not (_is_integer(name) or isinstance(name, str))]
        if wrong or len(kinds) != 1:
            raise UsageError("classes takes all names as strings, or all as integers"
                             + (f", not {wrong[0]!r}" if wrong else ""))  # fmt: skip
        self.names, self.integers = tuple(str(name) for name in given), kinds.pop()
        for name in self.names:
            if not name.strip() or self.names.count(name) > 1:
                raise UsageError(f"classes holds {name!r} more than once, or it is empty")

    def read(self, labels: Any, count: int, what: str) -> list[str]:
        """Check the labels that a user gave, and return the class name of each label.

        If a label is not valid, the vocabulary stays unchanged.

        Args:
          labels: a list or an array of labels.
          count: the number of labels that `labels` must have.
          what: the name of the argument in the user's code, for error messages.

        Raises:
          UsageError: `labels` is not a list of labels (such as a dict or a set), or their number is
            not `count`.
          DataError: a label is missing (None, NaN, pandas.NA or ""), is neither a string nor an
            integer, or is not one of the classes.
        """
        values = _as_list(labels, what)
        if len(values) != count:
            raise UsageError(f"{what} holds {len(values)} labels for {count} images: it takes one "
                             "label for each image, in the same order")  # fmt: skip
        integers = self.integers
        names = []
        for place, value in enumerate(values):
            kind = _label_is_integer(value, f"{what}[{place}]")
            if not self.fixed:
                if integers not in (None, kind):
                    raise DataError(f"{what}[{place}] is {value!r}: labels are all integers or all "
                                    "strings")  # fmt: skip
                integers = kind
            names.append(self._name(value, kind, f"{what}[{place}]"))
        if not self.fixed and integers is not None:
            self.integers = integers
        return names

    def _name(self, value: Any, is_integer: bool, where: str) -> str:
        name = str(value)
        if name == "-1" and not self.fixed:
            raise DataError(f"{where} is {value!r}, which stands for no label: answer for the "
                            "image, or leave it out of the images; if a class is called -1, name "
                            "all classes in classes=")  # fmt: skip
        is_position = self.fixed and is_integer and not self.integers
        if is_position and 0 <= value < len(self.names):
            if name in self.names and self.names[value] != name:
                raise DataError(f"{where} is {value!r}: the class {name!r}, or that at position "
                                f"{value}, {self.names[value]!r}? Give the labels as strings, or "
                                "the classes as integers")  # fmt: skip
            return self.names[value]
        if is_position and name in self.names:
            raise DataError(f"{where} is {value!r}, an integer, but the classes are strings: give "
                            f"the label as {name!r}, or the classes as integers")  # fmt: skip
        if not self.fixed or (name in self.names and not is_position):
            return name
        known = f"0 to {len(self.names) - 1} or " if is_position else ""
        hint = did_you_mean(name, self.names)
        raise DataError(f"{where} is {value!r}, which is no class{hint}: it takes {known}one of "
                        f"{_short(self.names)}")  # fmt: skip

    def typed(self, names: Iterable[str]) -> tuple[Any, ...]:
        """Convert class names to the type of the labels that the user gave: integers or strings.

        If a name is no integer, all are strings: another run may have added it to a shared store.
        """
        texts = tuple(names)
        try:
            return tuple(map(int, texts)) if self.integers else texts
        except ValueError:
            return texts

    def save(self, workdir: Path) -> None:
        """Write the classes, and whether labels are integers, to a file in the work directory."""
        if self.integers is not None and not (workdir / LABEL_KINDS).exists():
            named = {"classes": list(self.names)} if self.fixed else {}
            files.write_json(workdir / LABEL_KINDS, {"integers": self.integers} | named)

    def recall(self, workdir: Path) -> None:
        """Read what `save` wrote in a work directory: the classes, and the type of the labels.

        The type is whether labels are integers. If there is no file, it stays unknown until the
        first label.

        Args:
          workdir: the work directory of the run.

        Raises:
          UsageError: the run in the work directory has other classes, or labels of another type.
        """
        there = files.read_json(workdir / LABEL_KINDS)
        if there is None:
            return
        before, integers = there.get("classes", []), bool(there["integers"])
        if self.fixed and before and before != list(self.names):
            raise UsageError(f"the run in {workdir} has {_counted(before)}, and not "
                             f"{_counted(self.names)}: give the same classes in the same order, or "
                             "another workdir")  # fmt: skip
        if self.fixed and integers != self.integers:
            kinds = ("integers", "strings") if integers else ("strings", "integers")
            raise UsageError(f"the classes of the run in {workdir} are {kinds[0]}, and those given "
                             f"now are {kinds[1]}: give the same ones, or another workdir"
                             )  # fmt: skip
        if before:
            self.names, self.fixed = tuple(before), True
        self.integers = integers


def is_na(value: Any) -> bool:
    """Return True if a value is `pandas.NA`, the missing value of pandas.

    A comparison with it is neither true nor false. Its type is recognised by name, because pandas
    need not be installed.
    """
    return type(value).__name__ == "NAType"


def first_places(dataset: Dataset, items: Iterable[str]) -> Int[np.ndarray, "n"]:
    """Return, for each item id, the index of the first training image with this id.

    Images with equal pixels have equal ids.
    """
    place: dict[str, int] = {}
    for index, item in enumerate(dataset.train_items.tolist()):
        place.setdefault(item, index)
    return np.array([place[item] for item in items], np.int64)


def _short(names: Sequence[str]) -> str:
    """Return the names as a text, which leaves out some in the middle if there are many."""
    return ", ".join(names if len(names) <= 12 else [*names[:10], "...", names[-1]])


def _counted(names: Sequence[str]) -> str:
    """Return a text with the number of classes and their names, such as "2 classes (cat, dog)"."""
    return f"{len(names)} class{'' if len(names) == 1 else 'es'} ({_short(names)})"


def _check_has_order(labels: Any, what: str) -> None:
    """Raise a UsageError for a dict, of which only the keys would be read, and for a set."""
    if isinstance(labels, Mapping | Set):
        raise UsageError(f"{what} is a {type(labels).__name__}: it takes a list or an array, whose "
                         "order says which label belongs to which image")  # fmt: skip


def _as_list(labels: Any, what: str) -> list[Any]:
    _check_has_order(labels, what)
    if isinstance(labels, str | bytes) or not hasattr(labels, "__len__"):
        raise UsageError(f"{what} is {type(labels).__name__}: it takes a list or an array of "
                         "labels")  # fmt: skip
    if hasattr(labels, "shape") and len(labels.shape) != 1:
        raise UsageError(f"{what} has the shape {tuple(labels.shape)}: it takes one label for each "
                         "image, as a list or an array of one axis")  # fmt: skip
    return list(labels) if isinstance(labels, list | tuple) else np.asarray(labels).tolist()


def _label_is_integer(value: Any, where: str) -> bool:
    """Return True if the label `value` is an integer and False if it is a string.

    Raises:
      DataError: the label is missing, empty, or of another type.
    """
    if isinstance(value, list | tuple | np.ndarray):
        raise DataError(f"{where} has the type {type(value).__name__}: a label is one class name "
                        "or one integer; np.argmax(labels, axis=1) turns one-hot rows into integers"
                        )  # fmt: skip
    is_missing = value is None or is_na(value) or (isinstance(value, float) and np.isnan(value))
    if is_missing or value == "":
        raise DataError(f"{where} is {value!r}: every image asked about needs a label")
    if _is_integer(value):
        return True
    if isinstance(value, str):
        if not value.strip() or not value.isprintable():
            raise DataError(f"{where} is {value!r}: a class name is of printable characters")
        return False
    is_number = isinstance(value, bool | np.bool_ | float | np.floating)
    is_whole = is_number and value == value // 1
    hint = "; convert the array of labels with .astype(int)" if is_whole else ""
    raise DataError(f"{where} is {value!r}: a label is a class name or an integer{hint}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
