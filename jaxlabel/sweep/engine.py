"""Execute the runs of an experiment that have no result yet, then write tables and figures.

The execution of all runs of an experiment is called a sweep.
"""

import math
import os
import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlabel import files
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.runlog import results
from jaxlabel.sweep import leases, local, page, plan, records, slurm, tables
from jaxlabel.sweep.types import Outcome, Plan, Run

MAX_JOBS = 8  # limit on the default number of runs at a time; each takes about a gigabyte


class Options(NamedTuple):
    """Options for how the runs of an experiment are executed.

    Of these options, only `go_on` can change the results.

    Attributes:
      jobs: the number of runs at a time; 0 for one run if there is a GPU, else for one per CPU
        core, at most MAX_JOBS (8).
      slurm: the parameters of the library submitit, as "KEY=VALUE,...", to execute the runs on a
        Slurm cluster; None to execute them on this machine.
      devices_per_run: with `slurm`, the number of GPUs on each machine of a run; 0 to ask Slurm for
        none beyond what `slurm` says.
      hosts_per_run: with `slurm`, the number of machines that compute a run together.
      publish: True to append the results to results/NAME.jsonl beside the experiment file NAME.py.
      go_on: True to skip runs whose result is in results/NAME.jsonl already, even if another commit
        or machine made it.
      limit: the minutes after which no new run is started; 0 for no limit.
      worker: the command, as a list of words, that starts a process which executes runs.
    """

    jobs: int = 0
    slurm: str | None = None
    devices_per_run: int = 0
    hosts_per_run: int = 1
    publish: bool = False
    go_on: bool = False
    limit: float = 0.0
    worker: Sequence[str] = local.WORKER


DEFAULTS = Options()


def sweep(
    experiment: str, workdir: Path, *, quick: bool = False, data_root: str = "",
    options: Options = DEFAULTS,
) -> Path:  # fmt: skip
    """Execute the runs of an experiment that have no result yet, and print tables of all results.

    The tables, figures, and a web page with links to the runs' reports are written to `workdir`.
    Runs on features from outside are executed, but they are in no table.
    Several processes may call this function for one `workdir` at once; they share the runs.

    Args:
      experiment: the path or the name of the experiment file.
      workdir: the directory for all files of the experiment's runs.
      quick: True to execute the experiment's small variant, which takes less time.
      data_root: the directory that holds a folder for each data set; an empty string if the
        experiment needs no such directory.
      options: how the runs are executed, such as the number of runs at a time.

    Returns:
      The path of table.md.

    Raises:
      UsageError: the experiment file has an error, two options exclude each other, or the directory
        holds other files.
      JaxlabelError: some runs failed. The error is raised after all other runs have ended.
    """
    file = plan.find(experiment)
    if options.publish and quick:
        raise UsageError("--publish takes the whole experiment: leave out --quick")
    if options.limit and options.slurm is not None:
        raise UsageError("--limit goes without --slurm, whose timeout_min ends each run")
    if options.slurm is None and (options.devices_per_run or options.hosts_per_run != 1):
        raise UsageError(
            "--devices_per_run and --hosts_per_run need --slurm: on this machine, start several "
            "sweeps with one --workdir, each with its GPUs in CUDA_VISIBLE_DEVICES"
        )
    published = file.parent / "results" / f"{file.stem}.jsonl"
    with files.write_errors(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
    with leases.locked(workdir):
        made = plan.read(file, workdir, quick, data_root)
        reused = records.published_lines(made, published) if options.go_on else {}
        missing = missing_runs(made, workdir, reused)
    failed = run_missing(made, missing, workdir, options)
    with leases.locked(workdir):
        new = records.finished_lines(made, workdir)
        done = reused | new
        lines = list(filter(results.is_from_scratch, records.lines_in_plan_order(made, done)))
        table = write_outputs(made, workdir, lines, failed)
    if options.publish:
        publish(made, lines, published)
    print(tables.markdown(lines))
    notes = f", {len(done) - len(new)} of them in {published}" if options.go_on else ""
    notes += "; the same command goes on" if len(done) + len(failed) < len(made.runs) else ""
    if others := len(done) - len(lines):
        notes += f"; {others} on {results.FEATURES_FROM_OUTSIDE} are in no table"
    print(f"{len(done)} of {len(made.runs)} runs are done{notes}; {table}, {workdir / page.NAME}")
    if failed:
        raise JaxlabelError(f"{len(failed)} of {len(made.runs)} runs failed; the same command "
                            "tries them again")  # fmt: skip
    return table


def missing_runs(made: Plan, workdir: Path, reused: Container[str]) -> list[Run]:
    """Return the runs of an experiment that have no result yet.

    All runs with one seed come before the runs with the next seed. So a sweep that is stopped early
    has run each row of a table equally often.

    Args:
      made: the plan, which lists the runs.
      workdir: the directory for all files of the runs.
      reused: the names of runs that are left out because their result is published already.
    """
    missing = [
        run for run in made.runs if run.name not in reused and records.result(run, workdir) is None
    ]
    return sorted(missing, key=lambda run: run.config["seed"])


def run_missing(
    made: Plan, missing: Sequence[Run], workdir: Path, options: Options
) -> list[Outcome]:
    """Execute runs of an experiment, and return those that failed.

    Args:
      made: the plan, which lists all runs.
      missing: the runs to execute.
      workdir: the directory for all files of the runs.
      options: how the runs are executed.
    """
    if not missing:
        return []
    jobs = options.jobs or default_jobs()
    failed: list[Outcome] = []
    done = _make_reporter(missing, len(made.runs), workdir, failed)
    print(f"{made.experiment}: {len(missing)} of {len(made.runs)} runs to do, "
          f"{min(jobs, len(missing))} at a time", flush=True)  # fmt: skip
    environment = run_environment(workdir, jobs)
    if options.slurm is not None:
        chosen = slurm.options(options.slurm, options.devices_per_run, options.hosts_per_run)
        with leases.locked(workdir):  # Slurm's jobs take no leases
            for run in missing:
                with leases.lease(leases.lease_of(run, workdir)) as is_free:
                    if is_free:
                        folder = workdir / "runs" / run.name
                        records.prepare_folder(folder, run.recipe, run.config)
            slurm.run_all(
                missing, workdir, jobs, environment, done, options=chosen,
                hosts_per_run=options.hosts_per_run,
            )  # fmt: skip
    else:
        until = time.monotonic() + 60 * options.limit if options.limit else math.inf
        local.run_shared(
            missing, workdir, jobs, environment, done, worker=options.worker, until=until
        )
    return failed


def default_jobs() -> int:
    """Return the default number of runs at a time: 1 if there is a GPU, else one per CPU core.

    The number is never larger than MAX_JOBS (8).
    """
    if os.path.exists("/dev/nvidiactl"):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MAX_JOBS)


