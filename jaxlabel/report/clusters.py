"""Show the clusters that a run found: sample images of each cluster, warnings, and a CSV file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxlabel import files
from jaxlabel.report.run import Run, artifact, class_name, percent
from jaxlabel.report.sections import Section, thumbnails


def clusters(run: Run) -> Section | None:
    """Return the report section that shows sample images of each cluster that a run found.

    The images of a cluster are sorted by the probability of the cluster, the highest first.

    Args:
      run: the content of the run's directory.

    Returns:
      The section as a dictionary for the report's template, with warnings about suspicious
      clusters; None if the run found no clusters.
    """
    names = ("images", "numbers", "sizes", "confident", "agreement", "names", "warnings")
    if (arrays := artifact(run, "clusters", *names)) is None:
        return None
    numbers = arrays["numbers"]
    # The first image of each cluster comes first, then the second of each, and so on: the limit on
    # the page's size then cuts all clusters evenly.
    order = np.argsort(np.arange(len(numbers)) - np.searchsorted(numbers, numbers), kind="stable")
    uris = thumbnails(arrays["images"][order])
    groups = []
    for number, size in enumerate(arrays["sizes"]):
        label = int(arrays["names"][number])
        name = f"cluster {number}" + (f": {class_name(run, label)}" if label >= 0 else "")
        confident = percent(arrays["confident"][number])
        agreeing = percent(arrays["agreement"][number])
        shown = [uri for uri, i in zip(uris, order, strict=False) if numbers[i] == number]
        groups.append({
            "name": name, "images": [{"uri": uri, "alt": name} for uri in shown],
            "note": f"{size:,} images, {confident} confident, {agreeing} of their neighbours in it",
        })  # fmt: skip
    text = (
        f"{len(groups)} clusters, each with its images from the most to the least confident. The "
        "cluster of every image is in clusters.csv."
    )
    if len(uris) < len(numbers):
        text += " To keep this page small, the large clusters lack their least confident images."
    steps = [r for r in run.records if r["phase"] == "guard"]
    refused = str(run.result.get("self_labelling") or "")
    phase = "self-labelled" + " (refused)" * refused.startswith("refused")
    columns = ["size_entropy", "vanished_clusters", "confident_share", "neighbour_agreement"]
    rows = [
        [phase if step["step"] else "clustered", *(f"{step[c]:.4g}" for c in columns)]
        for step in steps
    ]
    warnings = [*arrays["warnings"].tolist()]
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
    """Return the text of a CSV file with a line per training image: index, file, cluster, label.

    Args:
      clusters: the cluster of each image.
      labels: the class that the run assigned to each image; None leaves the column empty.
      classes: the names of the classes.
      paths: the file of each image; empty if the images have no files of their own.
    """
    rows: list[list[Any]] = [["index", "file", "cluster", "label"]]
    for index, number in enumerate(np.asarray(clusters).tolist()):
        path = paths[index] if len(paths) else ""
        label = "" if labels is None else classes[int(labels[index])]
        rows.append([index, path, number, label])
    return files.csv_text(rows)
