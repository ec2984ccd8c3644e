"""Write report.html: one page about a run, made from its work directory, readable offline."""

import json
from pathlib import Path
from typing import Any

from jaxlabel import files
from jaxlabel.report import sections
from jaxlabel.report.clusters import clusters
from jaxlabel.report.generated import generated
from jaxlabel.report.run import Run, labels_spent, num_images, percent, read_run

# Accuracies that the evaluator computes with labels that the run did not see.
MEASURED = {"matched_accuracy": "Matched accuracy", "knn_accuracy": "kNN accuracy"}


def write_report(workdir: Path | str, out: Path | str | None = None) -> Path:
    """Write the report from the files of a work directory, and return its path.

    Args:
      workdir: the directory of a run.
      out: the HTML file; None stands for WORKDIR/report.html.

    Raises:
      UsageError: the directory is not the work directory of a run.
      JaxlabelError: a file in it is broken, or the report cannot be written.
    """
    run = read_run(Path(workdir))
    path = Path(out) if out else run.workdir / "report.html"
    files.write(path, render(run))
    return path


def render(run: Run) -> str:
    """Return the page as HTML that needs no other file and no network."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    parts = {
        "spend": sections.spend(run),
        "clusters": clusters(run),
        "medoids": sections.medoids(run),
        "confusion": sections.confusion(run),
        "map": sections.feature_map(run),
        "reconstructions": sections.reconstructions(run),
        "generated": generated(run),
        "samples": sections.samples(run),
        "curves": sections.curves(run),
        "ledger": sections.ledger(run),
    }
    return environment.get_template("report.html.j2").render(**_head(run), **parts)


def _head(run: Run) -> dict[str, Any]:
    """Return the template's values outside the sections: title, tiles, settings, and footer."""
    config, result, session = run.config, run.result, run.session
    dataset = str(result.get("dataset") or config.get("data", "unknown data"))
    method = str(result.get("method") or run.workdir.name)
    peeked = bool(result.get("peeked")) or any("peek_accuracy" in r for r in run.records)
    seed = result.get("seed", config.get("seed"))
    about = [f"{method}, seed {seed}" if seed is not None else method]
    if result.get("stopped_by"):
        about.append(f"stopped by {result['stopped_by']}")
    versions = result.get("versions") or {}
    software = [f"{name} {version}" for name, version in versions.items()]
    if result.get("commit"):
        changed = "+" if result["commit"].endswith("+") else ""
        software.insert(0, f"commit {result['commit'][:12]}{changed}")
    return {
        "title": f"{dataset} · {method} · jaxlabel", "heading": dataset,
        "lead": " · ".join(about), "peeked": peeked, "finished": bool(result),
        "tiles": _tiles(run), "command": session.get("command", ""),
        "settings": [(name, _setting(value)) for name, value in config.items()],
        "footer": " · ".join(["jaxlabel", *software]),
    }  # fmt: skip


def _tiles(run: Run) -> list[dict[str, Any]]:
    """Return the main figures of the run, each with a name, a value and a note."""
    result, session = run.result, run.session
    tiles = []
    if (accuracy := result.get("test_accuracy")) is not None:
        interval = result.get("test_accuracy_interval")
        note = "95% interval {} to {}".format(*map(percent, interval)) if interval else ""
        tiles.append({"name": "Test accuracy", "value": percent(accuracy), "note": note})
    spent, total = labels_spent(run), num_images(run)
    note = f"of {total:,} images ({percent(spent / total)})" if spent and total else ""
    tiles.append({"name": "Labels spent", "value": f"{spent:,}", "note": note})
    if (accuracy := result.get("train_label_accuracy")) is not None:
        tiles.append({"name": "Training labels right", "value": percent(accuracy),
                      "note": "measured after the run"})  # fmt: skip
    for name, shown in MEASURED.items():
        if (accuracy := result.get(name)) is not None:
            tiles.append({"name": shown, "value": percent(accuracy),
                          "note": "measured with labels that only the evaluator read"})  # fmt: skip
    if "certified" in result:
        from jaxlabel.certificate.interval import at_least  # imports JAX

        split = "{labels_to_train:,} labels to train, {labels_to_certify:,} to certify"
        low = at_least(result["certified_low"], 1) if result["certified"] else ""
        tiles.append(
            {
                "name": "Certified",
                "value": f"at least {low}" if low else "nothing",
                "note": f"{result.get('verdict', '')}; {split.format(**result)}".lstrip("; "),
            }
        )
    seconds = result.get("seconds", session.get("seconds"))
    if seconds is not None:
        starts = session.get("sessions", 1)
        notes = [str(result.get("device") or ""), f"in {starts} sessions" if starts > 1 else ""]
        tiles.append({"name": "Time", "value": _duration(seconds),
                      "note": ", ".join(filter(None, notes))})  # fmt: skip
    return tiles


def _setting(value: Any) -> str:
    """Return a setting's value as text."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _duration(seconds: float) -> str:
    """Return a duration in words, such as "3 min 20 s"."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
