"""Find a run's label store and account, print its ledger, and import a person's labels."""

import contextlib
import functools
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxlabel import data, files, oracle
from jaxlabel.data.dataset import Dataset, Options
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.oracle import LabelStore, import_answers, ledger_text
from jaxlabel.runlog.workdir import RUN

QUESTIONS = "questions.csv"
CONTRADICTIONS = "contradictions.csv"  # all files of identical images with different labels
PICTURES = "questions"  # the folder of queried images that are no files of their own
ASKED = "asked.json"  # ids of the images that the run has queried


def store_url(url: str, workdir: Path) -> str:
    """Return the absolute URL of a run's label store.

    Args:
      url: the setting `store`. Empty stands for the file labels.db in `workdir`. A relative SQLite
        path is taken from the directory in which the run was first started.
      workdir: the run's directory.

    Raises:
      UsageError: the URL names an in-memory store, which would be lost with the process.
    """
    from sqlalchemy import URL

    if not url:
        default = URL.create("sqlite", database=str(workdir.resolve() / "labels.db"))
        return default.render_as_string(hide_password=False)
    path = url.removeprefix("sqlite:///")
    if url.startswith("sqlite:") and (
        path == url or path.startswith((":memory:", "?")) or not path
    ):
        raise UsageError(f"config.store={url} is kept in memory: name a file, sqlite:///FILE.db")
    if path == url or os.path.isabs(path):
        return url
    recorded = files.read_json(workdir / RUN)
    return recorded["store"] if recorded else f"sqlite:///{os.path.abspath(path)}"


def name(account: str, workdir: Path, dataset: Dataset, url: str) -> str:
    """Return the name of the account that pays for the run's labels, and record it in run.json.

    Without a configured name, a unique one is made once and kept in run.json. So a run that is
    started again finds its ledger, and another run with equal settings pays for its own labels.

    Args:
      account: the setting `account`; may be empty.
      workdir: the run's directory.
      dataset: the images of the run.
      url: the label store's URL, as `store_url` returns it.
    """
    recorded = files.read_json(workdir / RUN)
    if recorded is None:
        chosen = account or f"{dataset.name}-{workdir.resolve().name}-{uuid.uuid4().hex[:8]}"
        # The default store moves with the directory, so its path is not recorded.
        is_default = url == store_url("", workdir)
        recorded = {
            "account": chosen, "label_set": dataset.name, "store": "" if is_default else url
        }  # fmt: skip
        files.write_json(workdir / RUN, recorded, private=True)  # the URL may hold a password
    return str(recorded["account"])


def forget_unused(workdir: Path, store: LabelStore, payer: str) -> None:
    """Delete run.json of a run that failed before it bought a label, so that its directory is free.

    Args:
      workdir: the run's directory.
      store: the run's label store.
      payer: the run's account.
    """
    # A failure of this clean-up must not replace the run's own error.
    with contextlib.suppress(JaxlabelError):
        if not (
            store.ledger(payer) or (workdir / ASKED).exists() or (workdir / "checkpoints").exists()
        ):
            (workdir / RUN).unlink(missing_ok=True)


def ledger(workdir: Path, rows: bool = False) -> str:
    """Return the table of the labels that a run bought, as text.

    Args:
      workdir: the run's directory.
      rows: True to add a line for each label.

    Raises:
      UsageError: the run has not asked for a label yet.
    """
    recorded = _read(workdir)
    return ledger_text(LabelStore(recorded["store"]), recorded["account"], rows)


