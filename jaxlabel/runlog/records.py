"""Read and append the records of a run, which are lines of JSON."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel import files


def repair_and_read(path: Path) -> list[dict[str, Any]]:
    """Cut off a half-written last line of a JSON-lines file, and return the file's records.

    The list is empty if the file is missing.
    """
    records, size = files.read_lines(path)
    if path.exists() and size < path.stat().st_size:
        os.truncate(path, size)
    return records


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Append a record as one line to a JSON-lines file, which is created if it is missing."""
    with files.write_errors(path), path.open("ab") as file:
        file.write(files.json_line(record))


def as_python_number(value: Any) -> float | int:
    """Convert a scalar, such as a NumPy or JAX number, to a Python number.

    An integer becomes an int; any other value, also a truth value, becomes a float.
    """
    number = np.asarray(value).item()
    return number if isinstance(number, int) and not isinstance(number, bool) else float(number)
