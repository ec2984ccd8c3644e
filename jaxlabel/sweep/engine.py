"""`jaxlabel sweep`: does what is not done yet, then writes the tables, the figures and the page."""

import itertools
import math
import os
import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlabel import files
from jaxlabel.data.dataset import kind_of
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.runlog import results
from jaxlabel.runlog import workdir as directory
from jaxlabel.sweep import local, page, plan, slurm, tables
from jaxlabel.sweep.types import Outcome, Plan, Run

MOST_JOBS = 8  # by default: each takes a gigabyte or so


class Options(NamedTuple):
    """How a sweep is done; but for `go_on` none of it changes its results.

    Attributes:
      jobs: runs at a time; 0: one on an accelerator, else one per core, MOST_JOBS at most.
      slurm: submit to Slurm instead, with submitit's parameters KEY=VALUE,... ; None: here.
      publish: append the results to results/NAME.jsonl beside the experiment file.
      go_on: a run whose result is in that file, of whatever commit and machine, is done.
      limit: minutes after which no run is begun; 0: none.
    """

    jobs: int = 0
    slurm: str | None = None
    publish: bool = False
    go_on: bool = False
    limit: float = 0.0
    worker: Sequence[str] = local.WORKER


DEFAULTS = Options()


def sweep(
    experiment: str, workdir: Path, *, quick: bool = False, data_root: str = "",
    options: Options = DEFAULTS,
) -> Path:  # fmt: skip
    """The path of the table, when every run of the experiment is done or the limit is reached.

    Raises:
      UsageError: the experiment or the directory does not fit.
      JaxlabelError: runs failed; all the others are done.
    """
    file = plan.find(experiment)
    if options.publish and quick:
        raise UsageError("--publish takes the whole experiment: leave out --quick")
    if options.limit and options.slurm is not None:
        raise UsageError("--limit goes without --slurm, whose timeout_min ends each run")
    published = file.parent / "results" / f"{file.stem}.jsonl"
    with files.refusals(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
    lock = take_lock(workdir)
    try:
        made = plan.read(file, workdir, quick, data_root)
        there = published_lines(made, published) if options.go_on else {}
        failed = run_missing(made, workdir, options, lock, there)
        own = finished(made, workdir)
        lines = in_order(made, there | own)
        table = write_outputs(made, workdir, lines, failed)
    finally:
        os.close(lock)
    if options.publish:
        publish(made, lines, published)
    print(tables.markdown(lines))
    notes = f", {len(lines) - len(own)} of them in {published}" if options.go_on else ""
    notes += "; the same command goes on" if len(lines) + len(failed) < len(made.runs) else ""
    print(f"{len(lines)} of {len(made.runs)} runs are done{notes}; {table}, {workdir / page.NAME}")
    if failed:
        raise JaxlabelError(f"{len(failed)} of {len(made.runs)} runs failed; the same command "
                            "tries them again")  # fmt: skip
    return table


def take_lock(workdir: Path, patience: float = 10.0) -> int:
    """The directory's lock; waits for the workers of a sweep that was killed to be gone.

    Raises:
      UsageError: another sweep works in it, or it holds something else.
    """
    names = [p.name for p in workdir.iterdir() if not p.name.startswith(".")]
    strange = [name for name in names if not name.endswith(directory.CONSOLE)]
    if strange and "plan.json" not in names:
        raise UsageError(f"{workdir} is not empty and no sweep's: it holds {min(strange)} but "
                         "no plan.json; choose another --workdir")  # fmt: skip
    end = time.monotonic() + patience
    while True:
        try:
            return directory.take_lock(workdir)
        except UsageError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def run_missing(
    made: Plan, workdir: Path, options: Options, lock: int, there: Container[str]
) -> list[Outcome]:
    """Does the runs that have no result here or are `there`, seed by seed; those that failed."""
    missing = [run for run in made.runs if run.name not in there and result(run, workdir) is None]
    missing.sort(key=lambda run: run.config["seed"])  # whoever stops early has whole comparisons
    if not missing:
        return []
    jobs = options.jobs or default_jobs()
    failed: list[Outcome] = []
    done = _reporter(missing, len(made.runs), workdir, failed)
    print(f"{made.experiment}: {len(missing)} of {len(made.runs)} runs to do, "
          f"{min(jobs, len(missing))} at a time", flush=True)  # fmt: skip
    environment = surroundings(workdir, jobs)
    for run in missing:
        set_aside(run, workdir)
    if options.slurm is not None:
        chosen = slurm.options(options.slurm)
        slurm.run_all(missing, workdir, jobs, environment, done, options=chosen)
    else:
        until = time.monotonic() + 60 * options.limit if options.limit else math.inf
        local.run_all(
            missing, workdir, jobs, environment, done, worker=options.worker, hold=[lock],
            until=until,
        )  # fmt: skip
    return failed


def default_jobs() -> int:
    """One run at a time on an accelerator, else one per core, within reason."""
    if os.path.exists("/dev/nvidiactl"):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MOST_JOBS)


