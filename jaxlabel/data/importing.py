"""Import a data set's training labels into the label store, in a separate process.

The process that trains a model calls `in_subprocess` and then buys labels from the oracle, so that
labels that were not bought are never in its memory. The separate process is started as `python -m
jaxlabel.data.importing`, and reads the arguments of `import_labels` from its standard input.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxlabel import data, files
from jaxlabel.data import archived, listing, tables
from jaxlabel.data.dataset import DEFAULTS, Dataset, Options
from jaxlabel.errors import DataError, JaxlabelError, NoLabels, StoreError

MAX_LINES = 10  # how many images with contradictory labels have a line each
MAX_NAMES = 3  # how many identical images are named in a line


def import_labels(
    spec: str, url: str, options: Options = DEFAULTS, full: str = "", *, only_compare: bool = False
) -> list[str]:
    """Copy a data set's training labels to the label store, the database that runs use.

    If identical images have different labels, only the first label is stored, and the others are
    called contradictory. So are labels that differ from a label in the store. Importing a data set
    a second time changes nothing.

    Args:
      spec: the data set, as `digits`, `idx:DIR`, `npz:FILE`, `folder:DIR` or `tfds:NAME`.
      url: the SQL URL of the label store.
      options: the settings for reading images.
      full: the path of a CSV file to write, with a line for each training image that has
        contradictory labels; an empty string to write none.
      only_compare: True to compare the labels with those in the store, and to store nothing. Of
        identical images only the first is compared, because an import stores only its label.

    Returns:
      Messages for the user: one for each image with contradictory labels, but at most 10, and one
      that says how many more there are. Unless `only_compare` is set, one more message says so if
      the test images have no labels.

    Raises:
      DataError: the images, the training labels or the test labels cannot be read, or only some of
        the test images have a label.
      StoreError: the store cannot be used, or has other classes for this data set.
    """
    from jaxlabel.oracle import LabelStore, votes

    dataset = data.load(spec, options)
    dataset = dataset._replace(paths=tables.names_in_source(spec, dataset.paths))
    labels = data.load_train_labels(spec, options)
    has_test_labels = True
    if len(dataset.test_images):
        # Read the test labels only to find a corrupt file now rather than after the training.
        try:
            data.load_test_labels(spec, options)
        except NoLabels:
            has_test_labels = False
    names_here = dataset.classes or data.label_names(spec, options)[: int(labels.max()) + 1]
    store = LabelStore(url)
    if not only_compare:
        store.define(dataset.name, in_order_of(store.classes(dataset.name), names_here))
        names = store.classes(dataset.name)
        positions = np.array([names.index(name) for name in names_here])
        costs = None if dataset.costs is None else dataset.costs.tolist()
        store.add_labels(dataset.name, dataset.train_items, positions[labels], costs)
    items = dataset.train_items.tolist()
    kept = votes.known_labels(store, dataset.name, items)
    given = [names_here[label] for label in labels]
    first: dict[str, str] = {}  # the label of the first of identical images, which an import stores
    refused: dict[str, list[str]] = {}
    for item, name in zip(items, given, strict=True):
        first.setdefault(item, name)
        if kept.get(item, name) != name:
            refused.setdefault(item, []).append(name)
    if only_compare:
        refused = {item: others for item, others in refused.items() if first[item] != kept[item]}
    if refused and full:
        _write_contradictions(Path(full), dataset, given, {item: kept[item] for item in refused})
    lines = [
        f"contradiction: {image_names(dataset, item)} is labelled {kept[item]} and "
        f"{_names_with_counts(others)}; {kept[item]} is kept"
        for item, others in list(refused.items())[:MAX_LINES]
    ]
    if len(refused) > MAX_LINES:
        lines.append(f"and {len(refused) - MAX_LINES:,} more images have contradictory labels")
    if full and (len(refused) > MAX_LINES or any("more)" in line for line in lines)):
        lines.append(f"all contradictory labels are in {full}")
    if only_compare and lines:
        lines.append("the label store keeps the labels that it had before: to train on those of "
                     "the data set, name another store (config.store)")  # fmt: skip
    if not (only_compare or has_test_labels):
        lines.append("the test images have no labels: no test accuracy will be measured")
    return lines


def _names_with_counts(names: Sequence[str]) -> str:
    """Return names of classes as text, with a count if a class occurs more than once.

    For example, "cat, dog (2 times)".
    """
    counts = Counter(names).items()
    return ", ".join(name if n == 1 else f"{name} ({n:,} times)" for name, n in counts)


def _write_contradictions(
    path: Path, dataset: Dataset, given: Sequence[str], kept: Mapping[str, str]
) -> None:
    """Write a CSV file with a line for each training image whose id has contradictory labels.

    Args:
      path: the file.
      dataset: the images. Identical images have the same id; labels contradict each other if
        identical images differ in them.
      given: the class name of each training image in the data set.
      kept: the class name in the label store, by the id, of images with contradictory labels.
    """
    rows = [["item", "image", "label", "kept"]]
    for index, item in enumerate(dataset.train_items.tolist()):
        if item in kept:
            image = dataset.paths[index] if dataset.paths else f"train {index}"
            rows.append([item, image, given[index], kept[item]])
    files.write(path, files.csv_text(rows), durable=False)


def in_order_of(stored: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names of a data set in the order in which the label store must have them.

    The order is unchanged unless all names are numbers. Then the stored names come first, in their
    order, and new names follow. So the parts of a data set with numbered classes may be imported
    one after the other.

    Args:
      stored: the class names that the label store already has.
      names: the class names of the data set to import.
    """
    if all(name.isdecimal() for name in [*stored, *names]):
        return (*stored, *(name for name in names if name not in stored))
    return tuple(names)


