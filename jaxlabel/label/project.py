"""Open what one labelling page works on: the pictures, the run's settings, store and account."""

import contextlib
import dataclasses
import io
import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import data, files, query
from jaxlabel.cache import digest
from jaxlabel.data.dataset import Dataset, options_of
from jaxlabel.data.folder import file_of
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.experiment import account, outside_features
from jaxlabel.experiment.opening import open_store, refuse_other_images
from jaxlabel.experiment.person_time import labels_in
from jaxlabel.experiment.run import settings_without_password
from jaxlabel.label.features import cover, gradient_features
from jaxlabel.methods import audit_planning, stopping_settings
from jaxlabel.oracle import Account, LabelStore
from jaxlabel.runlog import dataset_snapshot
from jaxlabel.runlog import workdir as workdirs

PAGE = "page"  # the folder of the page's files in the work directory
PATIENCE = 15.0  # seconds to wait until the child process of a killed page has ended


class Project(NamedTuple):
    """The pictures and the run that one labelling page serves.

    A row is the index of a training picture. An item is the id of a picture, the hash of its
    pixels; identical pictures are the same item.

    Attributes:
      settings: the configuration of the run's recipe.
      workdir: the run's work directory.
      dataset: the pictures.
      items: the item of each training picture.
      rows: a dict from each item to its first row.
      copies: the number of pictures that are the same item, by item.
      features: simple features of each picture (`gradient_features`), to compare pictures; or those
        from outside that the run learns from.
      first: the rows of the first pictures to label, chosen to cover the data set.
      store: the label store (a database).
      account: the name of the account whose budget pays for the run's labels.
      file_states: the size and the time of change of each picture's file at the start (see
        `file_state`); empty if the pictures have no names.
    """

    settings: Any
    workdir: Path
    dataset: Dataset
    items: list[str]
    rows: dict[str, int]
    copies: Counter[str]
    features: Float[np.ndarray, "n d"]
    first: list[int]
    store: LabelStore
    account: str
    file_states: Int[np.ndarray, "n 2"]

    @property
    def label_set(self) -> str:
        """Return the name under which the label store keeps the pictures' labels."""
        return self.dataset.name

    def payer(self) -> Account:
        """Return the account that pays, with the run's budget if that of the account is larger."""
        account = self.store.account(self.account)
        return account._replace(budget=min(self.settings.budget, account.budget))

    def duplicates(self) -> np.ndarray:
        """Return the rows (indices) of pictures that are identical to an earlier picture."""
        return np.setdiff1d(np.arange(len(self.items)), np.fromiter(self.rows.values(), int))

    def prices(self) -> np.ndarray:
        """Return the price of each picture's label, an array with a number per picture.

        The usual price is 1. The price is infinite if the data set has prices, the picture has no
        label, and a person answered "not sure" for it.
        """
        if self.dataset.costs is None:
            return np.ones(len(self.items))
        return self.store.costs(self.label_set, self.items)


def begin(settings: Any, workdir: Path) -> Project:
    """Read the pictures, and create the run in `workdir` or open the run that it has.

    The run's settings, label store and account are those that `jaxlabel train` would use.

    Raises:
      UsageError: the data has labels already, the budget could not certify the target, `workdir`
        has another run, or another process uses it.
      DataError: the pictures cannot be read.
      StoreError: the label store cannot be used.
    """
    options = options_of(settings)
    if settings.labels:
        raise UsageError("config.labels names a table that answers: use jaxlabel train, which "
                         "needs no person")  # fmt: skip
    with account.naming_directory(workdir, settings.data):
        if data.has_labels(settings.data, options):
            raise UsageError(
                f"{settings.data} has labels of its own: use jaxlabel train, which needs no person"
            )
        workdirs.check_is_run_directory(workdir)
        dataset = data.load(settings.data, options)
    if not settings.minutes and dataset.costs is None:
        audit_planning.check_target(settings, len(dataset.train_items), settings.budget)
    # The child process of a page that was killed holds the lock for another moment.
    lock = workdirs.wait_for_lock(workdir, PATIENCE if (workdir / PAGE).is_dir() else 0.0)
    try:
        defaults = dataclasses.asdict(type(settings)())
        workdirs.write_or_check_config(workdir, settings_without_password(settings), defaults)
        dataset = dataset_snapshot.in_first_order(dataset, settings.data, workdir)
        url = account.store_url(settings.store, workdir)
        store = open_store(url, dataset)
        refuse_other_images(store, dataset, workdir)
        payer = account.account_name(settings.account, workdir, dataset, url, settings.budget)
        store.open_account(payer, dataset.name, settings.budget)
    finally:
        os.close(lock)
    features = _page_features(settings, dataset, workdir)
    items = dataset.train_items.tolist()
    rows = {item: row for row, item in reversed(list(enumerate(items)))}
    states = np.array([file_state(path) for path in dataset.paths], np.int64).reshape(-1, 2)
    project = Project(
        settings, workdir, dataset, items, rows, Counter(items), features, [], store, payer, states
    )
    return project._replace(first=_stored_first_batch(project))


