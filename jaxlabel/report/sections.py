"""Compute the values that the sections of a run's report show.

A function returns None, or an empty list, if the run has no data for its section.
"""

import colorsys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxlabel.report import figures
from jaxlabel.report.run import (
    Run,
    artifact,
    class_name,
    labels_bought_earlier,
    labels_spent,
    percent,
)

PALETTE = (
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#9c6bae",
    "#b07a4f", "#e377a8", "#8a8a3c", "#2ca6b5", "#7f7f7f",
)  # fmt: skip
IMAGE_BYTES = 700_000  # limit on the size of a section's images
MAX_POINTS = 6000  # limit on the points of a map
MAX_CHARTS, MAX_STEPS = 24, 300  # limits on the charts of metrics, and on the points of each
COLUMNS = (
    "clusters", "labels_spent", "belief", "estimate", "estimate_low", "estimate_high",
    "peek_accuracy",
)  # fmt: skip
SHOWN_APART = ("rounds", "audit")  # phases whose metrics are in the first chart
RECORD_KEYS = ("version", "phase", "step", "seconds")  # keys of a record that are not metrics

Section = dict[str, Any]


def accuracy_over_labels(run: Run) -> Section | None:
    """Return the section of a run's report that shows accuracy over the number of labels bought.

    Args:
      run: the content of the run's directory.

    Returns:
      A chart and a table in a dictionary for the report's template; None if the run logged no
      accuracy.
    """
    rounds = [r for r in run.records if r["phase"] == "rounds" and r.get("labels_spent")]
    final = run.result.get("test_accuracy")
    series = []
    estimates = [r for r in rounds if r.get("estimate") is not None]
    if estimates:
        x, y = [r["labels_spent"] for r in estimates], [r["estimate"] for r in estimates]
        low = [_value_or(r.get("estimate_low"), r["estimate"]) for r in estimates]
        high = [_value_or(r.get("estimate_high"), r["estimate"]) for r in estimates]
        series.append(figures.Series("the run's estimate, with its interval", x, y, low, high))
    if probabilities := [r for r in rounds if r.get("belief") is not None]:
        x, y = [r["labels_spent"] for r in probabilities], [r["belief"] for r in probabilities]
        series.append(figures.Series("mean confidence of the networks", x, y))
    audits = [r for r in run.records if r["phase"] == "audit" and r.get("labels_spent")]
    if audits:
        x, y = [r["labels_spent"] for r in audits], [r["estimate"] for r in audits]
        low, high = [r["low"] for r in audits], [r["high"] for r in audits]
        series.append(figures.Series("audits, with their interval", x, y, low, high))
    if peeks := [r for r in rounds if r.get("peek_accuracy") is not None]:
        x, y = [r["labels_spent"] for r in peeks], [r["peek_accuracy"] for r in peeks]
        series.append(figures.Series("training labels right (peeked)", x, y, dashed=True))
    used = labels_spent(run) + labels_bought_earlier(run.result)
    if final is not None and series and used:
        low, high = ([end] for end in run.result.get("test_accuracy_interval") or (final, final))
        series.append(figures.Series("test accuracy at the end", [used], [final], low, high))
    if not series:
        return None
    every_x = [x for line in series for x in line.x]
    if target := run.config.get("target"):
        ends = [min(every_x), max(every_x)]
        series.append(figures.Series("the target", ends, [target, target], dashed=True))
    chart = figures.line_chart(
        series, "labels spent", "Accuracy over labels spent", percent=True,
        log_x=max(every_x) > 4 * min(every_x), dots=True,
    )  # fmt: skip
    names = [name for name in COLUMNS if any(r.get(name) is not None for r in rounds)]
    rows = [[r["step"], *(_round_cell(name, r.get(name)) for name in names)] for r in rounds]
    text = "Each point is a round of label queries."
    if audits:
        sizes = ", ".join(f"{r['labels']:,}" for r in audits)
        text += f" Labels drawn by each audit: {sizes}."
    if earlier := labels_bought_earlier(run.result):
        text += f" The labels include {earlier:,} that were bought before this run."
    return {"chart": chart, "legend": [line.name for line in series], "text": text, "rows": rows,
            "columns": ["round", *(name.replace("_", " ") for name in names)]}  # fmt: skip


