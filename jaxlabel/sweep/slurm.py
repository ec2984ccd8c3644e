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
    *, options: Mapping[str, Any], seconds_between_checks: float = 5.0,
) -> None:  # fmt: skip
    """Submit runs to a Slurm cluster as an array of jobs, and wait until all jobs have ended.

    Args:
      runs: the runs; each becomes a Slurm job.
      workdir: the directory for all files of the runs.
      jobs: the largest number of jobs at a time.
      environment: environment variables for the jobs.
      done: a function that is called with the outcome of each run when the run ends.
      options: the parameters of the library submitit, such as timeout_min or slurm_partition.
      seconds_between_checks: the time between two checks whether jobs have ended.

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
    payloads = [make_job(run, workdir) | {"environment": dict(environment)} for run in runs]
    pending = dict(enumerate(executor.map_array(worker.remote, payloads)))
    while pending:
        for number in [n for n, handle in pending.items() if handle.done()]:
            message = _job_error(pending.pop(number))
            done(Outcome(runs[number], message, Path(payloads[number]["log"])))
        if pending:
            time.sleep(seconds_between_checks)


def options(text: str) -> dict[str, Any]:
    """Parse the parameters of the library submitit from a text of the form "KEY=VALUE,KEY=VALUE".

    Args:
      text: the text, such as "timeout_min=60,slurm_partition=cpu".

    Returns:
      The values by key; values of digits only are converted to integers.

    Raises:
      UsageError: a piece between two commas has no "=".
    """
    parsed: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--slurm_options={text}: it takes KEY=VALUE,KEY=VALUE")
        parsed[key] = int(value) if value.isdigit() else value
    return parsed


def _job_error(handle: Any) -> str:
    """Return the error message of an ended Slurm job as one line.

    Args:
      handle: the object by which the library submitit represents the job.

    Returns:
      The message; an empty string if the job succeeded.
    """
    try:
        return str(handle.result())
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"Slurm job {handle.job_id}: {lines[-1][:300]}"
