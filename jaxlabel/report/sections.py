"""The sections of a report: what the template needs for each, or nothing."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxlabel.report import figures
from jaxlabel.report.evaluate import per_class_recall
from jaxlabel.report.run import Run, artifact, class_name, labels_spent, percent

PALETTE = (
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#9c6bae",
    "#b07a4f", "#e377a8", "#8a8a3c", "#2ca6b5", "#7f7f7f",
)  # fmt: skip
LARGEST_TABLE = 20  # classes up to which the confusion matrix is a table
IMAGE_BYTES = 700_000  # how much of a section's images the report carries
POINTS = 6000
COLUMNS = (
    "clusters", "labels_spent", "belief", "estimate", "estimate_low", "estimate_high",
    "peek_accuracy",
)  # fmt: skip
SHOWN_APART = ("rounds", "audit")  # phases whose numbers are in the first chart

OWN = ("phase", "step", "seconds")  # of a record, beside its numbers

Section = dict[str, Any]


def spend(run: Run) -> Section | None:
    """Accuracy over labels spent, from the rounds' records and the result."""
    rounds = [r for r in run.records if r["phase"] == "rounds" and r.get("labels_spent")]
    final = run.result.get("test_accuracy")
    series = []
    honest = [r for r in rounds if r.get("estimate") is not None]
    if honest:
        x, y = [r["labels_spent"] for r in honest], [r["estimate"] for r in honest]
        low = [_first(r.get("estimate_low"), r["estimate"]) for r in honest]
        high = [_first(r.get("estimate_high"), r["estimate"]) for r in honest]
        series.append(figures.Series("the run's own estimate, with its interval", x, y, low, high))
    if probabilities := [r for r in rounds if r.get("belief") is not None]:
        x, y = [r["labels_spent"] for r in probabilities], [r["belief"] for r in probabilities]
        series.append(figures.Series("what the networks believe", x, y))
    audits = [r for r in run.records if r["phase"] == "audit" and r.get("labels_spent")]
    if audits:
        x, y = [r["labels_spent"] for r in audits], [r["estimate"] for r in audits]
        low, high = [r["low"] for r in audits], [r["high"] for r in audits]
        series.append(figures.Series("audits, with their interval", x, y, low, high))
    if peeks := [r for r in rounds if r.get("peek_accuracy") is not None]:
        x, y = [r["labels_spent"] for r in peeks], [r["peek_accuracy"] for r in peeks]
        series.append(figures.Series("training labels right (peeked)", x, y, dashed=True))
    if final is not None and series and labels_spent(run):
        low, high = ([end] for end in run.result.get("test_accuracy_interval") or (final, final))
        spent = [labels_spent(run)]
        series.append(figures.Series("test accuracy at the end", spent, [final], low, high))
    if not series:
        return None
    every = [x for line in series for x in line.x]
    if target := run.config.get("target"):
        ends = [min(every), max(every)]
        series.append(figures.Series("the target", ends, [target, target], dashed=True))
    chart = figures.line_chart(
        series, "labels spent", "Accuracy over labels spent", percent=True,
        log_x=max(every) > 4 * min(every), dots=True,
    )  # fmt: skip
    names = [name for name in COLUMNS if any(r.get(name) is not None for r in rounds)]
    rows = [[r["step"], *(_cell(name, r.get(name)) for name in names)] for r in rounds]
    text = "Each point is a round of questions."
    if audits:
        sizes = ", ".join(f"{r['labels']:,}" for r in audits)
        text += f" Labels drawn by each audit: {sizes}."
    return {"chart": chart, "legend": [line.name for line in series], "text": text, "rows": rows,
            "columns": ["round", *(name.replace("_", " ") for name in names)]}  # fmt: skip


def medoids(run: Run) -> Section | None:
    """The images asked about, by class, the largest clusters first."""
    arrays = artifact(run, "medoids", "images", "labels", "sizes")
    if arrays is None or not len(arrays["images"]):
        return None
    images, labels, sizes = arrays["images"], arrays["labels"], arrays["sizes"]
    order = np.argsort(-sizes, kind="stable")
    uris = thumbnails(images[order])
    groups = []
    for label in np.unique(labels[order[: len(uris)]]):
        here = [i for i in range(len(uris)) if labels[order[i]] == label]
        name = class_name(run, label) if label >= 0 else "not asked"
        shown = [
            {"uri": uris[i], "size": f"{sizes[order[i]]:,}",
             "alt": f"{name}, the medoid of {sizes[order[i]]:,} images"}
            for i in here
        ]  # fmt: skip
        members = labels == label
        note = f"{members.sum():,} asked, for {sizes[members].sum():,} images"
        groups.append({"name": name, "note": note, "images": shown})
    text = (
        f"The medoids of {len(images):,} clusters by the class of their label; below each, how "
        "many images its cluster has."
    )
    if len(uris) < len(images):
        text += f" The {len(uris):,} of the largest clusters are shown."
    return {"groups": groups, "text": text}


def confusion(run: Run) -> Section | None:
    """The confusion matrix: a table for few classes, a picture for many."""
    if (arrays := artifact(run, "confusion", "matrix")) is None:
        return None
    matrix = arrays["matrix"].astype(int)
    return confusion_table(matrix, [class_name(run, i) for i in range(len(matrix))], "test images")