def file_state(path: str) -> tuple[int, int]:
    """Return the size of a file in bytes, and the time of its last change in nanoseconds.

    Both are -1 if there is no such file. `path` is a path as in `Dataset.paths`.
    """
    # `file_of` takes ten times as long as the rest, and only escaped names need it
    file = (file_of(path) or path) if "\\x" in path else path
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _stored_first_batch(project: Project) -> list[int]:
    """Return the first pictures to label: those that an earlier start chose, or a new choice.

    A new choice is stored for later starts. The list is empty if the run was begun by `jaxlabel
    train`, which has chosen its own first pictures.
    """
    path = project.workdir / PAGE / "first.json"
    kept = files.read_json(path)
    if kept is None:
        begun = (project.workdir / "checkpoints" / "asked_0").exists()
        chosen = [] if begun else first_batch(project)
        kept = {"items": [project.items[row] for row in chosen]}
        files.write_json(path, kept)
    return [project.rows[item] for item in kept["items"] if item in project.rows]


def first_batch(project: Project) -> list[int]:
    """Choose the rows (indices) of the first pictures to label; every call makes the same choice.

    The list is empty if the run's recipe has no setting `initial_labels`. The part of the budget
    that is reserved to certify an accuracy is left for later.
    """
    payer = project.payer()
    budget = payer.budget - project.store.spent(payer.name)
    largest, prices = query.highest_price(budget), project.prices()
    excluded = np.union1d(project.duplicates(), np.flatnonzero(prices > largest))
    num_affordable = query.num_in_budget(np.delete(prices, excluded), budget)
    wanted = min(getattr(project.settings, "initial_labels", 0), num_affordable)
    if isinstance(project.settings, stopping_settings.Settings) and project.settings.reserve:
        wanted = min(wanted, project.settings.num_to_train(num_affordable))
    if project.settings.minutes:
        wanted = min(wanted, max(1, int(labels_in(project.settings.minutes, 0.0, 0))))
    chosen_before = np.zeros(0, int)
    chosen = cover(project.features, wanted, chosen_before, excluded, seed=project.settings.seed)
    return [int(row) for row in chosen[np.cumsum(prices[chosen]) <= largest]]


def _page_features(settings: Any, dataset: Dataset, workdir: Path) -> Float[np.ndarray, "n d"]:
    """Return the features by which the page compares pictures, from an earlier start if possible.

    These are the features from outside if the run learns from such, else simple features of the
    pictures, which are kept in the page's folder.

    Args:
      settings: the configuration of the run.
      dataset: the pictures, in the order of the run.
      workdir: the run's work directory.
    """
    if settings.outside_features:
        return outside_features.raw_features(settings.outside_features, dataset)
    path, mark = workdir / PAGE / "features.npz", digest(dataset.train_items)
    try:
        with path.open("rb") as file, np.load(file) as kept:
            if str(kept["mark"]) == mark:
                return np.asarray(kept["features"])
    except (OSError, *files.DAMAGED_NPZ):
        pass  # there are none yet, or a damaged file, which is written again
    features = gradient_features(dataset.train_images)
    content = io.BytesIO()
    np.savez(content, mark=mark, features=features)
    with contextlib.suppress(JaxlabelError):  # without space, the next start computes them again
        files.write(path, content.getvalue(), durable=False)
    return features
