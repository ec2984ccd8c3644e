"""Read the files that the run has written to its work directory: predictions, metrics, result."""

import errno
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import files
from jaxlabel.errors import JaxlabelError

PREDICTIONS = "artifacts/pool.npz"  # in the work directory


class Pool(NamedTuple):
    """The newest model's predictions for training pictures.

    While the run goes on, these are a random sample and the labelled pictures; at its end, all.

    Attributes:
      rows: the index of each predicted picture among all training pictures.
      probabilities: the probability of each class for each predicted picture.
    """

    rows: Int[np.ndarray, "m"]
    probabilities: Float[np.ndarray, "m classes"]


class MapPoints(NamedTuple):
    """The positions of pictures on a map by the features of the run's newest network.

    Attributes:
      rows: the index of each picture on the map among all training pictures.
      points: the position of each of these pictures.
    """

    rows: Int[np.ndarray, "m"]
    points: Float[np.ndarray, "m 2"]


class Records:
    """Reads files of the work directory, and reads a file again only when it has changed.

    Args:
      workdir: the run's work directory.
    """

    def __init__(self, workdir: Path):
        self._workdir = workdir
        self._kept: dict[str, tuple[float, Any]] = {}
        self._said: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def pool(self) -> Pool | None:
        """Return the newest predictions; None if the run has not written any yet."""
        return self._read(PREDICTIONS, _pool)

    def map_points(self) -> MapPoints | None:
        """Return the map of the newest round; None if the run has not written any yet."""
        return self._read("artifacts/pool_map.npz", _map_points)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl whose phase is "rounds" or "audit".

        The list is empty if there are none. An audit is an estimate of the accuracy from labels of
        randomly drawn pictures.
        """
        return self._read("metrics.jsonl", _metrics) or []

    def result(self) -> dict[str, Any] | None:
        """Return the content of result.json; None until the run is finished."""
        return self._read("result.json", files.read_json)

    def _read(self, name: str, read: Any) -> Any:
        """Return `read(path)` for a file of the work directory; None if the file cannot be read.

        The value is kept and returned again as long as the file's time of change is the same. A
        line in the terminal names a damaged file. If the system cannot open or read the file, for
        example because too many files are open, a line says so and the next call tries again.
        """
        path = self._workdir / name
        with self._lock:
            try:
                stamp = path.stat().st_mtime
            except OSError:
                return None
            if name not in self._kept or self._kept[name][0] != stamp:
                value = None
                try:
                    value = read(path)
                except (JaxlabelError, OSError, *files.DAMAGED_NPZ) as error:
                    reason = _reason_of_system(error)
                    if reason:
                        if self._said.get(name) != (stamp, reason):
                            self._said[name] = stamp, reason
                            print(f"jaxlabel: {path} cannot be read: {reason}", flush=True)
                        return None
                    known = isinstance(error, JaxlabelError)
                    text = error if known else f"{path} is damaged: the page goes on without it"
                    print(f"jaxlabel: {text}", flush=True)
                self._kept[name] = stamp, value
            return self._kept[name][1]


def _reason_of_system(error: Exception) -> str:
    """Return why the system could not open or read a file; "" if the file itself is damaged."""
    cause = error.__cause__ if isinstance(error, JaxlabelError) else error
    # A damaged NPZ file also raises OSError: without a number, or for a place that is not in it.
    if not isinstance(cause, OSError) or cause.errno in (None, errno.EINVAL):
        return ""
    return cause.strerror or str(cause)


def _pool(path: Path) -> Pool:
    """Read a file of predictions."""
    with path.open("rb") as file, np.load(file) as arrays:
        return Pool(arrays["rows"], arrays["probabilities"].astype(np.float32))


def _map_points(path: Path) -> MapPoints:
    """Read a file of positions on the map."""
    with path.open("rb") as file, np.load(file) as arrays:
        return MapPoints(arrays["rows"], arrays["points"].astype(np.float32))


def _metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics.jsonl whose phase is "rounds" or "audit"."""
    return [line for line in files.read_lines(path)[0] if line.get("phase") in ("rounds", "audit")]
