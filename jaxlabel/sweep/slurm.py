"""Runs as jobs of a Slurm cluster, by submitit (the extra `slurm`)."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlabel.errors import UsageError
from jaxlabel.sweep import worker
from jaxlabel.sweep.local import Done, job
from jaxlabel.sweep.types import Outcome, Run


def run_all(
    runs: Sequence[Run], workdir: Path, jobs: int, environment: Mapping[str, str], done: Done,
    *, options: Mapping[str, Any], seconds_between_looks: float = 5.0,
) -> None:  # fmt: skip
    """Submits an array of jobs, a run each and `jobs` at a time, and waits for them.

    Args:
      options: submitit's parameters, such as timeout_min or slurm_partition.

    Raises:
      UsageError: submitit is not installed or does not know a parameter.
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
    jobs_told = [job(run, workdir) | {"environment": dict(environment)} for run in runs]
    pending = dict(enumerate(executor.map_array(worker.remote, jobs_told)))
    while pending:
        for number in [n for n, handle in pending.items() if handle.done()]:
            one_line = _outcome(pending.pop(number))
            done(Outcome(runs[number], one_line, Path(jobs_told[number]["log"])))
        if pending:
            time.sleep(seconds_between_looks)


def options(text: str) -> dict[str, Any]:
    """The parameters of KEY=VALUE,KEY=VALUE; whole numbers become numbers.

    Raises:
      UsageError: a part has no "=".
    """
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--slurm_options={text}: it takes KEY=VALUE,KEY=VALUE")
        found[key] = int(value) if value.isdigit() else value
    return found


def _outcome(handle: Any) -> str:
    try:
        return str(handle.result())
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"Slurm job {handle.job_id}: {lines[-1][:300]}"