def confusion_table(matrix: Int[np.ndarray, "k k"], names: Sequence[str], images: str) -> Section:
    """A confusion matrix of some `images`, with the mistakes made most."""
    recall = per_class_recall(matrix)
    rows: list[Section] = []
    section = {"names": names, "rows": rows, "pairs": _mistakes(matrix, names),
               "text": f"The {matrix.sum():,} {images}: a row per true class, "
               "a column per predicted class."}  # fmt: skip
    if len(matrix) > LARGEST_TABLE:
        pixels = figures.confusion_pixels(matrix)
        return section | {"uri": figures.data_uri(pixels, longest=len(matrix))}
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    alphas = np.round(shares**0.6, 3)
    for i, name in enumerate(names):
        cells = [
            {"count": int(matrix[i, j]), "alpha": float(alphas[i, j]),
             "kind": _cell_kind(i == j, alphas[i, j])}
            for j in range(len(matrix))
        ]  # fmt: skip
        found = "" if np.isnan(recall[i]) else percent(recall[i])
        rows.append({"name": name, "cells": cells, "recall": found})
    return section


def _mistakes(matrix: Int[np.ndarray, "k k"], names: Sequence[str], count: int = 5) -> list[str]:
    """The most frequent ones in words."""
    wrong = matrix - np.diag(np.diag(matrix))
    cells = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = [divmod(int(cell), len(matrix)) for cell in cells]
    return [
        f"{names[i]} taken for {names[j]}: {wrong[i, j]:,} of {matrix[i].sum():,}"
        for i, j in pairs
        if wrong[i, j]
    ]


def code_map(run: Run) -> Section | None:
    """The codes in two dimensions."""
    arrays = artifact(run, "map", "points", "labels")
    if arrays is None or not len(arrays["points"]):
        return None
    points, labels = arrays["points"][:POINTS], arrays["labels"][:POINTS].astype(int)
    of = "cluster" if run.result.get("gives") == "clusters" else "class"
    named = of == "class"
    names = [
        class_name(run, i) if named else f"cluster {i}"
        for i in range(max(int(labels.max()) + 1, 0))
    ]
    text = f"{len(points):,} images in two dimensions, coloured by the {of} the run gave them."
    return point_map(points, labels, names, "Map of the codes in two dimensions") | {"text": text}


def point_map(
    points: Float[np.ndarray, "m 2"], labels: Int[np.ndarray, "m"], names: Sequence[str], title: str
) -> Section:
    """A map of points, coloured by what they are; -1 is grey."""
    colours = [_colour(i, len(names)) for i in range(len(names))]
    chart = figures.scatter(points, labels, names, colours, title)
    legend = [{"name": n, "colour": c} for n, c in zip(names, colours, strict=True)]
    if (labels < 0).any():
        legend.append({"name": "no label", "colour": "#999"})
    return {"chart": chart, "legend": legend}


def reconstructions(run: Run) -> list[tuple[str, str]]:
    """Pairs of an image and what the autoencoder makes of it."""
    arrays = artifact(run, "reconstructions", "originals", "reconstructions")
    if arrays is None:
        return []
    pairs = zip(arrays["originals"][:24], arrays["reconstructions"][:24], strict=True)
    return [(figures.data_uri(one), figures.data_uri(other)) for one, other in pairs]


def samples(run: Run) -> list[str]:
    """Images of the data set."""
    arrays = artifact(run, "samples", "images")
    return thumbnails(arrays["images"][:100]) if arrays is not None else []


def curves(run: Run, most: int = 24, points: int = 300) -> list[Section]:
    """Charts of the numbers that training wrote, but the rounds': where they are many, losses."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for record in run.records:
        for name, value in record.items():
            wanted = record["phase"] not in SHOWN_APART and name not in OWN
            if wanted and value is not None:
                steps, values = lines.setdefault(f"{record['phase']}/{name}", ([], []))
                steps.append(record["step"])
                values.append(value)
    shown = sorted(lines, key=lambda name: not name.endswith("/loss"))[:most]  # stable
    curves = []
    for name, (steps, values) in lines.items():
        if name not in shown:
            continue
        series = figures.Series(name, _thinned(steps, points), _thinned(values, points))
        chart = figures.line_chart([series], "step", name, dots=len(steps) == 1, size=figures.SMALL)
        curves.append({"name": name, "chart": chart, "last": f"{values[-1]:.4g} at the end"})
    return curves


def ledger(run: Run) -> Section | None:
    """What was bought, by purpose and round."""
    rows = run.result.get("ledger") or []
    if not rows:
        return None
    shown = [{**row, "labels": f"{row['labels']:,}", "cost": f"{row['cost']:g}"} for row in rows]
    by_purpose = run.result.get("labels_by_purpose") or {}
    parts = [f"{count:,} for {purpose}" for purpose, count in by_purpose.items()]
    return {"rows": shown, "text": f"In all {labels_spent(run):,} labels: {', '.join(parts)}."}


def thumbnails(images: UInt8[np.ndarray, "n h w c"]) -> list[str]:
    """As many of the images as a section may carry."""
    found, size = [], 0
    for image in images:
        uri = figures.data_uri(image)
        size += len(uri)
        if size > IMAGE_BYTES:
            break
        found.append(uri)
    return found


def _colour(label: int, num_classes: int) -> str:
    if num_classes <= len(PALETTE):
        return PALETTE[label]
    shades = colorsys.hls_to_rgb(label * 0.618 % 1, 0.5 + 0.08 * (label % 3 - 1), 0.6)
    return "#" + "".join(f"{round(255 * shade):02x}" for shade in shades)


def _cell_kind(right: bool, alpha: float) -> str:
    if alpha == 0:
        return "zero"
    return ("right" if right else "wrong") + (" strong" if alpha > 0.6 else "")


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if name in ("clusters", "labels_spent") else percent(value)


def _thinned(values: list[float], points: int) -> list[float]:
    stride = -(-len(values) // points)
    return values[:: -stride or None][::-1] if stride > 1 else values


def _first(value: float | None, other: float) -> float:
    return other if value is None else value
