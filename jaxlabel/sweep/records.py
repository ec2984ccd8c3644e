"""Read the results of an experiment's runs from the runs' folders and from published files.

A "line" is the result of one run with the names of the table and row to which it belongs.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxlabel import files
from jaxlabel.data.dataset import kind_of
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.experiment import account
from jaxlabel.runlog import old_settings, own_code, results
from jaxlabel.runlog.workdir import RUN
from jaxlabel.sweep import places, plan, tables
from jaxlabel.sweep.types import Plan, Run


def result(run: Run, workdir: Path) -> dict[str, Any] | None:
    """Return the result of a run that finished with the planned settings and today's own parts.

    Args:
      run: the run with its planned settings.
      workdir: the directory for all files of the experiment's runs.

    Returns:
      The content of the run's result.json; None if the run has not finished, had other settings,
      used another version of the user's own parts, or has a damaged file.
    """
    read = _read(workdir / "runs" / run.name)
    return read.result if read and _is_current(read, run.recipe, run.config, workdir) else None


class _Files(NamedTuple):
    """The files of a run that say what it did; None stands for a file that does not exist.

    Attributes:
      config: the content of config.json, the settings.
      result: the content of result.json.
      own_code: the recorded hash of the user's own parts (`own_code.recorded`).
    """

    config: dict[str, Any] | None
    result: dict[str, Any] | None
    own_code: str | None


def _read(folder: Path) -> _Files | None:
    """Return what the files in a run's folder say; None if one of them is damaged.

    Raises:
      UsageError: a newer jaxlabel wrote one of the files, or it cannot be read.
    """
    try:
        config, result = files.read_settings(folder), files.read_json(folder / "result.json")
        return _Files(config, result, own_code.recorded(folder))
    except UsageError:
        raise
    except JaxlabelError:
        return None


def prepare_folder(folder: Path, recipe: str, planned: Mapping[str, Any]) -> None:
    """Let a run with the planned settings continue in its folder, or move the folder away.

    The folder is moved to the folder `earlier` if its files do not belong to the run: they were
    made with other settings or with another version of the user's own parts, one is damaged, or a
    finished run lacks its config.json. The run can then start anew. The caller must hold the run's
    lease, so that the folder is not changed while another process executes the run.

    Args:
      folder: the run's folder, WORKDIR/runs/NAME. It is moved to WORKDIR/earlier/NAME-1, or to
        the first free number.
      recipe: the class of the settings as "module:name".
      planned: the planned settings.

    Raises:
      JaxlabelError: the folder cannot be moved, or a file in it cannot be read or written.
    """
    read = _read(folder)
    if read is not None:
        if read.config is None and read.result is None:
            return
        if _is_current(read, recipe, planned, folder.parents[1]):
            if read.config is not None and read.result is None:
                _use_planned_places(folder, read.config, planned)
            return
    earlier = folder.parents[1] / "earlier"
    free = (earlier / f"{folder.name}-{n}" for n in itertools.count(1))
    target = next(path for path in free if not path.exists())
    with files.write_errors(target):
        earlier.mkdir(exist_ok=True)
        folder.rename(target)


def _use_planned_places(
    folder: Path, config: Mapping[str, Any], planned: Mapping[str, Any]
) -> None:
    """Write the planned places of the data and the labels into the files of an interrupted run.

    They differ from the recorded ones if --data_root has another value, or if the directory of the
    sweep was moved. The place of the labels is written only if it is in this directory and the
    database there has the run's account, so that no bought label is lost.

    Args:
      folder: the run's folder.
      config: the settings that are recorded in the folder.
      planned: the planned settings, which may differ from `config` only in these places.
    """
    from jaxlabel.oracle import LabelStore

    recorded = files.read_json(folder / RUN)
    if recorded is None:  # the run has not begun to buy labels and will write its settings anew
        return
    changed = {**config, "data": planned["data"]}
    own = account.store_url("", folder.parents[1])
    is_there = (folder.parents[1] / "labels.db").exists()
    if is_there and planned["store"] == own != config.get("store"):
        with LabelStore(own) as store:
            if recorded.get("account") in [known.name for known in store.accounts()]:
                changed["store"] = own
                files.write_json(folder / RUN, recorded | {"store": own}, private=True)
    if changed != config:
        files.write_json(folder / "config.json", files.with_version("config.json", changed))


def finished_lines(made: Plan, workdir: Path) -> dict[str, dict[str, Any]]:
    """Return the results of the finished runs of an experiment, by the names of the runs.

    Args:
      made: the plan, which lists the runs.
      workdir: the directory for all files of the runs.

    Returns:
      For each finished run its result with the names of its table and row, from
      `tables.result_line`.
    """
    pairs = [(run, result(run, workdir)) for run in made.runs]
    return {
        run.name: tables.result_line(made, run, found) for run, found in pairs if found is not None
    }


def published_lines(made: Plan, path: Path) -> dict[str, dict[str, Any]]:
    """Return the published results of an experiment's runs, by the names of the runs.

    A result is left out if the plan has other settings for the run, or if it was made with another
    version of the user's own parts.

    Args:
      made: the plan, which lists the runs and their settings.
      path: the file of published results; it may be missing.

    Returns:
      For each run that has a published result, the result with the names of its table and row.
    """
    runs = {run.name: run for run in made.runs}
    lines = {}
    for published in results.read(path) if path.is_file() else []:
        run, config = runs.get(published.get("run", "")), published.get("config") or {}
        if run is None:
            continue
        wanted = tables.without_local_paths(made, run.config)
        if wanted["kind"] == "auto":  # a result records the kind that "auto" became
            wanted |= {"kind": kind_of(published["dataset"])}
        is_own_code_same = own_code.agrees(published.get("own_code"), wanted)
        if is_own_code_same and _settings_agree(config, run.recipe, wanted):
            lines[run.name] = tables.result_line(made, run, published) | {"config": config}
    return lines


def lines_in_plan_order(made: Plan, lines: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results of an experiment's runs as a list in the order of the plan.

    Args:
      made: the plan, which lists the runs.
      lines: the results by the names of the runs. Runs without a result are skipped.
    """
    return [lines[run.name] for run in made.runs if run.name in lines]