def run_environment(workdir: Path, jobs: int) -> dict[str, str]:
    """Return environment variables for the processes that execute the runs of an experiment.

    The variables name the cache folders that all runs share, and keep XLA from reserving the whole
    GPU memory for one of several processes. Variables that the user has set are left out.

    Args:
      workdir: the directory for all files of the runs, in which the cache is placed.
      jobs: the number of runs at a time.
    """
    cache = workdir.resolve() / "cache"
    wanted = {
        "JAXLABEL_CACHE": str(cache),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    if jobs > 1:  # several processes share the accelerator's memory
        wanted["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    return {name: value for name, value in wanted.items() if name not in os.environ}


def write_outputs(
    made: Plan, workdir: Path, lines: Sequence[Mapping[str, Any]], failed: Sequence[Outcome]
) -> Path:
    """Write the results of an experiment as tables, figures, and a web page.

    Args:
      made: the plan, which lists the runs of the experiment.
      workdir: the directory in which table.md, table.csv, figures/ and index.html are written.
      lines: the results of the finished runs; each names the table and row to which it belongs.
      failed: the failed runs with their error messages, which the web page lists.

    Returns:
      The path of table.md.
    """
    path = workdir / "table.md"
    files.write(path, tables.document(made, lines))
    files.write(workdir / "table.csv", tables.csv_text(lines))
    charts = page.charts(lines)
    write_figures(workdir / "figures", "", charts)
    files.write(workdir / page.NAME, page.render(made, workdir, lines, failed, charts))
    return path


def write_figures(folder: Path, prefix: str, charts: Mapping[str, page.Chart]) -> None:
    """Write each chart as an SVG file, and delete outdated files.

    A file is outdated if its name begins with `prefix` and "table" but it is not among `charts`.

    Args:
      folder: the folder of the files.
      prefix: the beginning of each file's name, such as "baselines_"; may be empty.
      charts: the charts by the rest of their file's name without ".svg", such as "table1".
    """
    drawn = {f"{prefix}{name}.svg": page.svg_file_text(chart) for name, chart in charts.items()}
    for name, picture in drawn.items():
        files.write(folder / name, picture)
    for figure in folder.glob(f"{prefix}table*.svg"):
        if figure.name not in drawn:
            figure.unlink()


def publish(made: Plan, lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Append results to a file of published results, and write tables and figures of this file.

    Results whose settings are no longer in the plan stay in the file, but are not in the tables.

    Args:
      made: the plan, which lists the runs of the experiment.
      lines: the results of the finished runs; each names the table and row to which it belongs.
      path: the file, NAME.jsonl. NAME.md and the folder figures are written into its directory.
    """
    for line in lines:
        results.append(path, line)
    current = records.published_lines(made, path) | {line["run"]: dict(line) for line in lines}
    shown = records.lines_in_plan_order(made, current)
    files.write(path.with_suffix(".md"), tables.document(made, shown))
    write_figures(path.with_name("figures"), f"{path.stem}_", page.charts(shown))


def _make_reporter(
    missing: Sequence[Run], total: int, workdir: Path, failed: list[Outcome]
) -> Callable[[Outcome], None]:
    """Make a function to be called with the outcome of each run: it prints how the run ended.

    The printed line shows the run's accuracy or error, and the estimated remaining time.

    Args:
      missing: the runs that will be executed.
      total: the number of runs of the whole experiment, including those that have a result.
      workdir: the directory for all files of the runs.
      failed: a list to which the made function appends each run that failed.
    """
    began, count = time.monotonic(), 0

    def done(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        content = None if outcome.error else records.result(outcome.run, workdir)
        if content is None:
            error = outcome.error or "it left no result"
            failed.append(outcome._replace(error=error))
            text = f"FAILED: {error} ({outcome.log})"
        else:
            text = tables.one_line(content)
        left = (time.monotonic() - began) / count * (len(missing) - count)
        eta = f"; {left / 60:.0f} min left" if left >= 60 else ""
        number = total - len(missing) + count
        print(f"[{number}/{total}] {outcome.run.name}: {text}{eta}", flush=True)

    return done
