"""Puts a data set's training labels into the label store, in a process of its own.

    python -m jaxlabel.data.importing --data=SPEC --store=URL [--data_dir=DIR] [--folder_labels ...]

So the process that trains never holds them: it calls `in_subprocess`, and asks the oracle.
"""

import argparse
import os
import subprocess
import sys

from jaxlabel import data
from jaxlabel.data.dataset import DEFAULTS, Dataset, Options
from jaxlabel.errors import DataError, JaxlabelError, StoreError

STORE = "JAXLABEL_IMPORT_STORE"


def import_labels(spec: str, url: str, options: Options = DEFAULTS) -> list[str]:
    """A line for each label that contradicts one of the same image; all others are stored.

    Importing again changes nothing.

    Raises:
      DataError: the images or labels, those to test with included, cannot be read.
      StoreError: the store cannot be used, or holds other classes.
    """
    from jaxlabel.oracle import LabelStore

    dataset = data.load(spec, options)
    labels = data.load_train_labels(spec, options)
    if len(dataset.test_images):
        # Opened and dropped: a corrupt file is to be found now, not after the training.
        data.load_test_labels(spec, options)
    classes = dataset.classes or tuple(map(str, range(int(labels.max()) + 1)))
    store = LabelStore(url)
    store.define(dataset.name, classes)
    refused = store.add_labels(dataset.name, dataset.train_items, labels)
    names = store.classes(dataset.name)
    return [
        f"contradiction: {places(dataset, c.item)} is labelled {names[c.kept]} and "
        f"{names[c.refused]}; {names[c.kept]} is kept"
        for c in refused
    ]


def places(dataset: Dataset, item: str) -> str:
    """Where an item is among the training images: `train 438 = train 8275`, or its files."""
    found = (dataset.train_items == item).nonzero()[0].tolist()
    return " = ".join(dataset.paths[i] if dataset.paths else f"train {i}" for i in found)


def in_subprocess(spec: str, url: str, options: Options = DEFAULTS) -> list[str]:
    """What `import_labels` returns, from a process that ends before this function returns.

    Raises:
      DataError, StoreError: as `import_labels`.
    """
    settings = [f"--{name}={value}" for name, value in options._asdict().items()]
    command = [sys.executable, "-m", "jaxlabel.data.importing", f"--data={spec}", *settings]
    # by the environment: who lists the processes of a machine is not to see a password
    environment = os.environ | {STORE: url}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        kind = DataError if done.returncode == DataError.exit_code else StoreError
        raise kind(last.removeprefix("jaxlabel: "))
    return done.stdout.splitlines()


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or the error's own after one line on standard error."""
    parser = argparse.ArgumentParser(prog="jaxlabel.data.importing", allow_abbrev=False)
    parser.add_argument("--data", required=True)
    parser.add_argument("--store", default=os.environ.get(STORE), required=STORE not in os.environ)
    for name, default in DEFAULTS._asdict().items():
        if isinstance(default, bool):
            parser.add_argument(f"--{name}", type=_truth, nargs="?", const=True, default=default)
        else:
            parser.add_argument(f"--{name}", type=type(default), default=default)
    given = parser.parse_args(arguments)
    options = Options(**{name: getattr(given, name) for name in Options._fields})
    try:
        for line in import_labels(given.data, given.store, options):
            print(line)
    except JaxlabelError as error:
        print(f"jaxlabel: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    return 0


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


if __name__ == "__main__":
    sys.exit(main())
