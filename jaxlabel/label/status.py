"""What the page says about the run: money, labels per class, accuracy, and what goes on."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import files
from jaxlabel.label.desk import Desk, Standing
from jaxlabel.label.trainer import State
from jaxlabel.oracle.votes import NOT_SURE

LAST = 10  # answers that can be clicked
PAUSE = 60.0  # seconds: a longer look at a picture was a pause and is not counted
DOUBT = 1.5  # the engine takes errors to be up to 1.5 times the networks' own doubt


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


def status(desk: Desk, records: Records, trainer: State, person: str) -> dict[str, Any]:
    """Return everything that the page shows beside the picture, as plain JSON values."""
    project, standing = desk.project, desk.standing()
    names = project.store.classes(project.label_set)
    account = project.store.account(project.account)
    counts = Counter(standing.labels.values())
    batch = desk.batch()
    done = sum(q.item in standing.labels or _refused(q.item, standing) for q in batch)
    mine = [v for v in standing.votes if v.person == person]
    times = [v.seconds for v in mine if 0 < v.seconds < PAUSE]
    waiting = sum(item not in standing.bought for item in standing.labels)
    return {
        "classes": [{"name": name, "count": counts[name]} for name in names],
        "money": {
            "budget": account.budget if np.isfinite(account.budget) else None,
            "spent": account.spent,
            "waiting": waiting,
            "left": desk.money_left(standing) if np.isfinite(account.budget) else None,
        },
        "batch": {"done": done, "total": len(batch)},
        "ahead": len(desk.ahead_answered(standing)),
        "labels": len(standing.labels),
        "not_sure": len({v.item for v in standing.votes if _refused(v.item, standing)}),
        "seconds_per_label": float(np.median(times)) if times else None,
        "last": [
            {"item": v.item, "class_name": v.class_name, "locked": v.item in standing.bought}
            for v in mine[: -LAST - 1 : -1]
        ],
        "undo": bool(mine) and mine[-1].item not in standing.bought,
        "trainer": trainer._asdict(),
        "accuracy": accuracy(records),
        "curve": curve(records),
        "confusion": confusion(records.pool(), names),
        "asks_ahead": desk.asks_ahead,
        "pictures": len(project.items),
        "data": project.settings.data,
    }


def _refused(item: str, standing: Standing) -> bool:
    unsure = any(v.item == item and v.class_name == NOT_SURE for v in standing.votes)
    return unsure and item not in standing.labels


def accuracy(records: Records) -> dict[str, Any] | None:
    """Return the accuracy as an interval and what it is of; only a certificate is "certified".

    Before an audit there is only what the networks say of themselves, which nobody has measured.
    """
    result, lines = records.result(), records.metrics()
    if result and result.get("certified"):
        of = "pictures that nobody labelled" if result["certified_of"] == "the pool" else (
            "new pictures")  # fmt: skip
        return {"kind": "certified", "low": result["certified_low"],
                "high": result["certified_high"], "of": of}  # fmt: skip
    audits = [line for line in lines if line["phase"] == "audit"]
    if audits:
        return {"kind": "audited", "low": audits[-1]["low"], "high": audits[-1]["high"],
                "of": "pictures that nobody labelled"}  # fmt: skip
    rounds = [line for line in lines if line["phase"] == "rounds"]
    belief = (result or {}).get("confidence", rounds[-1]["belief"] if rounds else None)
    if belief is None:
        return None
    return {"kind": "guess", "low": max(0.0, 1 - DOUBT * (1 - belief)), "high": belief,
            "of": "all pictures"}  # fmt: skip


def curve(records: Records) -> list[list[float]]:
    """Return (labels, the networks' own estimate of their accuracy) after each round."""
    rounds = [line for line in records.metrics() if line["phase"] == "rounds"]
    points = [[line["labels_spent"], line["belief"]] for line in rounds]
    result = records.result()
    if result and result.get("confidence") is not None:
        points.append([result["labels_spent"], result["confidence"]])
    return points


def confusion(pool: Pool | None, names: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the pair of classes between which the networks leave most pictures in doubt."""
    if pool is None or pool.probabilities.shape[1] < 2 or not len(pool.rows):
        return None
    classes = pool.probabilities.shape[1]
    guessed = pool.probabilities.argmax(axis=1)
    sums = np.stack([
        pool.probabilities[guessed == k].sum(axis=0) if (guessed == k).any() else np.zeros(classes)
        for k in range(classes)
    ])  # fmt: skip
    both = sums + sums.T
    np.fill_diagonal(both, 0)
    first, second = divmod(int(both.argmax()), classes)
    if max(first, second) >= len(names):
        return None
    return {"first": names[first], "second": names[second],
            "share": float(both[first, second] / len(pool.rows))}  # fmt: skip