def answer(workdir: Path, labels: str | None = None) -> tuple[str, str]:
    """Import a person's labels from a CSV file into the run's label store.

    The label of an image that this run has queried can be corrected until an account buys it.

    Args:
      workdir: the run's directory.
      labels: a CSV file with the columns item and label; None stands for WORKDIR/questions.csv.

    Returns:
      A message that says how many labels were stored, and a message that lists the refused
      corrections, which is empty if there are none.

    Raises:
      UsageError: there are no questions to answer.
      DataError: the file is malformed or names an image that is not in the run's data set; or it
        names an image that was not queried, and the run's images cannot be read. Nothing is stored
        then.
    """
    recorded = _read(workdir)
    path = Path(labels) if labels else workdir / QUESTIONS
    store = LabelStore(recorded["store"])
    if not labels and not path.exists():
        raise UsageError(f"there is no {path}: jaxlabel train with that --workdir writes it where "
                         "it asks a person")  # fmt: skip
    items = Items(workdir)
    counts = import_answers(store, recorded["label_set"], path, items, items.asked)
    lines = [f"{counts.added} answers stored, {counts.known} were there, {counts.blank} are open"]
    if counts.corrected:
        lines.append(f"{counts.corrected} answers put right")
    if counts.blank_words:
        lines.append(f"taken as open: cells that hold {' or '.join(counts.blank_words)}")
    if counts.respelt:
        shown = [f"{written!r} as {name!r}" for written, name in counts.respelt[:5]]
        more = f" and {len(counts.respelt) - 5} more" if len(counts.respelt) > 5 else ""
        lines.append(f"taken as a class in another spelling: {', '.join(shown)}{more}")
    if counts.new_classes:
        lines.append(f"new classes: {', '.join(counts.new_classes)}")
    refused = [f"line {r.line} says {r.answer}, it is {r.kept}" for r in counts.refused]
    more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
    refusal = (f"{path}: {', '.join(refused[:3])}{more}: refused, a label that was bought or that "
               "somebody else gave stays; all other answers are stored")  # fmt: skip
    return "\n".join(lines), refusal if refused else ""


class Items:
    """The set of image ids that a person may label: all training images of a run.

    The images are read only when an id is looked up that the run has not queried. That happens
    with a file of labels from another source, or when a spreadsheet has changed an id.

    Attributes:
      asked: the ids of the images that the run has queried.
    """

    def __init__(self, workdir: Path):
        self._workdir = workdir
        self.asked = set(files.read_json(workdir / ASKED) or ())

    def __contains__(self, item: object) -> bool:
        return item in self.asked or item in self._all

    @functools.cached_property
    def _all(self) -> set[str]:
        settings = files.read_json(self._workdir / "config.json")
        if settings is None:
            raise UsageError(f"{self._workdir} has lost its config.json, which names the data set")
        options = Options(**{name: settings[name] for name in Options._fields if name in settings})
        return set(map(str, data.load(settings["data"], options).train_items))


def write_questions(workdir: Path, items: Sequence[str], paths: Sequence[str]) -> Path:
    """Write the questions.csv that a person fills in, record its ids, and return its path.

    Args:
      workdir: the run's directory.
      items: the ids of the images to be labelled.
      paths: the file of each image; "" for an image without one.
    """
    asked = files.read_json(workdir / ASKED) or {}
    files.write_json(workdir / ASKED, asked | dict.fromkeys(map(str, items), 1))
    oracle.write_questions(workdir / QUESTIONS, items, paths)
    return workdir / QUESTIONS


def write_pictures(workdir: Path, dataset: Dataset, items: Sequence[str]) -> dict[str, str]:
    """Write queried images that are no files of their own as PNG, so that a person can see them.

    Returns:
      The path of the PNG file in WORKDIR/questions/, by id.
    """
    import io

    from PIL import Image

    positions = {item: index for index, item in enumerate(dataset.train_items.tolist())}
    paths = {}
    for item in items:
        if item in positions:
            image = dataset.train_images[positions[item]]
            stream = io.BytesIO()
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "PNG")
            path = workdir / PICTURES / f"{item}.png"
            files.write(path, stream.getvalue(), durable=False)
            paths[item] = str(path)
    return paths


def _read(workdir: Path) -> dict[str, Any]:
    """Return the content of run.json, with the absolute URL of the label store.

    Raises:
      UsageError: the run has not asked for a label yet.
    """
    recorded = files.read_json(workdir / RUN)
    if recorded is None:
        raise UsageError(f"{workdir} has asked for no label yet")
    return recorded | {"store": store_url(recorded["store"], workdir)}
