"""The clusters of a run: a montage of each with what the guard rails say, and a CSV file."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from jaxlabel.report.run import Run, artifact, class_name, percent
from jaxlabel.report.sections import Section, thumbnails


def clusters(run: Run) -> Section | None:
    """Each cluster's images, from the surest to the least sure, and what is wrong with them."""
    names = ("images", "numbers", "sizes", "confident", "agreement", "names", "warnings")
    if (found := artifact(run, "clusters", *names)) is None:
        return None
    numbers = found["numbers"]
    # one of each cluster, then a second: what the report may carry is shared by all of them
    order = np.argsort(np.arange(len(numbers)) - np.searchsorted(numbers, numbers), kind="stable")
    uris = thumbnails(found["images"][order])
    groups = []
    for number, size in enumerate(found["sizes"]):
        label = int(found["names"][number])
        name = f"cluster {number}" + (f": {class_name(run, label)}" if label >= 0 else "")
        sure, agreeing = percent(found["confident"][number]), percent(found["agreement"][number])
        shown = [uri for uri, i in zip(uris, order, strict=False) if numbers[i] == number]
        groups.append({
            "name": name, "images": [{"uri": uri, "alt": name} for uri in shown],
            "note": f"{size:,} images, {sure} confident, {agreeing} of neighbours in it",
        })  # fmt: skip
    text = (
        f"{len(groups)} clusters, each from the image that is surest to be in it to the least "
        "sure. The cluster of every image is in clusters.csv."
    )
    if len(uris) < len(numbers):
        text += " The less sure ones of the large clusters are left out to keep this page small."
    steps = [r for r in run.records if r["phase"] == "guard"]
    refused = str(run.result.get("self_labelling") or "")
    learned = "self-labelled" + " (refused)" * refused.startswith("refused")
    columns = ["size_entropy", "vanished_clusters", "confident_share", "neighbour_agreement"]
    rows = [
        [learned if step["step"] else "clustered", *(f"{step[c]:.4g}" for c in columns)]
        for step in steps
    ]
    warnings = [*found["warnings"].tolist()]
    if refused.startswith("refused"):
        warnings.append(f"self-labelling was {refused}")
    return {"groups": groups, "text": text, "warnings": warnings, "rows": rows,
            "columns": ["after", *(c.replace("_", " ") for c in columns)]}  # fmt: skip


def clusters_csv(
    clusters: Int[np.ndarray, "n"],
    labels: Int[np.ndarray, "n"] | None,
    classes: Sequence[str],
    paths: Sequence[str],
) -> str:
    """A row per training image: its place, its file, its cluster, and its label if it has one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "file", "cluster", "label"])
    for index, number in enumerate(np.asarray(clusters).tolist()):
        place = paths[index] if len(paths) else ""
        label = "" if labels is None else classes[int(labels[index])]
        writer.writerow([index, place, number, label])
    return text.getvalue()
