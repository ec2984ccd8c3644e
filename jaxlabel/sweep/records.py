"""Read the results of a sweep's runs from its directory and from published files."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxlabel import files
from jaxlabel.data.dataset import kind_of
from jaxlabel.runlog import results
from jaxlabel.sweep import plan, tables
from jaxlabel.sweep.types import Plan, Run


def result(run: Run, workdir: Path) -> dict[str, Any] | None:
    """Return the result of a run if it finished with the settings of the plan, else None."""
    folder = workdir / "runs" / run.name
    config, content = (files.read_json(folder / n) for n in ("config.json", "result.json"))
    return content if config is not None and _has_settings(config, run, run.config) else None


def set_aside(run: Run, workdir: Path) -> None:
    """Move a run's folder to the folder `earlier` if it holds a run with other settings."""
    folder = workdir / "runs" / run.name
    config = files.read_json(folder / "config.json")
    if config is None or _has_settings(config, run, run.config):
        return
    free = (workdir / "earlier" / f"{run.name}-{n}" for n in itertools.count(1))
    target = next(path for path in free if not path.exists())
    target.parent.mkdir(exist_ok=True)
    folder.rename(target)


def finished(made: Plan, workdir: Path) -> dict[str, dict[str, Any]]:
    """Return the results of a sweep's finished runs as table lines, by the runs' names."""
    pairs = [(run, result(run, workdir)) for run in made.runs]
    return {run.name: tables.line(made, run, found) for run, found in pairs if found is not None}


def published_lines(made: Plan, path: Path) -> dict[str, dict[str, Any]]:
    """Return the published results of the plan's runs as table lines, by the runs' names.

    A result counts only if its settings are those of the plan.

    Args:
      made: the plan of the sweep.
      path: the file of published results; it may be missing.
    """
    runs = {run.name: run for run in made.runs}
    lines = {}
    for published in results.read(path) if path.is_file() else []:
        run, config = runs.get(published.get("run", "")), published.get("config") or {}
        if run is None:
            continue
        wanted = tables.without_places(made, run.config)
        if wanted["kind"] == "auto":  # a result records the kind that "auto" became
            wanted |= {"kind": kind_of(published["dataset"])}
        if _has_settings(config, run, wanted):
            lines[run.name] = tables.line(made, run, published) | {"config": config}
    return lines


def in_order(made: Plan, lines: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the available table lines in the order of the plan's runs."""
    return [lines[run.name] for run in made.runs if run.name in lines]


def _has_settings(config: Mapping[str, Any], run: Run, wanted: Mapping[str, Any]) -> bool:
    """Return True if a recorded configuration computes the same as the wanted settings.

    Args:
      config: the recorded configuration. Settings that it lacks have their default value.
      run: the run, whose recipe has the defaults.
      wanted: the settings to compare with. Settings that do not change what a run computes, such
        as the label store, are ignored.
    """
    if wanted.keys() - config.keys():  # importing the recipe takes seconds, so only if needed
        config = plan.defaults(run.recipe) | dict(config)
    return _essence(config) == _essence(wanted)


def _essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that determine what a run computes."""
    return {k: v for k, v in config.items() if k == "seed" or k not in results.INCIDENTAL}
