"""Write report.html: one page about a run, made from the files in the run's directory.

The page can be read offline.
"""

import json
from pathlib import Path
from typing import Any

from jaxlabel import files
from jaxlabel.report import confusion, sections
from jaxlabel.report.clusters import clusters
from jaxlabel.report.generated import generated
from jaxlabel.report.questions import questions
from jaxlabel.report.run import (
    Run,
    labels_bought_earlier,
    labels_spent,
    num_images,
    percent,
    read_run,
)

FOLDER = Path(__file__).parent  # of the templates
# Accuracies that are computed after the run, with labels that the run did not buy: names and notes.
EVALUATOR = "measured with labels that only the evaluator read"
MEASURED = {
    "train_label_accuracy": ("Training labels right", "measured after the run"),
    "matched_accuracy": ("Matched accuracy", EVALUATOR),
    "knn_accuracy": ("kNN accuracy", EVALUATOR),
}


def write_report(workdir: Path | str, out: Path | str | None = None) -> Path:
    """Write the report from the files in a run's directory, and return its path.

    Args:
      workdir: the run's directory.
      out: the HTML file; None stands for report.html in `workdir`.

    Raises:
      UsageError: the directory is not that of a run.
      JaxlabelError: a file in the directory is broken, or the report cannot be written.
    """
    run = read_run(Path(workdir))
    path = Path(out) if out else run.workdir / "report.html"
    files.write(path, render(run))
    return path


def render(run: Run) -> str:
    """Return the report of a run as HTML text that needs no other file and no network."""
    parts = {
        "spend": sections.accuracy_over_labels(run),
        "questions": questions(run),
        "clusters": clusters(run),
        "medoids": sections.medoids(run),
        "confusion": confusion.confusion(run),
        "map": sections.feature_map(run),
        "reconstructions": sections.reconstructions(run),
        "generated": generated(run),
        "samples": sections.samples(run),
        "curves": sections.curves(run),
        "ledger": sections.ledger(run),
    }
    return fill_template(FOLDER / "report.html.j2", **_page_values(run), **parts)


def fill_template(template: Path, **values: Any) -> str:
    """Return a web page as HTML text: a Jinja template in which values are filled in.

    Args:
      template: the file of the template, which may include others in its folder.
      values: the values by their names in the template.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent), autoescape=True, trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template(template.name).render(**values)


def _page_values(run: Run) -> dict[str, Any]:
    """Return the values that a run's report shows outside of its sections.

    Args:
      run: the content of the run's directory.

    Returns:
      The title, the key figures, the command, the settings, and the footer, by their names in the
      template of the report, report.html.j2.
    """
    config, result, session = run.config, run.result, run.session
    dataset = str(result.get("dataset") or config.get("data", "unknown data"))
    method = str(result.get("method") or run.workdir.name)
    peeked = bool(result.get("peeked")) or any("peek_accuracy" in r for r in run.records)
    seed = result.get("seed", config.get("seed"))
    about = [f"{method}, seed {seed}" if seed is not None else method]
    features = ""
    if (run.workdir / "artifacts" / "features_from_outside.npz").exists():
        features = Path(str(config.get("features", ""))).name
        about.append("features from outside")
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
        "features": features,
        "tiles": _key_figures(run), "command": session.get("command", ""),
        "settings": [(name, _setting_text(value)) for name, value in config.items()],
        "footer": " · ".join(["jaxlabel", *software]),
    }  # fmt: skip


def _key_figures(run: Run) -> list[dict[str, Any]]:
    """Return the key figures at the top of a run's report, such as test accuracy, labels, and time.

    Args:
      run: the content of the run's directory.

    Returns:
      A dictionary for each figure with its name, its value, and a note, all as texts. Figures that
      the run has not measured are left out.
    """
    result, session = run.result, run.session
    tiles = []
    if (accuracy := result.get("test_accuracy")) is not None:
        interval = result.get("test_accuracy_interval")
        note = "95% interval {} to {}".format(*map(percent, interval)) if interval else ""
        tiles.append({"name": "Test accuracy", "value": percent(accuracy), "note": note})
    spent, total, earlier = labels_spent(run), num_images(run), labels_bought_earlier(result)
    used = spent + earlier
    note = f"of {total:,} images ({percent(used / total)})" if used and total else ""
    if earlier:
        note = f"and {earlier:,} bought before" + (f", together {used:,} {note}" if note else "")
    tiles.append({"name": "Labels spent", "value": f"{spent:,}", "note": note})
    for key, (name, note) in MEASURED.items():
        if (accuracy := result.get(key)) is not None:
            tiles.append({"name": name, "value": percent(accuracy), "note": note})
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
        tiles.append({"name": "Time", "value": _duration_text(seconds),
                      "note": ", ".join(filter(None, notes))})  # fmt: skip
    return tiles


def _setting_text(value: Any) -> str:
    """Return the value of a setting as text.

    A non-empty string is returned unchanged; any other value is converted to JSON.
    """
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _duration_text(seconds: float) -> str:
    """Return a duration, given in seconds, as text: "3 min 20 s" for 200, "45.0 s" for 45."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
