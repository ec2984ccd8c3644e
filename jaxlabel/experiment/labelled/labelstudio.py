"""Write labelling tasks for Label Studio, and read the labels in its JSON export.

Label Studio (https://labelstud.io) is a web application in which people label images. It shows
predicted labels as first suggestions. Its export formats "JSON" and "JSON-MIN" contain the data of
each task, including the id of the image.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from jaxlabel import files
from jaxlabel.errors import DataError
from jaxlabel.experiment.labelled.rows import BOUGHT, LabelRow

CHOICE, IMAGE = "label", "image"  # the names of the controls in the labelling interface


def link(path: str) -> str:
    """Return the address at which Label Studio serves an image file of this machine.

    Args:
      path: the file, relative to Label Studio's setting LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
    """
    return f"/data/local-files/?d={quote(path)}"


def interface(classes: Sequence[str]) -> str:
    """Return the XML text of Label Studio's labelling page: an image and a choice of one class."""
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in classes)
    return (f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}"/>\n'
            f'  <Choices name="{CHOICE}" toName="{IMAGE}" choice="single">\n{choices}\n'
            f"  </Choices>\n</View>\n")  # fmt: skip


def tasks(rows: Sequence[LabelRow], links: Sequence[str], version: str) -> list[dict[str, Any]]:
    """Return a labelling task for Label Studio per image, as a list of dicts.

    A label that was bought becomes an annotation of the task, and a predicted label a suggestion.

    Args:
      rows: the images with their labels.
      links: the address of each image.
      version: the name that Label Studio shows for the model.
    """
    made = []
    for row, address in zip(rows, links, strict=True):
        task: dict[str, Any] = {
            "data": {IMAGE: address, "item": row.item, "file": row.file, "known": row.known}
        }
        result = [{"from_name": CHOICE, "to_name": IMAGE, "type": "choices",
                   "value": {"choices": [row.label]}}]  # fmt: skip
        if row.known == BOUGHT:
            task["annotations"] = [{"result": result}]
        elif row.label:
            score = round(row.probability, 6)
            task["predictions"] = [{"model_version": version, "score": score, "result": result}]
        made.append(task)
    return made


def answers(export: Any) -> list[tuple[str, str, str]]:
    """Return the labels in an export of Label Studio, as a tuple (image id, file, label) per task.

    The label is an empty string if nobody has labelled the image, or if the task was skipped. If a
    task has several annotations, the one marked as ground truth counts, else the latest.

    Args:
      export: the content of the file, from the export format JSON or JSON-MIN.

    Raises:
      DataError: it is no such export, or a task lacks the id of its image.
    """
    if not isinstance(export, list) or not all(isinstance(task, dict) for task in export):
        raise DataError("it is no list of tasks: choose the export format JSON")
    return [_answer(number, task) for number, task in enumerate(export, 1)]


def _answer(number: int, task: dict[str, Any]) -> tuple[str, str, str]:
    data = task.get("data", task)  # JSON-MIN has no "data": everything is in one object
    if not isinstance(data, dict) or not isinstance(data.get("item"), str):
        raise DataError(f"task {number} has no data.item, the id of its image: export the tasks "
                        "that jaxlabel labels --format=labelstudio wrote")  # fmt: skip
    file = str(data.get("file", ""))
    if "annotations" not in task:
        return data["item"], file, _one_choice(number, task.get(CHOICE, ""))
    done = [entry for entry in task["annotations"] if not entry.get("was_cancelled")]
    if not done:
        return data["item"], file, ""
    best = max(done, key=lambda entry: (bool(entry.get("ground_truth")),
                                        str(entry.get("updated_at", ""))))  # fmt: skip
    for part in best.get("result", []):
        if part.get("type") == "choices":
            return data["item"], file, _one_choice(number, part["value"]["choices"])
    return data["item"], file, ""


def _one_choice(number: int, choices: Any) -> str:
    """Return the class that a person chose in a task of Label Studio; an empty string if none.

    Args:
      number: the number of the task, for the error message.
      choices: the class as text, a list with the class, or a dict {"choices": [...]} with such a
        list.

    Raises:
      DataError: the person chose several classes.
    """
    if isinstance(choices, dict):
        choices = choices.get("choices", [])
    if isinstance(choices, str):
        return choices
    if len(choices) > 1:
        raise DataError(f"task {number} has {len(choices)} classes: an image has one")
    return str(choices[0]) if choices else ""


def to_answers(source: Path, target: Path) -> Path:
    """Convert an export of Label Studio to a CSV file that `jaxlabel answer` reads.

    Args:
      source: the export, in the format JSON or JSON-MIN.
      target: the CSV file to write, with the columns item, file and label.

    Raises:
      DataError: the file cannot be read or is no such export.
    """
    try:
        export = json.loads(source.read_bytes())
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source} is not JSON: {error}") from error
    try:
        rows = answers(export)
    except (DataError, AttributeError, KeyError, TypeError) as error:
        reason = str(error) if isinstance(error, DataError) else "it is no Label Studio export"
        raise DataError(f"{source}: {reason}") from error
    try:
        files.write(target, files.csv_text([("item", "file", "label"), *rows]))
    except UnicodeEncodeError as error:
        raise DataError(f"{source}: a label has characters that are no text") from error
    return target
