"""Import a data set's training labels into the label store, in a separate process.

    python -m jaxlabel.data.importing --data=SPEC --store=URL [--data_dir=DIR] [--folder_labels ...]

The process that trains a model calls `in_subprocess` and then buys labels from the oracle, so that
labels that were not bought are never in its memory.
"""

import argparse
import csv
import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxlabel import data, files
from jaxlabel.data.dataset import DEFAULTS, Dataset, Options, options_of
from jaxlabel.errors import DataError, JaxlabelError, StoreError

MAX_LINES = 10  # how many images with contradictory labels have a line each
MAX_NAMES = 3  # how many identical images are named in a line
STORE_VARIABLE = "JAXLABEL_IMPORT_STORE"


def import_labels(spec: str, url: str, options: Options = DEFAULTS, full: str = "") -> list[str]:
    """Copy a data set's training labels to the label store, the database that runs use.

    If identical images have different labels, only the first label is stored, and the others are
    called contradictory. Importing a data set a second time changes nothing.

    Args:
      spec: the data set, as `digits`, `idx:DIR`, `npz:FILE`, `folder:DIR` or `tfds:NAME`.
      url: the SQL URL of the label store.
      options: the settings for reading images.
      full: the path of a CSV file to write, with a line for each training image that has
        contradictory labels; an empty string to write none.

    Returns:
      Messages for the user: one for each image with contradictory labels, but at most 10, and one
      that says how many more there are.

    Raises:
      DataError: the images, the training labels or the test labels cannot be read.
      StoreError: the store cannot be used, or has other classes for this data set.
    """
    from jaxlabel.oracle import LabelStore

    dataset = data.load(spec, options)
    labels = data.load_train_labels(spec, options)
    if len(dataset.test_images):
        # Read the test labels only to find a corrupt file now rather than after the training.
        data.load_test_labels(spec, options)
    names_here = dataset.classes or data.label_names(spec, options)[: int(labels.max()) + 1]
    store = LabelStore(url)
    store.define(dataset.name, in_order_of(store.classes(dataset.name), names_here))
    names = store.classes(dataset.name)
    positions = np.array([names.index(name) for name in names_here])
    costs = None if dataset.costs is None else dataset.costs.tolist()
    contradictions = store.add_labels(dataset.name, dataset.train_items, positions[labels], costs)
    refused: dict[tuple[str, int], list[int]] = {}
    for contradiction in contradictions:
        others = refused.setdefault((contradiction.item, contradiction.kept), [])
        others.append(contradiction.refused)
    if refused and full:
        _write_contradictions(Path(full), dataset, positions[labels], names, dict(refused))
    lines = [
        f"contradiction: {image_names(dataset, item)} is labelled {names[kept]} and "
        f"{_names_with_counts(others, names)}; {names[kept]} is kept"
        for (item, kept), others in list(refused.items())[:MAX_LINES]
    ]
    if len(refused) > MAX_LINES:
        lines.append(f"and {len(refused) - MAX_LINES:,} more images have contradictory labels")
    if full and (len(refused) > MAX_LINES or any("more)" in line for line in lines)):
        lines.append(f"all contradictory labels are in {full}")
    return lines


def _names_with_counts(refused: Sequence[int], names: Sequence[str]) -> str:
    """Return the names of classes as text, with a count if a class occurs more than once.

    For example, "cat, dog (2 times)".

    Args:
      refused: the index of a class for each label that was not stored.
      names: the names of all classes.
    """
    counts = Counter(refused).items()
    return ", ".join(names[c] if n == 1 else f"{names[c]} ({n:,} times)" for c, n in counts)


def _write_contradictions(
    path: Path, dataset: Dataset, labels: np.ndarray, names: Sequence[str],
    refused: dict[tuple[str, int], list[int]],
) -> None:  # fmt: skip
    """Write a CSV file with a line for each training image whose id has contradictory labels.

    Identical images have the same id; labels contradict each other if identical images differ in
    them.
    """
    kept = dict(refused.keys())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["item", "image", "label", "kept"])
    for index, item in enumerate(dataset.train_items.tolist()):
        if item in kept:
            image = dataset.paths[index] if dataset.paths else f"train {index}"
            writer.writerow([item, image, names[labels[index]], names[kept[item]]])
    files.write(path, text.getvalue(), durable=False)


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


def in_subprocess(spec: str, url: str, options: Options = DEFAULTS, full: str = "") -> list[str]:
    """Run `import_labels` in a separate process, and return its messages for the user.

    So this process never has the labels in its memory.

    Args:
      spec: the data set, as `digits`, `idx:DIR`, `npz:FILE`, `folder:DIR` or `tfds:NAME`.
      url: the SQL URL of the label store, the database to which the labels are copied.
      options: the settings for reading images.
      full: the path of a CSV file for all contradictory labels; an empty string to write none.

    Raises:
      DataError: the images or labels cannot be read.
      StoreError: the store cannot be used, or has other classes for this data set.
    """
    settings = [f"--{name}={value}" for name, value in options._asdict().items()]
    command = [
        sys.executable, "-m", "jaxlabel.data.importing", f"--data={spec}", f"--full={full}",
        *settings,
    ]  # fmt: skip
    # The URL may contain a password. It is passed in the environment, because other users of the
    # machine can list the arguments of its processes.
    environment = os.environ | {STORE_VARIABLE: url, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", env=environment
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        kind = DataError if done.returncode == DataError.exit_code else StoreError
        raise kind(last.removeprefix("jaxlabel: "))
    return done.stdout.splitlines()


def main(arguments: list[str] | None = None) -> int:
    """Run the command `python -m jaxlabel.data.importing`, and return its exit code.

    It imports the labels of a data set and prints a line for each image with contradictory labels.
    On an error, it prints one line on standard error and returns the error's exit code.
    """
    parser = argparse.ArgumentParser(prog="jaxlabel.data.importing", allow_abbrev=False)
    parser.add_argument("--data", required=True)
    parser.add_argument("--full", default="")
    parser.add_argument(
        "--store", default=os.environ.get(STORE_VARIABLE), required=STORE_VARIABLE not in os.environ
    )
    for name, default in DEFAULTS._asdict().items():
        if isinstance(default, bool):
            parser.add_argument(f"--{name}", type=_boolean, nargs="?", const=True, default=default)
        else:
            parser.add_argument(f"--{name}", type=type(default), default=default)
    given = parser.parse_args(arguments)
    options = options_of(given)
    try:
        for line in import_labels(given.data, given.store, options, given.full):
            print(line)
    except JaxlabelError as error:
        print(f"jaxlabel: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    return 0


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


if __name__ == "__main__":
    sys.exit(main())
