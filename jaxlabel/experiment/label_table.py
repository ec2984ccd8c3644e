"""Answer a run's questions from the user's own SQL table, which the setting `labels` names."""

import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxlabel.config import RunConfig
from jaxlabel.data.dataset import Dataset
from jaxlabel.data.tables import names_in_source
from jaxlabel.errors import DataError, UsageError
from jaxlabel.experiment.answers import Answers, RunAgain
from jaxlabel.oracle import LabelStore

if TYPE_CHECKING:
    from jaxlabel.oracle.table import LabelTable

PERSON = "the table"  # the name under which the label store records pictures without a label
PROBED = 1000  # how many ids are looked up, without their labels, before the run begins


def open_answers(settings: RunConfig, dataset: Dataset, say: Callable[[str], None]) -> Answers:
    """Open the table that the setting `labels` names, and return functions that read its labels.

    Args:
      settings: the configuration of the run.
      dataset: the images, in the order of the run's first start.
      say: a function that shows a message to the user.

    Raises:
      UsageError: the setting is not valid, or the table has no row for any looked-up picture.
      StoreError: the database cannot be used.
    """
    from jaxlabel.oracle.table import has_rows, open_table

    table = open_table(settings.labels)
    id_of: dict[str, str] = {}

    def answer(store: LabelStore, dataset: Dataset, items: list[str]) -> None:
        _answer(table, id_of, store, dataset, items)

    weakref.finalize(answer, table.close)  # closes the connection when the run has ended
    ids = picture_ids(settings.data, dataset, table.match)
    probed = [ids[i] for i in np.linspace(0, len(ids) - 1, min(PROBED, len(ids))).astype(int)]
    if not has_rows(table, probed):
        raise UsageError(f"{table.place} has no row for any of {len(probed)} pictures, such as "
                         f"{table.key.key} = {probed[0]!r}. Say in config.labels what "
                         "the column holds: &match=path, &match=stem (the file's name without its "
                         "ending) or &match=number (its position)")  # fmt: skip
    if not table.is_indexed:
        say(f"{table.place} has no index that begins with {table.key.key}: each question may read "
            "the whole table")  # fmt: skip
    items = dataset.train_items.tolist()
    id_of.update(reversed(list(zip(items, ids, strict=True))))  # of copies, the first counts
    return Answers(answer=answer)


def picture_ids(spec: str, dataset: Dataset, match: str) -> list[str]:
    """Return the id of each training picture in the user's table.

    >>> images, items = np.zeros((1, 8, 8, 1), np.uint8), np.array(["0f3a"])
    >>> dataset = Dataset("shop", "unknown", (), images, items, images[:0], ("shop/a/b.png",))
    >>> [picture_ids("folder:shop", dataset, match) for match in ("path", "stem", "number")]
    [['a/b.png'], ['b'], ['0']]

    Args:
      spec: the data set, such as "folder:DIR".
      dataset: the images.
      match: "path" (the file's path relative to the folder, inside the archive, or as written in
        a table of pictures), "stem" (the file's name without folder and extension) or "number" (the
        position among the training pictures, from 0).

    Raises:
      UsageError: the pictures are not files, so that they have no path and no stem.
    """
    if match == "number":
        return list(map(str, range(len(dataset.train_items))))
    if not dataset.paths:
        raise UsageError(f"the pictures of {spec} have no file names: add match=number to "
                         "config.labels")  # fmt: skip
    prefix, _, location = spec.partition(":")
    paths = list(names_in_source(spec, dataset.paths))
    if prefix in ("folder", "zip", "tar"):
        root = str(Path(location).expanduser()) if prefix == "folder" else location
        paths = [os.path.relpath(path, root) for path in paths]
    return [Path(path).stem for path in paths] if match == "stem" else paths


def _answer(
    table: "LabelTable", id_of: dict[str, str], store: LabelStore, dataset: Dataset,
    items: Sequence[str],
) -> None:  # fmt: skip
    """Read the labels of pictures from the user's table, and write them to the label store.

    A picture without a label is recorded like one for which a person answered "not sure": nothing
    is charged, and the run leaves it out.

    Args:
      table: the user's table.
      id_of: the id in the table of each item (the id of an image in the label store).
      store: the label store.
      dataset: the images.
      items: the items whose labels the run needs.

    Raises:
      RunAgain: a label names a class that the run did not know, or a picture has no label.
      DataError: a label is no class name, or no picture of the run's choice has a label.
    """
    from jaxlabel.oracle.named import store_labels
    from jaxlabel.oracle.table import read_labels
    from jaxlabel.oracle.votes import NOT_SURE, vote

    found = read_labels(table, [id_of[item] for item in items])
    known = [item for item in items if id_of[item] in found]
    missing = [item for item in items if id_of[item] not in found]
    was_known = np.isinf(store.costs(dataset.name, items)).any()
    is_new, _ = store_labels(store, dataset.name, known, [found[id_of[item]] for item in known])
    if missing:
        lacks = (f"{table.place} has no label for {len(missing)} of {len(items)} pictures, such as "
                 f"{table.key.key} = {id_of[missing[0]]!r}")  # fmt: skip
        if was_known:  # the run has nothing else to ask
            raise DataError(f"{lacks}: add labels, then start again in another workdir")
        vote(store, dataset.name, missing, PERSON, NOT_SURE)
        raise RunAgain(f"{lacks}; they are not charged and left out")
    if is_new:
        names = store.classes(dataset.name)
        raise RunAgain(f"{len(names)} {'classes are' if len(names) > 1 else 'class is'} known now")
