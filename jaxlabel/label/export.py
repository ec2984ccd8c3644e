"""Export the results: a table of all pictures, or a folder of pictures per class."""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxlabel.errors import UsageError
from jaxlabel.files import write_errors
from jaxlabel.label.desk import Desk
from jaxlabel.label.records import Records
from jaxlabel.oracle.votes import NOT_SURE


class Row(NamedTuple):
    """The result for one picture.

    Attributes:
      item: the id of the picture.
      file: the path of the picture; empty if pictures are not separate files.
      label: the class name; empty if neither a person nor the model has given one.
      source: "person" or "model" (who gave the label), "not sure" (somebody could not tell, and the
        model has no prediction) or "none".
      probability: the model's probability of the class; None if the model did not give the label.
    """

    item: str
    file: str
    label: str
    source: str
    probability: float | None


def rows(desk: Desk, records: Records) -> Iterator[Row]:
    """Yield the label of each picture, and whether a person or the model gave it.

    The pictures are in the order of the data set. The label is the one that a person gave, or else
    the model's prediction.

    Args:
      desk: the questions and answers of the labelling page.
      records: the files that the run has written, such as the model's predictions.
    """
    project, snapshot, pool = desk.project, desk.snapshot(fresh=True), records.pool()
    names = project.store.classes(project.label_set)
    guesses: dict[int, tuple[str, float]] = {}
    if pool is not None and pool.probabilities.shape[1] <= len(names):
        best, sure = pool.probabilities.argmax(axis=1), pool.probabilities.max(axis=1)
        pairs = zip(pool.rows.tolist(), best.tolist(), sure.tolist(), strict=True)
        guesses = {row: (names[k], share) for row, k, share in pairs}
    unsure = {v.item for v in snapshot.votes if v.class_name == NOT_SURE}
    for row, item in enumerate(project.items):
        file = project.dataset.paths[row] if project.dataset.paths else ""
        if item in snapshot.labels:
            yield Row(item, file, snapshot.labels[item], "person", None)
        elif row in guesses:
            label, share = guesses[row]
            yield Row(item, file, label, "model", round(share, 4))
        else:
            yield Row(item, file, "", "not sure" if item in unsure else "none", None)


def as_csv(found: Iterator[Row]) -> str:
    """Return the results for all pictures as a CSV table with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(["" if value is None else value for value in row] for row in found)
    return text.getvalue()


def as_json_lines(found: Iterator[Row]) -> str:
    """Return the results for all pictures as text with one JSON object per line."""
    return "".join(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in found)


def as_folders(found: Iterator[Row], target: Path, copies: bool = False) -> int:
    """Write a folder per class with links to its pictures, and return the number of links.

    Pictures without a label are left out. An earlier export in `target` is replaced.

    Args:
      found: the results for the pictures.
      target: the folder to write.
      copies: whether to copy the pictures instead of linking to them.

    Raises:
      UsageError: the pictures are not separate files.
      JaxlabelError: the folder cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    count = 0
    with write_errors(target):
        for row in found:
            if not row.label:
                continue
            if not row.file:
                raise UsageError("these pictures are not separate files: export a table instead")
            source = Path(row.file).resolve()
            folder = part / folder_name(row.label)
            folder.mkdir(parents=True, exist_ok=True)
            place = folder / f"{row.item[:8]}_{source.name}"
            if place.exists() or place.is_symlink():
                place = folder / f"{row.item[:8]}_{count}_{source.name}"
            if copies:
                shutil.copyfile(source, place)
            else:
                os.symlink(source, place)
            count += 1
        part.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    return count


def folder_name(class_name: str) -> str:
    """Return a name for the folder of a class, which is safe on common file systems.

    Separators and other special characters and leading dots become "_", and long names are cut.
    """
    safe = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", class_name).strip()
    safe = re.sub(r"^\.+", "_", safe)
    return safe.encode()[:200].decode("utf-8", "ignore") or "_"