def medoids(run: Run) -> Section | None:
    """Return the section of a run's report that shows the central images of clusters, by class.

    A medoid is the most central image of a cluster of training images. The medoids of the largest
    clusters come first. A run has bought the labels of all of them, of some, or of none.

    Args:
      run: the content of the run's directory.

    Returns:
      The section as a dictionary for the report's template; None if the run saved no medoids.
    """
    arrays = artifact(run, "medoids", "images", "labels", "sizes", optional=("bought",))
    if arrays is None or not len(arrays["images"]):
        return None
    images, labels, sizes = arrays["images"], arrays["labels"], arrays["sizes"]
    bought = arrays.get("bought")  # earlier versions did not save it
    labelled = bought is not None and bool(bought.all())
    order = np.argsort(-sizes, kind="stable")
    uris = thumbnails(images[order])
    groups = []
    for label in np.unique(labels[order[: len(uris)]]):
        chosen = [i for i in range(len(uris)) if labels[order[i]] == label]
        name = class_name(run, label) if label >= 0 else "no class"
        shown = [
            {"uri": uris[i], "size": f"{sizes[order[i]]:,}",
             "alt": f"{name}, stands for {sizes[order[i]]:,} images"}
            for i in chosen
        ]  # fmt: skip
        members = labels == label
        what = "labelled" if labelled else "cluster" if members.sum() == 1 else "clusters"
        note = f"{members.sum():,} {what}, for {sizes[members].sum():,} images"
        groups.append({"name": name, "note": note, "images": shown})
    title, text = "The labelled images", ""
    if not labelled:
        known = "" if bought is None else f", of which {bought.sum():,} were labelled"
        title = "The central images of the clusters"
        text = f"The most central image (medoid) of each of {len(images):,} clusters{known}. "
    text += "The number below each image is how many images it stands for."
    if len(uris) < len(images):
        text += f" The {len(uris):,} that stand for the most are shown."
    return {"title": title, "groups": groups, "text": text}


def feature_map(run: Run) -> Section | None:
    """Return the section of a run's report that shows a two-dimensional map of image features.

    Args:
      run: the content of the run's directory.

    Returns:
      The section as a dictionary for the report's template; None if the run saved no map.
    """
    arrays = artifact(run, "map", "points", "labels")
    if arrays is None or not len(arrays["points"]):
        return None
    points, labels = arrays["points"][:MAX_POINTS], arrays["labels"][:MAX_POINTS].astype(int)
    kind = "cluster" if run.result.get("gives") == "clusters" else "class"
    names = [
        class_name(run, i) if kind == "class" else f"cluster {i}"
        for i in range(max(int(labels.max()) + 1, 0))
    ]
    text = (
        f"{len(points):,} images in two dimensions, coloured by the {kind} that the run assigned."
    )
    return point_map(points, labels, names, "Map of the features in two dimensions") | {
        "text": text
    }


def point_map(
    points: Float[np.ndarray, "m 2"], labels: Int[np.ndarray, "m"], names: Sequence[str], title: str
) -> Section:
    """Return a report section with a scatter plot of points and its legend.

    Args:
      points: the position of each point.
      labels: the class or cluster of each point; -1 for a point without one, which is grey.
      names: the names of the classes or clusters.
      title: a description of the plot for screen readers.
    """
    colours = [_class_colour(i, len(names)) for i in range(len(names))]
    chart = figures.scatter(points, labels, names, colours, title)
    legend = [{"name": n, "colour": c} for n, c in zip(names, colours, strict=True)]
    if (labels < 0).any():
        legend.append({"name": "no label", "colour": "#999"})
    return {"chart": chart, "legend": legend}


def reconstructions(run: Run) -> list[tuple[str, str]]:
    """Return pairs of data URIs: an image, and its reconstruction by the run's autoencoder.

    The list is empty if the run trained no autoencoder.
    """
    arrays = artifact(run, "reconstructions", "originals", "reconstructions")
    if arrays is None:
        return []
    pairs = zip(arrays["originals"][:24], arrays["reconstructions"][:24], strict=True)
    return [(figures.data_uri(image), figures.data_uri(copy)) for image, copy in pairs]


