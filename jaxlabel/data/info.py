"""Describe a data set in a text, and draw a sheet of sample images."""

import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxlabel import data
from jaxlabel.data import identity
from jaxlabel.data.dataset import DEFAULTS, Dataset, Options, Source
from jaxlabel.data.sheet import sample_sheet
from jaxlabel.data.tables import names_in_source
from jaxlabel.errors import NoLabels, UsageError

MAX_LINES = 10  # how many groups of identical images are listed before a line "and 7 more"

Labels = dict[str, np.ndarray]  # labels by split; only splits that have labels are included


def info(spec: str, options: Options = DEFAULTS, sheet: str | None = None) -> str:
    """Describe a data set in a text of several lines, and write a PNG file of sample images.

    The text gives the numbers of images, shapes, classes, identical images, and identical images
    with different labels.

    Args:
      spec: the data set, as `digits`, `idx:DIR`, `npz:FILE`, `folder:DIR` or `tfds:NAME`.
      options: the settings for reading images.
      sheet: the path of the PNG file. None: NAME_samples.png in the current folder, or in the
        folder for temporary files if the current folder is read-only or inside the folder of
        images.

    Raises:
      UsageError: the name `sheet` does not end in ".png".
      DataError: the images or the labels cannot be read.
    """
    if sheet and Path(sheet).suffix.lower() != ".png":
        raise UsageError(f"--sheet={sheet}: the sheet of samples is a PNG file, so its name ends "
                         "in .png")  # fmt: skip
    start = time.perf_counter()
    source = data.read(spec, options)
    dataset = data.dataset_of(spec, source, options)
    dataset = dataset._replace(paths=names_in_source(spec, dataset.paths))
    labels: Labels = {}
    if data.has_labels(spec, options):
        labels["train"] = data.load_train_labels(spec, options)
        if len(dataset.test_images):
            with contextlib.suppress(NoLabels):
                labels["test"] = data.load_test_labels(spec, options)
    lacks_test_labels = bool(labels) and len(dataset.test_images) > 0 and "test" not in labels
    seconds = time.perf_counter() - start
    classes = dataset.classes or (data.label_names(spec, options) if labels else ())
    file = Path(sheet).expanduser() if sheet else _default_path(spec, f"{dataset.name}_samples.png")
    file.parent.mkdir(parents=True, exist_ok=True)
    sample_sheet(dataset.train_images, labels.get("train"), classes).save(file, "PNG")
    return "\n".join([
        f"{dataset.name} ({spec}), kind {dataset.kind}, read in {seconds:.1f} s",
        *dataset.notes,
        *_image_lines(dataset),
        *_class_lines(labels, classes),
        *(["         the test images have no labels"] if lacks_test_labels else []),
        *_duplicate_lines(dataset, source, labels, classes),
        f"samples  {file}",
    ])  # fmt: skip


def _default_path(spec: str, name: str) -> Path:
    """Return the default path of the PNG file of sample images, NAME_samples.png.

    It lies in the current folder, or in the folder for temporary files if the current folder is
    read-only or inside the folder of the data set's images.
    """
    kind, _, location = spec.partition(":")
    folder = Path(location).expanduser().resolve()
    inside = kind == "folder" and Path.cwd().is_relative_to(folder)
    elsewhere = inside or not os.access(".", os.W_OK)
    return Path(tempfile.gettempdir() if elsewhere else "") / name


def _image_lines(dataset: Dataset) -> list[str]:
    train, test = dataset.train_images, dataset.test_images
    height, width, channels = train.shape[1:]
    shape = f"{width} x {height}, {'grey' if channels == 1 else 'rgb'}, {train.dtype}"
    values = f"pixels from {train.min()} to {train.max()}, mean {train.mean():.1f}"
    megabytes = (train.nbytes + test.nbytes) / 1e6
    return [
        f"train    {len(train):>7,} images",
        f"test     {len(test):>7,} images",
        f"shape    {shape}; {values}; {megabytes:,.1f} MB in memory",
    ]


def _class_lines(labels: Labels, classes: Sequence[str]) -> list[str]:
    if not labels:
        names = f"{len(classes)}: {', '.join(classes)}" if classes else "unknown"
        return [f"classes  {names}", "labels   the source brings none"]
    counts = {
        split: np.bincount(values, minlength=len(classes)) for split, values in labels.items()
    }
    width = max(map(len, classes))
    lines = [
        f"  {label:>3}  {name if name != str(label) else '':<{width}}"
        + "".join(f"  {count[label]:>7,} {split}" for split, count in counts.items())
        for label, name in enumerate(classes)
    ]
    return [f"classes  {len(classes)}", *lines]


def _duplicate_lines(
    dataset: Dataset, source: Source, labels: Labels, classes: Sequence[str]
) -> list[str]:
    items = source.train.items.tolist()
    test_items = [] if source.test is None else source.test.items.tolist()

    def image_name(split: str, index: int) -> str:
        name = f"{split} {index}"
        if split == "train" and dataset.paths:
            name += f" {dataset.paths[index]}"
        return f"{name} ({classes[labels[split][index]]})" if split in labels else name

    def group_line(group: list[int]) -> str:
        names = " = ".join(image_name("train", index) for index in group[:MAX_LINES])
        more = len(group) - MAX_LINES
        return f"{names} and {more:,} more" if more > 0 else names

    within = [group_line(group) for group in identity.duplicates(items)]
    between = [
        f"{image_name('test', j)} = {image_name('train', i)}"
        for i, j in identity.shared_items(items, test_items)
    ]
    lines = _titled_list("identical images within train", within)
    lines += _titled_list("test images that are also in train", between)
    if "train" in labels:
        groups = identity.contradictions(items, labels["train"])
        contradictory = [group_line(group) for group in groups]
        lines += _titled_list("identical training images with different labels", contradictory)
    return lines


def _titled_list(title: str, lines: list[str]) -> list[str]:
    more = [f"  and {len(lines) - MAX_LINES:,} more"] if len(lines) > MAX_LINES else []
    return [f"{title}: {len(lines) or 'none'}", *(f"  {line}" for line in lines[:MAX_LINES]), *more]
