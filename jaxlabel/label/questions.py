"""A question of the labelling page, and the reader of the questions that a run has written."""

from pathlib import Path
from typing import Any, NamedTuple

from jaxlabel import files
from jaxlabel.label.project import Project
from jaxlabel.oracle.person import read_rows
from jaxlabel.runlog.workdir import ASKED

RUN, WAIT = "run", "ahead"  # values of Question.source


class Question(NamedTuple):
    """A picture that a person is asked to label.

    Attributes:
      item: the id of the picture.
      purpose: "train", or "certify" if the label is for an audit (an estimate of the accuracy from
        randomly drawn pictures). The page gives no help with an audit's pictures.
      source: RUN if the run waits for the label, WAIT if the page asks ahead of the run.
    """

    item: str
    purpose: str
    source: str


def read_questions(path: Path, project: Project) -> list[Question]:
    """Read a run's questions.csv and return the pictures that people should label, as questions.

    Args:
      path: the file questions.csv.
      project: the run and its pictures. Lines about pictures that it does not have are left out.

    Raises:
      DataError: a person has changed the file so that it cannot be read.
    """
    items = [row.item for row in read_rows(path) if row.item in project.rows]
    # After questions.csv, because the run writes the purposes before it.
    asked: dict[str, Any] = files.read_json(project.workdir / ASKED) or {}
    return [
        Question(item, "certify" if asked.get(item) == "certify" else "train", RUN)
        for item in items
    ]
