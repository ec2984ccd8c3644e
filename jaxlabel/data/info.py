"""What a data set holds, as a text for people, and a sheet of samples."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxlabel import data
from jaxlabel.data import identity
from jaxlabel.data.dataset import DEFAULTS, Dataset, Options, Source
from jaxlabel.data.sheet import samples_sheet

SHOWN = 10  # pairs of identical images, before "and 7 more"

Labels = dict[str, np.ndarray]  # of "train" and "test", where there are any


def info(spec: str, options: Options = DEFAULTS, sheet: str | None = None) -> str:
    """Counts, shapes, classes, identical images and contradicting labels, a line each.

    Also writes a sheet of samples, to NAME_samples.png when `sheet` says nothing else: here, or
    where temporary files are if here is among the images.

    Raises:
      DataError: the data set, its labels included, cannot be read.
    """
    start = time.perf_counter()
    source = data.read(spec, options)
    dataset = data.dataset_of(spec, source, options)
    labels: Labels = {}
    if data.has_labels(spec, options):
        labels["train"] = data.load_train_labels(spec, options)
        if len(dataset.test_images):
            labels["test"] = data.load_test_labels(spec, options)
    seconds = time.perf_counter() - start
    highest = max((int(found.max()) for found in labels.values()), default=-1)
    classes = dataset.classes or tuple(map(str, range(highest + 1)))
    file = Path(sheet).expanduser() if sheet else _beside(spec, f"{dataset.name}_samples.png")
    file.parent.mkdir(parents=True, exist_ok=True)
    samples_sheet(dataset.train_images, labels.get("train"), classes).save(file, "PNG")
    return "\n".join([
        f"{dataset.name} ({spec}), kind {dataset.kind}, read in {seconds:.1f} s",
        *_images(dataset),
        *_classes(labels, classes),
        *_identical(dataset, source, labels, classes),
        f"samples  {file}",
    ])  # fmt: skip


def _beside(spec: str, name: str) -> Path:
    """A file of that name that is not in the folder of images, where it would be one of them."""
    kind, _, location = spec.partition(":")
    folder = Path(location).expanduser().resolve()
    inside = kind == "folder" and Path.cwd().is_relative_to(folder)
    return Path(tempfile.gettempdir() if inside else "") / name


def _images(dataset: Dataset) -> list[str]:
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


def _classes(labels: Labels, classes: Sequence[str]) -> list[str]:
    if not labels:
        names = f"{len(classes)}: {', '.join(classes)}" if classes else "unknown"
        return [f"classes  {names}", "labels   the source brings none"]
    counts = {s: np.bincount(found, minlength=len(classes)) for s, found in labels.items()}
    width = max(map(len, classes))
    lines = [
        f"  {label:>3}  {name if name != str(label) else '':<{width}}"
        + "".join(f"  {count[label]:>7,} {split}" for split, count in counts.items())
        for label, name in enumerate(classes)
    ]
    return [f"classes  {len(classes)}", *lines]


def _identical(
    dataset: Dataset, source: Source, labels: Labels, classes: Sequence[str]
) -> list[str]:
    items = source.train.items.tolist()
    test_items = [] if source.test is None else source.test.items.tolist()

    def place(split: str, index: int) -> str:
        name = f"{split} {index}"
        if split == "train" and dataset.paths:
            name += f" {dataset.paths[index]}"
        return f"{name} ({classes[labels[split][index]]})" if split in labels else name

    within = [" = ".join(place("train", i) for i in g) for g in identity.duplicates(items)]
    between = [
        f"{place('test', j)} = {place('train', i)}" for i, j in identity.shared(items, test_items)
    ]
    lines = _listed("identical images within train", within)
    lines += _listed("test images that are also in train", between)
    if "train" in labels:
        found = identity.contradictions(items, labels["train"])
        told = [" = ".join(place("train", i) for i in group) for group in found]
        lines += _listed("identical training images with different labels", told)
    return lines


def _listed(title: str, lines: list[str]) -> list[str]:
    more = [f"  and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return [f"{title}: {len(lines) or 'none'}", *(f"  {line}" for line in lines[:SHOWN]), *more]