def image_names(dataset: Dataset, item: str) -> str:
    """Return a text that names the training images with a given id; identical images share an id.

    An image is named by its file, or by its index: "train 438 = train 8275". The text names three
    images and says how many more there are.
    """
    indices = (dataset.train_items == item).nonzero()[0].tolist()
    shown = [dataset.paths[i] if dataset.paths else f"train {i}" for i in indices[:MAX_NAMES]]
    more = f" (and {len(indices) - MAX_NAMES:,} more)" if len(indices) > MAX_NAMES else ""
    return f"{' = '.join(shown)}{more}"


def label_files(spec: str) -> list[tuple[str, int, int]]:
    """Return the path, size and modification time of each local file that may hold labels.

    For `folder:DIR` the sub-folders are listed instead: their names are the labels, and moving a
    picture changes their time. The list is empty for data sets without local files, such as
    `digits`.

    Args:
      spec: the data set, such as `folder:DIR`.
    """
    prefix, location = data.split_spec(spec)
    if prefix in ("digits", "tfds"):
        return []
    paths = archived.shards(location) if prefix == "webdataset" else [Path(location).expanduser()]
    for folder, folders, names, is_repeated in listing.walk(paths[0]):
        if is_repeated:
            continue
        paths += [Path(folder, name) for name in (folders if prefix == "folder" else names)]
    listed = []
    for path in sorted(paths):
        with contextlib.suppress(OSError):  # a name may have vanished, or be a broken link
            stat = path.stat()
            listed.append((str(path), stat.st_size, stat.st_mtime_ns))
    return listed


def in_subprocess(
    spec: str, url: str, options: Options = DEFAULTS, full: str = "", *, only_compare: bool = False
) -> list[str]:
    """Run `import_labels` in a separate process, and return its messages for the user.

    So this process never has the labels in its memory. The arguments are those of `import_labels`.

    Raises:
      DataError: the images or labels cannot be read.
      StoreError: the store cannot be used, or has other classes for this data set.
    """
    # Other users of the machine can list the arguments of its processes, and the URL may contain a
    # password.
    order = {"spec": spec, "url": url, "full": full, "only_compare": only_compare,
             "options": options._asdict()}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "jaxlabel.data.importing"], input=json.dumps(order),
        capture_output=True, encoding="utf-8", errors="replace",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        kind = DataError if done.returncode == DataError.exit_code else StoreError
        raise kind(last.removeprefix("jaxlabel: "))
    return done.stdout.splitlines()


def main() -> int:
    """Import labels as the JSON object on standard input says, and return the exit code.

    The messages for the user are printed. On an error, one line is printed on standard error, and
    the error's exit code is returned.
    """
    order = json.load(sys.stdin)
    order["options"] = Options(**order["options"])
    try:
        for line in import_labels(**order):
            print(line)
    except JaxlabelError as error:
        print(f"jaxlabel: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
