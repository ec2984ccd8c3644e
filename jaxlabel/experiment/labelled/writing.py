"""Write the labels of a run as a table, as folders of images, or as tasks for Label Studio."""

import io
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel import files
from jaxlabel.data.folder import file_of
from jaxlabel.data.listing import SPLITS, SYSTEM
from jaxlabel.errors import UsageError
from jaxlabel.experiment.labelled import labelstudio
from jaxlabel.experiment.labelled.rows import ImageLabels, LabelRow, collect

COLUMNS = ("file", "item", "label", "probability", "known", "annotator", "time")
TABLES = {"csv": "labels.csv", "jsonl": "labels.jsonl", "parquet": "labels.parquet"}
# the bytes with which a table of labels begins
STARTS = {"csv": ",".join(COLUMNS).encode(), "jsonl": b'{"file": ', "parquet": b"PAR1"}
FOLDERS = {"folders": "labelled", "imagefolder": "imagefolder", "labelstudio": "labelstudio"}
FORMATS = (*TABLES, *FOLDERS)


def write_labels(
    workdir: Path, form: str, out: str = "", *, sure: str = "0.5", copy: bool = False
) -> str:
    """Write the label of each training image of a run to a file or folder.

    Args:
      workdir: the directory of a run that has started to buy labels.
      form: the format: one of the names in `FORMATS`, such as "csv" or "folders".
      out: the file to write, or the new directory for "folders", "imagefolder" and "labelstudio";
        an empty string for a default name in `workdir`.
      sure: the probability below which a predicted label is marked as "not sure", as a text.
      copy: True to copy image files, False to link to them.

    Returns:
      A message for the user.

    Raises:
      UsageError: an argument is wrong, a package is missing, or the run has no labels.
    """
    if form not in FORMATS:
        raise UsageError(f"--format={form}: it takes one of {', '.join(FORMATS)}")
    try:
        share = float(sure)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:  # false for nan too
        raise UsageError(f"--sure={sure}: it takes a probability from 0 to 1")
    target = Path(out) if out else workdir / (TABLES | FOLDERS)[form]
    if form in FOLDERS:
        _check_empty(target)
    else:
        files.check_replaceable(target, f"labels in the format {form}", STARTS[form])
    if form == "parquet":
        _import_parquet()
    labelled = collect(workdir, share)
    if form in TABLES:
        files.write(target, table(form, labelled.shown_rows()))
    else:
        place = files.real_path(target)

        def fill(new: Path) -> None:
            if form == "labelstudio":
                _labelstudio(labelled, new, place, copy)
            else:
                {"folders": write_folders, "imagefolder": _imagefolder}[form](labelled, new, copy)

        files.replace_folder(place, fill, _check_empty)
    counts = {known: sum(row.known == known for row in labelled.rows)
              for known in ("bought", "predicted", "not sure")}  # fmt: skip
    shown = ", ".join(f"{count} {known}" for known, count in counts.items() if count)
    others = labelled.num_of_others
    shared = f"; the run's account bought {others} of them before or after the run"
    return (f"{target}: {len(labelled.rows)} images, {shown or 'no labels yet'}"
            f"{shared if others else ''}")  # fmt: skip


def _check_empty(target: Path) -> None:
    """Raise a UsageError if the path exists and is not an empty directory."""
    real = files.real_path(target)
    if real.exists() and (not real.is_dir() or any(real.iterdir())):
        raise UsageError(f"--out={target} is not an empty directory: name a new one")


def table(form: str, rows: Sequence[LabelRow]) -> bytes:
    """Return the bytes of a file with a row per image and the columns `COLUMNS`.

    Args:
      form: "csv", "jsonl" (JSON Lines) or "parquet".
      rows: the labels of the images.

    Raises:
      UsageError: the format is Parquet, and pyarrow is not installed.
    """
    records = [_record(row) for row in rows]
    if form == "csv":
        return files.csv_text([COLUMNS, *(record.values() for record in records)]).encode()
    if form == "jsonl":
        return b"".join(files.json_line(record) for record in records)
    arrow, parquet = _import_parquet()
    sink = io.BytesIO()
    kinds = {name: arrow.float64() if name == "probability" else arrow.string() for name in COLUMNS}
    schema = arrow.schema(list(kinds.items()))
    parquet.write_table(arrow.Table.from_pylist(records, schema=schema), sink)
    return sink.getvalue()


def _record(row: LabelRow) -> dict[str, Any]:
    """Return the values of a row by the names of the columns, in their order."""
    rounded = row._replace(probability=round(row.probability, 6))
    return {name: getattr(rounded, name) for name in COLUMNS}


