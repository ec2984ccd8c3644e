"""What the run has written so far: predictions, rounds, audits, the result."""

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import files


class Pool(NamedTuple):
    """The newest model's predictions: the rows it looked at, and probabilities per class."""

    rows: Int[np.ndarray, "m"]
    probabilities: Float[np.ndarray, "m classes"]


class Records:
    """Reads the files of the work directory again only when they have changed."""

    def __init__(self, workdir: Path):
        self._workdir = workdir
        self._kept: dict[str, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def pool(self) -> Pool | None:
        """Return the newest predictions; None before the first round."""
        return self._read("artifacts/pool.npz", _pool)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl that are about rounds and audits."""
        return self._read("metrics.jsonl", _metrics) or []

    def result(self) -> dict[str, Any] | None:
        """Return result.json; None until the run is finished."""
        return self._read("result.json", files.read_json)

    def _read(self, name: str, read: Any) -> Any:
        path = self._workdir / name
        with self._lock:
            try:
                stamp = path.stat().st_mtime
                if name not in self._kept or self._kept[name][0] != stamp:
                    self._kept[name] = stamp, read(path)
                return self._kept[name][1]
            except (OSError, ValueError):
                return None


def _pool(path: Path) -> Pool:
    with np.load(path) as arrays:
        return Pool(arrays["rows"], arrays["probabilities"].astype(np.float32))


def _metrics(path: Path) -> list[dict[str, Any]]:
    return [line for line in files.read_lines(path)[0] if line["phase"] in ("rounds", "audit")]
