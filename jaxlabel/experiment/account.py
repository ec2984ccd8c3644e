"""A run's label store and account: where they are, what was bought, and a person's answers."""

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
ASKED = "asked.json"


def store_url(url: str, workdir: Path) -> str:
    """The label store's URL; without one, a file in `workdir`.

    A relative path is one from where the run was first started.

    Raises:
      UsageError: a store in memory, which would end with the process.
    """
    from sqlalchemy import URL

    if not url:
        made = URL.create("sqlite", database=str(workdir.resolve() / "labels.db"))
        return made.render_as_string(hide_password=False)
    place = url.removeprefix("sqlite:///")
    if url.startswith("sqlite:") and (
        place == url or place.startswith((":memory:", "?")) or not place
    ):
        raise UsageError(f"config.store={url} is kept in memory: name a file, sqlite:///FILE.db")
    if place == url or os.path.isabs(place):
        return url
    there = files.read_json(workdir / RUN)
    return there["store"] if there else f"sqlite:///{os.path.abspath(place)}"


def name(account: str, workdir: Path, dataset: Dataset, url: str) -> str:
    """Whose ledger the run charges, written down before the first label is asked for.

    A name of the run's own is made up once, so that a run that is started again finds its ledger
    and another run, even with the same settings, never gets its labels for nothing.
    """
    there = files.read_json(workdir / RUN)
    if there is None:
        made = account or f"{dataset.name}-{workdir.resolve().name}-{uuid.uuid4().hex[:8]}"
        # the default store moves with the directory, so it is not written down
        own = url == store_url("", workdir)
        there = {"account": made, "label_set": dataset.name, "store": "" if own else url}
        files.write_json(workdir / RUN, there, private=True)  # the URL may hold a password
    return str(there["account"])


def forget_unused(workdir: Path, store: LabelStore, payer: str) -> None:
    """Lets a directory take other settings whose run was refused before it did anything."""
    with contextlib.suppress(JaxlabelError):  # that of the run is the one to tell
        if not (
            store.ledger(payer) or (workdir / ASKED).exists() or (workdir / "checkpoints").exists()
        ):
            (workdir / RUN).unlink(missing_ok=True)


def ledger(workdir: Path, rows: bool = False) -> str:
    """The tables of what the run in `workdir` bought; `rows` adds a line for each label."""
    here = _read(workdir)
    return ledger_text(LabelStore(here["store"]), here["account"], rows)


def answer(workdir: Path, labels: str | None = None) -> tuple[str, str]:
    """What the import of a person's answers did, in a line or two, and what of it was refused.

    An answer to what this run has asked may be put right as long as nobody has paid for it.

    Args:
      labels: a CSV file with the columns item and label; None: the run's own questions.csv.

    Raises:
      UsageError: there are no questions to answer.
      DataError: the file is wrong or names an image that the run has not; or it names one that
        was not asked about, and the run's images cannot be read. Nothing was stored.
    """
    here = _read(workdir)
    path = Path(labels) if labels else workdir / QUESTIONS
    store = LabelStore(here["store"])
    if not labels and not path.exists():
        raise UsageError(f"there is no {path}: jaxlabel train with that --workdir writes it where "
                         "it asks a person")  # fmt: skip
    items = Items(workdir)
    counts = import_answers(store, here["label_set"], path, items, items.asked)
    lines = [f"{counts.added} answers stored, {counts.known} were there, {counts.blank} are open"]
    if counts.corrected:
        lines.append(f"{counts.corrected} answers put right")
    if counts.new_classes:
        lines.append(f"new classes: {', '.join(counts.new_classes)}")
    refused = [f"line {r.line} says {r.answer}, it is {r.kept}" for r in counts.refused]
    more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
    said = (f"{path}: {', '.join(refused[:3])}{more}: refused, what is paid for or somebody else's "
            "stays; all other answers are stored")  # fmt: skip
    return "\n".join(lines), said if refused else ""


class Items:
    """The items that a person may label: what the run has asked about, and all its images.

    They are only read where a label is for something that was not asked about, as in a file of
    labels from elsewhere, or where a spreadsheet has changed an id.
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
            raise UsageError(f"{self._workdir} has lost its config.json, which says what is asked")
        options = Options(**{name: settings[name] for name in Options._fields if name in settings})
        return set(map(str, data.load(settings["data"], options).train_items))


def write_questions(
    workdir: Path, items: Sequence[str], paths: Sequence[str], purpose: str = "train"
) -> Path:
    """The file in which a person answers; that these items were asked about is remembered."""
    asked = files.read_json(workdir / ASKED) or {}
    files.write_json(workdir / ASKED, asked | dict.fromkeys(map(str, items), purpose))
    oracle.write_questions(workdir / QUESTIONS, items, paths)
    return workdir / QUESTIONS


def _read(workdir: Path) -> dict[str, Any]:
    here = files.read_json(workdir / RUN)
    if here is None:
        raise UsageError(f"{workdir} has asked for no label yet")
    return here | {"store": store_url(here["store"], workdir)}
