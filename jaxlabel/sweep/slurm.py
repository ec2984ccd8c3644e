"""Execute runs as jobs of a Slurm cluster with submitit (pip install jaxlabel[slurm])."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlabel.errors import UsageError
from jaxlabel.sweep import worker
from jaxlabel.sweep.local import Done, make_job
from jaxlabel.sweep.types import Outcome, Run


def run_all(
    runs: Sequence[Run], workdir: Path, jobs: int, environment: Mapping[str, str], done: Done,
    *, options: Mapping[str, Any], hosts_per_run: int = 1,
) -> None:  # fmt: skip
    """Submit runs to a Slurm cluster as an array of jobs, and wait until all jobs have ended.

    Slurm starts one process on each machine of a job. The processes find each other by the
    variables that Slurm sets, and compute the run together.

    Args:
      runs: the runs; each becomes a Slurm job.
      workdir: the directory for all files of the runs.
      jobs: the largest number of jobs at a time.
      environment: environment variables for the jobs.
      done: a function that is called with the outcome of each run when the run ends.
      options: the parameters of the library submitit, such as timeout_min or slurm_partition.
      hosts_per_run: the number of machines of each job.

    Raises:
      UsageError: submitit is not installed or rejects a parameter.
    """
    try:
        import submitit
    except ImportError as error:
        raise UsageError("--slurm takes submitit: pip install 'jaxlabel[slurm]'") from error
    executor = submitit.AutoExecutor(folder=workdir / "slurm")
    parameters = {"name": "jaxlabel", "slurm_array_parallelism": jobs, **options}
    try:
        executor.update_parameters(**parameters)
    except (NameError, TypeError, ValueError) as error:
        raise UsageError(f"--slurm_options: {error}") from error
    more = {"environment": dict(environment), "hosts": hosts_per_run}
    payloads = [make_job(run, workdir) | more for run in runs]
    pending = dict(enumerate(executor.map_array(worker.remote, payloads)))
    while pending:
        for number in [n for n, handle in pending.items() if handle.done()]:
            message = _job_error(pending.pop(number))
            done(Outcome(runs[number], message, Path(payloads[number]["log"])))
        if pending:
            time.sleep(5)  # between two checks whether jobs have ended


def options(text: str, devices_per_run: int = 0, hosts_per_run: int = 1) -> dict[str, Any]:
    """Return the parameters of the library submitit for the jobs of a sweep.

    Args:
      text: parameters in the form "KEY=VALUE,KEY=VALUE", such as
        "timeout_min=60,slurm_partition=cpu".
      devices_per_run: the number of GPUs on each machine of a job; 0 for those that `text` says.
      hosts_per_run: the number of machines of a job, each with one process.

    Returns:
      The values by key; values of digits only are converted to integers.

    Raises:
      UsageError: a piece between two commas has no "=", or it contradicts another argument.
    """
    parsed: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--slurm_options={text}: it takes KEY=VALUE,KEY=VALUE")
        parsed[key] = int(value) if value.isdigit() else value
    flags = {"nodes": hosts_per_run, "tasks_per_node": 1}
    if devices_per_run:
        flags["gpus_per_node"] = devices_per_run
    for key in parsed:
        if key.removeprefix("slurm_") in {*flags, "ntasks_per_node"}:
            raise UsageError(f"--slurm_options={text}: leave out {key}, which --hosts_per_run and "
                             "--devices_per_run set")  # fmt: skip
    return parsed | flags


def _job_error(handle: Any) -> str:
    """Return the error message of an ended Slurm job as one line.

    Args:
      handle: the object by which the library submitit represents the job.

    Returns:
      The message; an empty string if the job succeeded.
    """
    try:
        return next(filter(None, map(str, handle.results())), "")  # one of each process
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"Slurm job {handle.job_id}: {lines[-1][:300]}"
