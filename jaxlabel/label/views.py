"""Compute what the views "Many at once", "Results" and "Map" show, and the hints, as JSON values.

An audit estimates the accuracy from labels of randomly drawn pictures. The page gives no help with
an audit's pictures, because this would bias the estimate.
"""

from typing import Any

import numpy as np

from jaxlabel.errors import UsageError
from jaxlabel.label.desk import Desk
from jaxlabel.label.features import kmeans, neighbours
from jaxlabel.label.records import MapPoints, Pool, Records

CLUSTERS = 24  # groups of similar pictures in the view "Many at once"
ON_MAP = 3000  # pictures on the map, besides the labelled ones
NEAR = 8  # the number of labelled pictures in a hint
ALIKE = 1e-3  # squared distance of features below which pictures are near duplicates


def audit_items(desk: Desk) -> set[str]:
    """Return the pictures that are still to be labelled for an audit (an accuracy estimate)."""
    labels = desk.snapshot().labels
    return {q.item for q in desk.batch() if q.purpose == "certify" and q.item not in labels}


def refuse_audit(desk: Desk, item: str) -> None:
    """Raise an error if the page must not give hints about a picture.

    Raises:
      UsageError: the picture is still to be labelled for an audit, an estimate of the accuracy,
        which hints would bias; or there is no such picture.
    """
    if item not in desk.project.rows:
        raise UsageError("there is no such picture")
    if item in audit_items(desk):
        raise UsageError("this picture is for the accuracy certificate: label it without hints")


def open_rows(desk: Desk) -> np.ndarray:
    """Return the rows (indices) of the pictures that a person may label many at a time.

    These are the pictures without a label or an answer "not sure". Pictures of an audit (an
    estimate of the accuracy) are left out, because each is labelled alone.
    """
    snapshot = desk.snapshot()
    voted = {v.item for v in snapshot.votes}
    taken = audit_items(desk) | voted | set(snapshot.labels)
    return np.array([r for i, r in desk.project.rows.items() if i not in taken], int)


def near(desk: Desk, item: str, count: int) -> dict[str, Any]:
    """Return a picture's id and the ids of at most `count` unlabelled pictures most similar to it.

    Raises:
      UsageError: the picture is still to be labelled for an estimate of the accuracy, or there is
        no such picture.
    """
    refuse_audit(desk, item)
    project = desk.project
    found = neighbours(project.features, project.rows[item], count, open_rows(desk))
    return {"items": [item, *(project.items[row] for row in found)]}


def help_with(desk: Desk, records: Records, item: str) -> dict[str, Any]:
    """Return the hints about a picture, as JSON values.

    The keys are "suggestion" (the class that the model suggests, from `suggestion`), "near" (the
    most similar labelled pictures, with their classes), "copies" (the number of identical pictures,
    this one included), and "near_copies" (the number of nearly identical others). The page asks for
    them only when a person presses a key.

    Raises:
      UsageError: the picture is still to be labelled for an estimate of the accuracy, or there is
        no such picture.
    """
    refuse_audit(desk, item)
    project, snapshot = desk.project, desk.snapshot()
    labelled = {project.rows[i]: name for i, name in snapshot.labels.items() if i in project.rows}
    rows = np.array(sorted(labelled), int)
    found = neighbours(project.features, project.rows[item], NEAR, rows)
    away = np.square(project.features - project.features[project.rows[item]]).sum(axis=1)
    return {
        "suggestion": suggestion(desk, records.pool(), item),
        "near": [{"item": project.items[r], "class_name": labelled[int(r)]} for r in found],
        "copies": project.copies[item],
        "near_copies": int((away < ALIKE).sum()) - project.copies[item],
    }


def suggestion(desk: Desk, pool: Pool | None, item: str) -> dict[str, Any] | None:
    """Return the model's most likely class for a picture, and its probability, as JSON values.

    The keys are "class_name" and "probability". None is returned if `pool` (the newest predictions)
    is None or lacks the picture.
    """
    if pool is None:
        return None
    place = np.flatnonzero(pool.rows == desk.project.rows[item])
    names = desk.project.store.classes(desk.project.label_set)
    if not len(place) or pool.probabilities.shape[1] > len(names):
        return None
    best = int(pool.probabilities[place[0]].argmax())
    share = float(pool.probabilities[place[0], best])
    return {"class_name": names[best], "probability": share}


def clusters(desk: Desk) -> dict[str, Any]:
    """Return the groups of similar unlabelled pictures as JSON values, the largest group first.

    The key "clusters" has for each group its number, its size, and the id of the picture nearest to
    its centre.
    """
    rows, centres, nearest = _clustered(desk)
    found = []
    for number in range(len(centres)):
        members = np.flatnonzero(nearest == number)
        if len(members):
            away = np.square(desk.project.features[rows[members]] - centres[number]).sum(axis=1)
            item = desk.project.items[rows[members[away.argmin()]]]
            found.append({"number": number, "item": item, "size": len(members)})
    return {"clusters": sorted(found, key=lambda each: -each["size"])}