def _import_parquet() -> tuple[Any, Any]:
    """Return the modules pyarrow and pyarrow.parquet.

    Raises:
      UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "the format parquet needs the package pyarrow: pip install 'jaxlabel[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet


def write_folders(labelled: ImageLabels, target: Path, copy: bool) -> None:
    """Write a folder per class that contains the images of this class.

    The spec `folder:DIR` with the setting `folder_labels` reads the images and labels again.

    Args:
      labelled: the images and their labels; images without a label are left out.
      target: the directory in which the folders are made.
      copy: True to copy image files, False to link to them.
    """
    names = folder_names(labelled.classes)
    for row in labelled.rows:
        if row.label:
            place = target / names[row.label] / picture_name(row)
            put_picture(labelled, row, place, copy)


def _imagefolder(labelled: ImageLabels, target: Path, copy: bool) -> None:
    """Write images and metadata.csv in the layout "imagefolder" of Hugging Face's `datasets`.

    `datasets.load_dataset("imagefolder", data_dir=DIR)` reads it.
    """
    lines: list[list[Any]] = [["file_name", *COLUMNS[1:]]]
    for row in labelled.rows:
        name = f"images/{picture_name(row)}"
        put_picture(labelled, row, target / name, copy)
        _, *cells = _record(row).values()  # without the file
        lines.append([name, *cells])
    files.write(target / "metadata.csv", files.csv_text(lines))


def _labelstudio(labelled: ImageLabels, part: Path, target: Path, copy: bool) -> None:
    """Write tasks.json, which Label Studio imports, and labels.xml, its labelling interface.

    An image that is not a separate file is written as a PNG file to the sub-folder images. The file
    root.txt has the folder that Label Studio must be allowed to read.

    Args:
      labelled: the images and their labels.
      part: the directory to write.
      target: the absolute path that `part` gets afterwards, which the files name.
      copy: True to copy image files, False to name them where they are.
    """
    places = []
    for row in labelled.rows:
        if row.file and not copy and os.path.isfile(row.file):
            places.append(os.path.abspath(row.file))
        else:
            name = Path("images") / picture_name(row)
            put_picture(labelled, row, part / name, copy)
            places.append(str(target / name))
    root = os.path.commonpath([os.path.dirname(place) for place in places])
    links = [labelstudio.link(os.path.relpath(place, root)) for place in places]
    tasks = labelstudio.tasks(labelled.shown_rows(), links, labelled.name)
    files.write(part / "tasks.json", json.dumps(tasks, indent=1, ensure_ascii=False))
    files.write(part / "labels.xml", labelstudio.interface(labelled.classes))
    files.write(part / "root.txt", root + "\n")


def folder_names(classes: Sequence[str]) -> dict[str, str]:
    """Return a valid and unique folder name for each class.

    Characters that a path cannot contain become "_", and names are cut to 200 bytes. If two names
    become equal, a number is added. A class such as "train" gets the folder "class train": when the
    folders are read again, "train" may be taken for the training split, and other names of
    `jaxlabel.data.listing` for folders of the operating system.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for name in classes:
        plain = re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", name).strip(". ")
        plain = plain.encode()[:200].decode(errors="ignore").strip(". ") or "class"
        if plain.lower() in SPLITS.keys() | SYSTEM:
            plain = f"class {plain}"
        unique, number = plain, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{plain} {number}"
        taken.add(unique.casefold())
        names[name] = unique
    return names


def picture_name(row: LabelRow) -> str:
    """Return a unique file name for an image: its index, followed by the name of its file.

    Of a long name only the last 200 bytes are used, because file systems allow 255. An image that
    is not a separate file gets the extension .png.
    """
    own = Path(row.file).name
    if file_of(row.file) is None:
        own = f"{Path(row.file).stem or 'image'}.png"
    return f"{row.number:06d}_{own.encode()[-200:].decode(errors='ignore')}"


def put_picture(labelled: ImageLabels, row: LabelRow, place: Path, copy: bool) -> None:
    """Link or copy the file of an image to the path `place`.

    An image that is not a separate file is written there as a PNG file.

    Args:
      labelled: all images of the run.
      row: the image.
      place: the path to write.
      copy: True to copy the file, False to link to it.
    """
    from PIL import Image

    place.parent.mkdir(parents=True, exist_ok=True)
    file = file_of(row.file)
    if file is None:  # for example, an image in an archive
        pixels = np.asarray(labelled.images[row.number])
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(place)
    elif copy:
        shutil.copy2(file, place)
    else:
        place.symlink_to(os.path.abspath(file))