def surroundings(workdir: Path, jobs: int) -> dict[str, str]:
    """Environment variables of the runs: what they share; the user's own values stay."""
    cache = workdir.resolve() / "cache"
    wanted = {
        "JAXLABEL_CACHE": str(cache),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    if jobs > 1:  # several processes on one accelerator
        wanted["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    return {name: value for name, value in wanted.items() if name not in os.environ}


def result(run: Run, workdir: Path) -> dict[str, Any] | None:
    """The result of a run that is done with the very settings of the plan, else None."""
    folder = workdir / "runs" / run.name
    there, found = (files.read_json(folder / n) for n in ("config.json", "result.json"))
    return found if there is not None and _is_of(there, run, run.config) else None


def set_aside(run: Run, workdir: Path) -> None:
    """Makes room for a run whose place holds one of other settings, which is kept in `earlier`."""
    folder = workdir / "runs" / run.name
    there = files.read_json(folder / "config.json")
    if there is None or _is_of(there, run, run.config):
        return
    free = (workdir / "earlier" / f"{run.name}-{n}" for n in itertools.count(1))
    place = next(path for path in free if not path.exists())
    place.parent.mkdir(exist_ok=True)
    folder.rename(place)


def finished(made: Plan, workdir: Path) -> dict[str, dict[str, Any]]:
    """The results in the directory with their places in the tables, by the runs' names."""
    found = [(run, result(run, workdir)) for run in made.runs]
    return {run.name: tables.line(made, run, one) for run, one in found if one is not None}


def published_lines(made: Plan, path: Path) -> dict[str, dict[str, Any]]:
    """Those of the published results that are of the plan's very runs, likewise."""
    runs = {run.name: run for run in made.runs}
    lines = {}
    for one in results.read(path) if path.is_file() else []:
        run, config = runs.get(one.get("run", "")), one.get("config") or {}
        if run is None:
            continue
        wanted = tables.without_places(made, run.config)
        if wanted["kind"] == "auto":  # a result says what it came to
            wanted |= {"kind": kind_of(one["dataset"])}
        if _is_of(config, run, wanted):
            lines[run.name] = tables.line(made, run, one) | {"config": config}
    return lines


def in_order(made: Plan, lines: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that there are, in the plan's order."""
    return [lines[run.name] for run in made.runs if run.name in lines]


def write_outputs(
    made: Plan, workdir: Path, lines: Sequence[Mapping[str, Any]], failed: Sequence[Outcome]
) -> Path:
    """table.md, table.csv, figures/ and the page; the path of the first."""
    path = workdir / "table.md"
    files.write(path, tables.document(made, lines))
    files.write(workdir / "table.csv", tables.csv_text(lines))
    charts = page.charts(lines)
    write_figures(workdir / "figures", "", charts)
    files.write(workdir / page.NAME, page.render(made, workdir, lines, failed, charts))
    return path


def write_figures(folder: Path, prefix: str, charts: Mapping[str, page.Chart]) -> None:
    """A file for each chart, and none for a chart that there was before."""
    drawn = {f"{prefix}{name}.svg": page.standalone(chart) for name, chart in charts.items()}
    for name, picture in drawn.items():
        files.write(folder / name, picture)
    for figure in folder.glob(f"{prefix}table*.svg"):
        if figure.name not in drawn:
            figure.unlink()


def publish(made: Plan, lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Appends the results to a file of results; writes the plan's table and figures beside it.

    What the file has of settings that are the plan's no more stays there and is not shown.
    """
    for line in lines:
        results.append(path, line)
    known = published_lines(made, path) | {line["run"]: dict(line) for line in lines}
    shown = in_order(made, known)
    files.write(path.with_suffix(".md"), tables.document(made, shown))
    write_figures(path.with_name("figures"), f"{path.stem}_", page.charts(shown))


def _reporter(
    missing: Sequence[Run], total: int, workdir: Path, failed: list[Outcome]
) -> Callable[[Outcome], None]:
    """What prints a line for each run that ends and keeps those that failed."""
    began, count = time.monotonic(), 0

    def done(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        found = None if outcome.error else result(outcome.run, workdir)
        if found is None:
            error = outcome.error or "it left no result"
            failed.append(outcome._replace(error=error))
            text = f"FAILED: {error} ({outcome.log})"
        else:
            text = tables.one_line(found)
        left = (time.monotonic() - began) / count * (len(missing) - count)
        eta = f"; {left / 60:.0f} min left" if left >= 60 else ""
        number = total - len(missing) + count
        print(f"[{number}/{total}] {outcome.run.name}: {text}{eta}", flush=True)

    return done


def _is_of(found: Mapping[str, Any], run: Run, wanted: Mapping[str, Any]) -> bool:
    """Whether these settings are the run's; one that there was not yet has its default."""
    if wanted.keys() - found.keys():  # only then are recipes imported
        found = plan.defaults(run.recipe) | dict(found)
    return _essence(found) == _essence(wanted)


def _essence(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if k == "seed" or k not in results.INCIDENTAL}
