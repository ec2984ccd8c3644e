"""A question of the page, and the questions that a run has written down."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

from jaxlabel import files
from jaxlabel.experiment.account import ASKED
from jaxlabel.label.project import Project

RUN, WAIT = "run", "ahead"  # where a question comes from


class Question(NamedTuple):
    """A picture to be labelled.

    Attributes:
      purpose: "train", or "certify" for an audit, which is shown without any help.
      source: RUN if the run asks for it, WAIT if it is labelled ahead.
    """

    item: str
    purpose: str
    source: str


def read_questions(path: Path, project: Project) -> list[Question]:
    """Return the questions of a run's questions.csv with the purpose of each."""
    asked: dict[str, Any] = files.read_json(project.workdir / ASKED) or {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("item") in project.rows]
    purposes = {item: kind if kind == "certify" else "train" for item, kind in asked.items()}
    return [Question(row["item"], purposes.get(row["item"], "train"), RUN) for row in rows]