def samples(run: Run) -> list[str]:
    """Return sample images of the run's data set as data URIs; an empty list if none were saved."""
    arrays = artifact(run, "samples", "images")
    return thumbnails(arrays["images"][:100]) if arrays is not None else []


def curves(run: Run) -> list[Section]:
    """Return a chart for each metric that a run logged during training, at most MAX_CHARTS (24).

    If there are more metrics, losses are preferred.

    Args:
      run: the content of the run's directory. Metrics of query rounds and of audits (an audit buys
        the labels of a random sample to certify the accuracy) get no chart.

    Returns:
      A dictionary for each chart, which the report's template shows.
    """
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for record in run.records:
        for name, value in record.items():
            is_shown = record["phase"] not in SHOWN_APART and name not in RECORD_KEYS
            if is_shown and value is not None:
                steps, values = lines.setdefault(f"{record['phase']}/{name}", ([], []))
                steps.append(record["step"])
                values.append(value)
    shown = sorted(lines, key=lambda name: not name.endswith("/loss"))[:MAX_CHARTS]  # a stable sort
    curves = []
    for name, (steps, values) in lines.items():
        if name not in shown:
            continue
        series = figures.Series(name, _every_nth(steps), _every_nth(values))
        chart = figures.line_chart([series], "step", name, dots=len(steps) == 1, size=figures.SMALL)
        curves.append({"name": name, "chart": chart, "last": f"{values[-1]:.4g} at the end"})
    return curves


def ledger(run: Run) -> Section | None:
    """Return the section of a run's report that shows how many labels the run bought, and when.

    A row of its table has the number and cost of the labels that were bought for one purpose, such
    as training, in one query round.

    Args:
      run: the content of the run's directory.

    Returns:
      The section as a dictionary for the report's template; None if the run has bought no labels or
      is not finished.
    """
    rows = run.result.get("ledger") or []
    if not rows:
        return None
    shown = [{**row, "labels": f"{row['labels']:,}", "cost": f"{row['cost']:g}"} for row in rows]
    by_purpose = run.result.get("labels_by_purpose") or {}
    parts = [f"{count:,} for {purpose}" for purpose, count in by_purpose.items()]
    return {"rows": shown, "text": f"In all {labels_spent(run):,} labels: {', '.join(parts)}."}


def thumbnails(images: Iterable[UInt8[np.ndarray, "h w c"]]) -> list[str]:
    """Convert images to data URIs, and return as many as fit into IMAGE_BYTES (700 kB) in total."""
    uris, size = [], 0
    for image in images:
        uri = figures.data_uri(image)
        size += len(uri)
        if size > IMAGE_BYTES:
            break
        uris.append(uri)
    return uris


def _class_colour(label: int, num_classes: int) -> str:
    """Return the colour, as "#rrggbb", in which a map shows the class with the index `label`."""
    if num_classes <= len(PALETTE):
        return PALETTE[label]
    shades = colorsys.hls_to_rgb(label * 0.618 % 1, 0.5 + 0.08 * (label % 3 - 1), 0.6)
    return "#" + "".join(f"{round(255 * shade):02x}" for shade in shades)


def _round_cell(name: str, value: float | None) -> str:
    """Return the text of a cell in the report's table of query rounds, such as "1,200" or "85.0%".

    Args:
      name: the name of the cell's column. The columns "clusters" and "labels_spent" show whole
        numbers; all other columns show percentages.
      value: the number in the cell; None yields an empty string.
    """
    if value is None:
        return ""
    return f"{value:,}" if name in ("clusters", "labels_spent") else percent(value)


def _every_nth(values: list[float]) -> list[float]:
    """Return every n-th element of a list, for the smallest n that keeps at most 300 elements.

    The last element is always kept.
    """
    stride = -(-len(values) // MAX_STEPS)
    return values[:: -stride or None][::-1] if stride > 1 else values


def _value_or(value: float | None, default: float) -> float:
    """Return `value`, or `default` if `value` is None."""
    return default if value is None else value