def _is_current(read: _Files, recipe: str, planned: Mapping[str, Any], workdir: Path) -> bool:
    """Return True if a run has the planned settings and today's version of the user's own parts.

    The place of the data may differ as the values of --data_root do.

    Args:
      read: what the run's files say.
      recipe: the class of the planned settings as "module:name".
      planned: the planned settings.
      workdir: the directory for all files of the experiment's runs.
    """
    if (config := read.config) is None:
        return False
    if places.is_same_data(config.get("data", ""), planned["data"], workdir):
        config = config | {"data": planned["data"]}
    return _settings_agree(config, recipe, planned) and own_code.agrees(read.own_code, planned)


def _settings_agree(config: Mapping[str, Any], recipe: str, wanted: Mapping[str, Any]) -> bool:
    """Return True if two dictionaries of settings are equal, so that their runs compute the same.

    Settings that do not change what a run computes, such as the URL of the label database, are
    ignored, and so are removed settings of earlier versions if every run has their value today.

    Args:
      config: the settings with which a result was made. A missing setting has its default value.
      recipe: the class of the planned settings as "module:name"; it has the default values.
      wanted: the settings that the result should have.
    """
    config = old_settings.without_removed(old_settings.with_current_names(config), wanted)
    if wanted.keys() - config.keys():  # importing the recipe takes seconds, so only if needed
        config = plan.defaults(recipe) | config
    return _computing_settings(config) == _computing_settings(wanted)


def _computing_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in `config` that can change what a run computes, and leave out others."""
    return {k: v for k, v in config.items() if k == "seed" or k not in results.INCIDENTAL}
