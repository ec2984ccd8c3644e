"""Read the files in a run's directory that the run's report shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlabel import files
from jaxlabel.errors import JaxlabelError, UsageError

# The types of the entries that commands compute with.
TYPES = {
    "method": str, "dataset": str, "labels_spent": int, "labels_bought_earlier": int,
    "test_accuracy": float | int | None,
    "train_label_accuracy": float | int | None, "seconds": float | int, "device": str,
    "classes": list, "config": dict, "ledger": list,
}  # fmt: skip


class Run(NamedTuple):
    """The content of the files in a run's directory that the run's report shows.

    An attribute is empty if the run has not written the file yet.

    Attributes:
      workdir: the run's directory.
      config: the settings of the run, from config.json.
      result: the content of result.json.
      records: the metrics logged so far, a dictionary for each line of metrics.jsonl.
      session: the content of session.json: the seconds used, the number of times that the run was
        started or continued, and the command that started it.
      classes: the names of the classes that have been defined so far.
    """

    workdir: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    session: Mapping[str, Any]
    classes: Sequence[str]


def read_run(workdir: Path) -> Run:
    """Read the files in a run's directory that the run's report shows, and return their content.

    Raises:
      UsageError: the directory has no config.json, so it is not that of a run.
      JaxlabelError: a file is broken.
    """
    config = files.read_settings(workdir)
    if config is None:
        raise UsageError(f"{workdir} is not a work directory: it has no config.json")
    result = files.read_json(workdir / "result.json") or {}
    check_result(result, workdir, needed=())
    path = workdir / "metrics.jsonl"
    records, _ = files.read_lines(path)
    for number, record in enumerate(records, 1):
        if not isinstance(record.get("phase"), str):
            raise JaxlabelError(f"{path} is broken: line {number} has no phase; delete the line")
    session = files.read_json_unless_damaged(workdir / "session.json") or {}
    run = Run(workdir, config, result, records, session, result.get("classes") or ())
    if not run.classes and (arrays := artifact(run, "classes", "names")) is not None:
        run = run._replace(classes=arrays["names"].tolist())
    return run


def check_result(result: Mapping[str, Any], workdir: Path, needed: Sequence[str]) -> None:
    """Raise a JaxlabelError if an entry of a run's result.json is missing or has the wrong type.

    Args:
      result: the content of result.json.
      workdir: the run's directory.
      needed: the entries that must be there.
    """
    fault = next((f"lacks {key}" for key in needed if key not in result), "")
    for key, types in TYPES.items():
        if not fault and key in result and not isinstance(result[key], types):
            fault = f"has {result[key]!r:.40} as {key}"
    if fault:
        raise JaxlabelError(
            f"{workdir}/result.json is broken, it {fault}: remove it and start the run again; no "
            "label is bought twice"
        )


def artifact(
    run: Run, name: str, *keys: str, optional: Sequence[str] = ()
) -> dict[str, np.ndarray] | None:
    """Return arrays that a run has saved in a file artifacts/NAME.npz in its directory.

    Args:
      run: the content of the run's directory.
      name: the name of the file without ".npz", such as "medoids".
      keys: the names of the arrays to read.
      optional: the names of arrays to read if the file has them.

    Returns:
      The arrays by name; None if the run has not saved the file.

    Raises:
      JaxlabelError: the file is broken or lacks one of the arrays.
    """
    path = run.workdir / "artifacts" / f"{name}.npz"
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            found = [key for key in optional if key in arrays]
            return {key: arrays[key] for key in (*keys, *found)}
    except (OSError, *files.DAMAGED_NPZ) as error:
        raise JaxlabelError(
            f"{path} is broken ({error}); delete it to make the report without it"
        ) from error


def labels_spent(run: Run) -> int:
    """Return the number of labels that a run has bought so far."""
    if "labels_spent" in run.result:
        return int(run.result["labels_spent"])
    return int(max((r.get("labels_spent") or 0 for r in run.records), default=0))


def labels_bought_earlier(result: Mapping[str, Any]) -> int:
    """Return the number of labels that a run used for free: its account had bought them before.

    Args:
      result: the content of the run's result.json.
    """
    return int(result.get("labels_bought_earlier", 0))


def labels_used(result: Mapping[str, Any]) -> int:
    """Return the number of labels that a run used: bought by it, or by its account before the run.

    Args:
      result: the content of the run's result.json.
    """
    return int(result["labels_spent"]) + labels_bought_earlier(result)


def num_images(run: Run) -> int:
    """Return the number of training images of a run; 0 if no file in its directory records it."""
    if "num_train" in run.result:
        return int(run.result["num_train"])
    arrays = artifact(run, "medoids", "sizes")
    return int(arrays["sizes"].sum()) if arrays is not None else 0


def class_name(run: Run, label: int) -> str:
    """Return the name of the class with the index `label`.

    If the run has not recorded a name, a text such as "class 3" is returned.
    """
    return str(run.classes[label]) if 0 <= label < len(run.classes) else f"class {label}"


def percent(share: float) -> str:
    """Return a fraction as a percentage with one decimal, such as "12.3%" for 0.123.

    Fractions below 0.001 get two significant digits instead.
    """
    return f"{100 * share:.1f}%" if share >= 0.001 or share == 0 else f"{100 * share:.2g}%"
