"""Compute what the page shows beside the picture: budget, labels, accuracy, progress."""

from collections import Counter
from typing import Any

import numpy as np

from jaxlabel.certificate.interval import at_least, at_most
from jaxlabel.data.decoding import printable
from jaxlabel.experiment.person_time import counted
from jaxlabel.label.desk import Desk
from jaxlabel.label.records import Pool, Records
from jaxlabel.label.trainer import State
from jaxlabel.methods.stopping import OVERCONFIDENCE
from jaxlabel.runlog.results import FEATURES_FROM_OUTSIDE

LAST = 10  # the number of last answers listed
# The images that a certificate speaks of. Those that the audit labels are among them.
NOT_TRAINED_ON = "pictures that were not labelled for training"


def status(desk: Desk, records: Records, trainer: State, person: str) -> dict[str, Any]:
    """Return all numbers and texts that the page shows beside the picture, as JSON values.

    Args:
      desk: the questions and answers of the page.
      records: the files that the run has written.
      trainer: what the training process is doing.
      person: the name of the person who uses the page.
    """
    project, snapshot = desk.project, desk.snapshot()
    names = project.store.classes(project.label_set)
    account = project.payer()
    labels = desk.labels(snapshot)
    counts = Counter(labels.values())
    batch = desk.batch()
    done = sum(q.item in snapshot.labels or q.item in snapshot.refused for q in batch)
    mine = [v for v in snapshot.own_votes() if v.person == person]
    not_sure_here = snapshot.refused & snapshot.own
    times = counted(v.seconds for v in mine)
    return {
        "classes": [{"name": name, "count": counts[name]} for name in names],
        "money": {
            "budget": account.budget if np.isfinite(account.budget) else None,
            "spent": account.spent,
            "waiting": len(desk.waiting(snapshot)),
            "left": desk.money_left(snapshot) if np.isfinite(account.budget) else None,
            "priced": project.dataset.costs is not None,
        },
        "time": {
            "minutes": project.settings.minutes,
            "used": sum(counted(v.seconds for v in snapshot.own_votes())) / 60,
        },
        "batch": {"done": done, "total": len(batch)},
        "ahead": len(desk.ahead.answered(snapshot, batch)),
        "labels": len(labels),
        "not_sure": len(not_sure_here),
        "not_sure_elsewhere": len(snapshot.refused - not_sure_here),
        "seconds_per_label": float(np.median(times)) if times else None,
        "last": [
            {"item": v.item, "class_name": v.class_name, "locked": v.item in snapshot.bought}
            for v in mine[: -LAST - 1 : -1]
        ],
        "undo": bool(mine) and mine[-1].item not in snapshot.bought,
        "trainer": trainer._asdict(),
        "accuracy": accuracy(records),
        "curve": curve(records),
        "confusion": confusion(records.pool(), names),
        "asks_ahead": desk.ahead.allowed,
        "pictures": len(project.items),
        "data": printable(project.settings.data),
        "learns_from": FEATURES_FROM_OUTSIDE if project.settings.outside_features else "",
    }


def accuracy(records: Records) -> dict[str, Any] | None:
    """Return an interval for the accuracy, as JSON values; None if no round has estimated it.

    The key "kind" is "certified" if the run has certified an accuracy, and "audited" after an audit
    (an estimate from labels of randomly drawn pictures). It is "estimate" for the recipe medoids:
    each round gives every picture a label, and the answers that people give in the next round show
    how many of these labels were right. The key "answers" has the number of these answers.

    Otherwise the kind is "guess". A guess ends at the mean confidence c of the last round's model
    (the mean of the largest class probability of each picture) and begins at
    1 - OVERCONFIDENCE (1 - c). The confidence of the finished model is not used: it is trained for
    longer, and with 100 labels of 2,500 pictures it had a mean confidence of 99% and an accuracy of
    87%, where the last round's guess was 85 to 90%.

    The key "of" says which pictures are meant. After an audit, the key "shown" has the ends of the
    interval as texts, rounded outwards, so that the page claims no more than the audit has shown.
    """
    result, lines = records.result(), records.metrics()
    if result and result.get("certified"):
        of = NOT_TRAINED_ON if result["certified_of"] == "the pool" else "new pictures"
        return {"kind": "certified", "of": of,
                **_ends(result["certified_low"], result["certified_high"])}  # fmt: skip
    audits = [line for line in lines if line["phase"] == "audit"]
    if audits:
        return {"kind": "audited", "of": NOT_TRAINED_ON,
                **_ends(audits[-1]["low"], audits[-1]["high"])}  # fmt: skip
    estimates = [line for line in lines if line.get("estimate_low") is not None]
    if estimates:
        last = estimates[-1]
        return {"kind": "estimate", "low": last["estimate_low"], "high": last["estimate_high"],
                "of": "all pictures", "answers": last["answers"]}  # fmt: skip
    rounds = curve(records)
    if not rounds:
        return None
    belief = rounds[-1][1]
    return {"kind": "guess", "low": max(0.0, 1 - OVERCONFIDENCE * (1 - belief)), "high": belief,
            "of": "all pictures"}  # fmt: skip


def _ends(low: float, high: float) -> dict[str, Any]:
    """Return the ends of an audit's interval as numbers, and as texts rounded outwards."""
    return {"low": low, "high": high, "shown": [at_least(low, 1), at_most(high, 1)]}


def curve(records: Records) -> list[list[float]]:
    """Return a pair for each finished round: [labels bought so far, the model's confidence].

    The confidence is the mean of the largest class probability of each picture. The finished
    model's is left out (see `accuracy`), and so are rounds of recipes that predict nothing between
    the rounds, such as medoids.
    """
    rounds = [line for line in records.metrics() if line.get("belief") is not None]
    return [[line["labels_spent"], line["belief"]] for line in rounds]


def confusion(pool: Pool | None, names: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the two classes that the model confuses most, as JSON values; None if unknown.

    For each picture predicted as one class of the pair, take the probability of the other class;
    the key "share" is the sum of these, divided by the number of all predicted pictures. `pool` has
    the newest predictions, and `names` the class names by index.
    """
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
