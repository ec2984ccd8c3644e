"""Read and append records in a file with one JSON object per line, such as metrics.jsonl."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel import files


def repair_and_read(path: Path) -> list[dict[str, Any]]:
    """Return the records in a file with one JSON object per line.

    A half-written last line, which a killed process may leave, is cut off from the file. The list
    is empty if the file is missing.
    """
    records, size = files.read_lines(path)
    if path.exists() and size < path.stat().st_size:
        os.truncate(path, size)
    return records


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Append the `record` as one line of JSON to the file `path`, which is created if missing."""
    with files.write_errors(path), path.open("ab") as file:
        file.write(files.json_line(record))


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace the content of the file `path`: one line of JSON for each of the `records`."""
    files.write(path, b"".join(map(files.json_line, records)))


def replace(path: Path, record: Mapping[str, Any]) -> None:
    """Put the `record` into the file `path` in place of that of the same phase and step."""
    pair = record["phase"], record["step"]
    old = files.read_lines(path)[0]
    write(path, [record if (each["phase"], each["step"]) == pair else each for each in old])


def as_python_number(value: Any) -> float | int:
    """Convert a scalar, such as a NumPy or JAX number, to a Python number.

    An integer becomes an int; any other value, also a truth value, becomes a float.
    """
    number = np.asarray(value).item()
    return number if isinstance(number, int) and not isinstance(number, bool) else float(number)
