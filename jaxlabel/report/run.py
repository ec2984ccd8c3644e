"""What a report is made of: a run's files, read once."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlabel import files
from jaxlabel.errors import JaxlabelError, UsageError


class Run(NamedTuple):
    """What a work directory holds; empty where it does not hold it yet."""

    workdir: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    session: Mapping[str, Any]
    classes: Sequence[str]


def read_run(workdir: Path) -> Run:
    """What the work directory holds."""
    config = files.read_json(workdir / "config.json")
    if config is None:
        raise UsageError(f"{workdir} is not a work directory: it has no config.json")
    result = files.read_json(workdir / "result.json") or {}
    records, _ = files.read_lines(workdir / "metrics.jsonl")
    session = files.read_json(workdir / "session.json") or {}
    run = Run(workdir, config, result, records, session, result.get("classes") or ())
    if not run.classes and (arrays := artifact(run, "classes", "names")) is not None:
        run = run._replace(classes=arrays["names"].tolist())
    return run


def artifact(run: Run, name: str, *keys: str) -> dict[str, np.ndarray] | None:
    """The arrays `keys` of artifacts/NAME.npz, or None when it was not written."""
    path = run.workdir / "artifacts" / f"{name}.npz"
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return {key: arrays[key] for key in keys}
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise JaxlabelError(f"{path} is broken ({error}); remove it to do without") from error


def labels_spent(run: Run) -> int:
    """How many labels were bought, so far."""
    if "labels_spent" in run.result:
        return int(run.result["labels_spent"])
    return int(max((r.get("labels_spent") or 0 for r in run.records), default=0))


def num_images(run: Run) -> int:
    """How many training images there are; 0 when no file tells."""
    if "num_train" in run.result:
        return int(run.result["num_train"])
    arrays = artifact(run, "medoids", "sizes")
    return int(arrays["sizes"].sum()) if arrays is not None else 0


def class_name(run: Run, label: int) -> str:
    """The name of a class, or its number."""
    return str(run.classes[label]) if 0 <= label < len(run.classes) else f"class {label}"


def percent(share: float) -> str:
    """A fraction as people read it."""
    return f"{100 * share:.1f}%" if share >= 0.001 or share == 0 else f"{100 * share:.2g}%"