def cluster(desk: Desk, number: int, count: int) -> dict[str, Any]:
    """Return the pictures of one group of similar pictures, those nearest to its centre first.

    The keys are "items" (the ids of at most `count` pictures) and "size" (the number of all
    pictures of the group). `number` is the group's number, from `clusters`.

    Raises:
      UsageError: there is no such group.
    """
    rows, centres, nearest = _clustered(desk)
    if not 0 <= number < len(centres):
        raise UsageError("there is no such cluster")
    members = rows[nearest == number]
    away = np.square(desk.project.features[members] - centres[number]).sum(axis=1)
    chosen = members[np.argsort(away, kind="stable")[:count]]
    return {"items": [desk.project.items[row] for row in chosen], "size": len(members)}


def _clustered(desk: Desk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cluster the pictures; return the unlabelled rows, the centres, and the cluster of each row.

    The centres depend only on the pictures and the run's seed, so the groups keep their numbers.
    """
    features = desk.project.features
    generator = np.random.default_rng(desk.project.settings.seed)
    sample = generator.permutation(len(features))[:6000]
    centres, _ = kmeans(features[sample], CLUSTERS, generator)
    rows = open_rows(desk)
    distances = np.square(centres).sum(axis=1) - 2 * features[rows] @ centres.T
    return rows, centres, distances.argmin(axis=1) if len(rows) else np.zeros(0, int)


def review(desk: Desk, records: Records, class_name: str, start: int, count: int) -> dict[str, Any]:
    """Return pictures of one predicted class, and the number of pictures of each class.

    The pictures with the lowest confidence come first. A picture that has a label is shown with
    it.

    Args:
      desk: the questions and answers of the page.
      records: the files that the run has written.
      class_name: the predicted class; the first class if there is no class of this name.
      start: the number of pictures to leave out at the start.
      count: the largest number of pictures.

    Returns:
      A dict with the keys "classes" (the name and the number of pictures of each predicted class),
      "items" (id, probability and label of each picture, and whether the label was bought), "total"
      (the number of pictures of the class) and "class_name". The lists are empty before there are
      predictions.
    """
    pool, project, snapshot = records.pool(), desk.project, desk.snapshot()
    names = project.store.classes(project.label_set)
    if pool is None or pool.probabilities.shape[1] > len(names):
        return {"classes": [], "items": [], "total": 0}
    guessed, sure = pool.probabilities.argmax(axis=1), pool.probabilities.max(axis=1)
    hidden = [project.rows[i] for i in audit_items(desk)]
    places = np.flatnonzero(~np.isin(pool.rows, hidden))
    wanted = names.index(class_name) if class_name in names else 0
    mine = places[guessed[places] == wanted]
    mine = mine[np.argsort(sure[mine], kind="stable")]
    items = []
    for place in mine[start : start + count]:
        item = project.items[pool.rows[place]]
        label = snapshot.labels.get(item)
        items.append({
            "item": item, "probability": float(sure[place]), "label": label,
            "locked": item in snapshot.bought,
        })  # fmt: skip
    sizes = np.bincount(guessed[places], minlength=len(names))
    shown = [{"name": n, "count": int(sizes[k])} for k, n in enumerate(names)]
    name = names[wanted] if names else ""
    return {"classes": shown, "items": items, "total": len(mine), "class_name": name}


def overview(desk: Desk, records: Records) -> dict[str, Any]:
    """Return the points of a map of the pictures, with their labelled or predicted class.

    The map has the labelled pictures and a random choice of 3,000 pictures. Its axes are the first
    two principal components of the features of the run's newest network. Before the first round
    they are those of the pictures' gradient and colour features. The keys are "classes" (the names)
    and "points" (for each picture its id, "x" and "y" from 0 to 1, the index of its class or -1 if
    unknown, and whether it has a label).
    """
    project, snapshot, pool = desk.project, desk.snapshot(), records.pool()
    names = project.store.classes(project.label_set)
    kinds = np.full(len(project.items), -1)
    if pool is not None and pool.probabilities.shape[1] <= len(names):
        kinds[pool.rows] = pool.probabilities.argmax(axis=1)
    labelled = {project.rows[i] for i in snapshot.labels if i in project.rows}
    for item, name in snapshot.labels.items():
        if item in project.rows:
            kinds[project.rows[item]] = names.index(name)
    placed = records.map_points() or _gradient_map(desk)
    sample = np.random.default_rng(0).permutation(len(placed.rows))[:ON_MAP]
    shown = np.union1d(sample, np.flatnonzero(np.isin(placed.rows, list(labelled))))
    rows, points = placed.rows[shown], placed.points[shown]
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - low) / np.maximum(high - low, 1e-9)
    return {
        "classes": list(names),
        "points": [
            {"item": project.items[r], "x": round(float(p[0]), 4), "y": round(float(p[1]), 4),
             "class": int(kinds[r]), "labelled": int(r) in labelled}
            for r, p in zip(rows, points, strict=True)
        ],
    }  # fmt: skip


def _gradient_map(desk: Desk) -> MapPoints:
    """Return the positions of all pictures by their gradient and colour features."""
    points = desk.project.features[:, :2]
    missing = 2 - points.shape[1]
    return MapPoints(np.arange(len(points)), np.pad(points, ((0, 0), (0, missing))))
