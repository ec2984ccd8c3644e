"""Execute runs on this machine in worker processes, each with its share of the CPU cores."""

import contextlib
import itertools
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlabel.sweep import leases
from jaxlabel.sweep.types import Outcome, Run

WORKER = (sys.executable, "-m", "jaxlabel.sweep.worker")
Done = Callable[[Outcome], None]  # is called with the outcome of each run


def make_job(run: Run, workdir: Path) -> dict[str, Any]:
    """Return a job: the description of a run that is sent to a worker process as JSON.

    Args:
      run: the run.
      workdir: the directory for all files of the experiment's runs.

    Returns:
      The class and the values of the run's settings, its directory, its log file, its lease, and
      the command line of this process.
    """
    folder = workdir / "runs" / run.name
    return {"recipe": run.recipe, "config": run.config, "workdir": str(folder),
            "log": str(folder / "run.log"), "lease": str(leases.lease_of(run, workdir)),
            "command": sys.argv}  # fmt: skip


def run_all(
    runs: Sequence[Run], workdir: Path, jobs: int, environment: Mapping[str, str], done: Done,
    *, worker: Sequence[str] = WORKER, until: float = math.inf,
) -> None:  # fmt: skip
    """Execute runs in several worker processes in parallel, and wait until all runs have ended.

    Args:
      runs: the runs, in the order in which they start.
      workdir: the directory for all files of the runs.
      jobs: the number of runs at a time.
      environment: environment variables for the workers, in addition to those of this process.
      done: a function that is called with the outcome of each run when the run ends.
      worker: the command that starts a worker; the list of the worker's CPU cores, such as "0,1",
        is added as an argument.
      until: the time, on the clock `time.monotonic`, after which no run is started.
    """
    todo: queue.SimpleQueue[Run] = queue.SimpleQueue()
    for run in runs:
        todo.put(run)
    ended: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
    processes: list[subprocess.Popen[str]] = []

    def start(cores: str) -> subprocess.Popen[str]:
        # A new session keeps Ctrl-C, which is for the sweep, away from the workers.
        process = subprocess.Popen(
            [*worker, cores], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **environment}, start_new_session=True,
        )  # fmt: skip
        processes.append(process)
        return process

    shares = core_shares(min(jobs, len(runs)))
    for cores in shares:
        serve = threading.Thread(
            target=_execute_queued_runs,
            args=(lambda c=cores: start(c), todo, ended, workdir, until),
            daemon=True,
        )
        serve.start()
    try:
        for _ in shares:
            while (outcome := ended.get()) is not None:
                done(outcome)
    finally:
        while not todo.empty():
            todo.get()
        for process in processes:
            process.kill()
            with contextlib.suppress(OSError), process:
                pass  # leaving the block closes the pipes


def run_shared(
    runs: Sequence[Run], workdir: Path, jobs: int, environment: Mapping[str, str], done: Done,
    *, worker: Sequence[str] = WORKER, until: float = math.inf,
) -> None:  # fmt: skip
    """Execute runs as `run_all` does, and share them with other sweeps in the same directory.

    Runs that another sweep executes are waited for. If it is killed, or if it executed them with
    other settings, they are executed here.
    """
    todo = list(runs)
    while todo:
        busy: list[Run] = []

        def note(outcome: Outcome, busy: list[Run] = busy) -> None:
            if outcome.error == leases.BUSY:
                busy.append(outcome.run)
            else:
                done(outcome)

        run_all(todo, workdir, jobs, environment, note, worker=worker, until=until)
        waits = [leases.lease_of(run, workdir) for run in busy]
        while waits and not any(map(leases.is_free, waits)) and time.monotonic() < until:
            time.sleep(0.5)
        todo = busy


def core_shares(jobs: int) -> list[str]:
    """Divide the CPU cores of this machine among worker processes.

    Args:
      jobs: the number of workers.

    Returns:
      The core numbers of each worker as text, such as "0,1". If there are more workers than cores,
      each worker gets one core, and some share it. On systems that cannot bind a process to cores,
      each text is empty.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [""] * jobs
    cores = sorted(os.sched_getaffinity(0))
    if jobs >= len(cores):
        return [str(cores[i % len(cores)]) for i in range(jobs)]
    ends = [round(i * len(cores) / jobs) for i in range(jobs + 1)]
    return [",".join(map(str, cores[a:b])) for a, b in itertools.pairwise(ends)]


def _execute_queued_runs(
    start: Callable[[], subprocess.Popen[str]], todo: "queue.SimpleQueue[Run]",
    ended: "queue.SimpleQueue[Outcome | None]", workdir: Path, until: float,
) -> None:  # fmt: skip
    """Execute runs from a queue, one after another, until the queue is empty or the time is over.

    The runs share one worker process. If it dies, a new process is started for the next run.

    Args:
      start: a function that starts a worker process.
      todo: the queue of runs, from which several threads take runs.
      ended: a queue to which the outcome of each run is added, and None after the last run.
      workdir: the directory for all files of the runs.
      until: the time, on the clock `time.monotonic`, after which no run is started.
    """
    process: subprocess.Popen[str] | None = None
    while time.monotonic() < until:
        try:
            run = todo.get_nowait()
        except queue.Empty:
            break
        payload, error = make_job(run, workdir), ""
        try:
            process = process or start()
            error = _execute_job(process, payload)
        except (OSError, ValueError) as failure:
            assert process is not None or isinstance(failure, OSError)
            code = process.wait() if process else None
            error = f"its process {_exit_in_words(code)}" if process else str(failure)
            process = None
        ended.put(Outcome(run, error, Path(payload["log"])))
    ended.put(None)


def _execute_job(process: "subprocess.Popen[str]", payload: Mapping[str, Any]) -> str:
    """Send a job to a worker process, wait until it is done, and return its error message.

    Args:
      process: the worker process.
      payload: the job (the description of a run), from `make_job`.

    Returns:
      The error message as one line; an empty string if the job succeeded.

    Raises:
      OSError, ValueError: the worker process died.
    """
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(payload) + "\n")
    process.stdin.flush()
    return str(json.loads(process.stdout.readline())["error"])


def _exit_in_words(code: int | None) -> str:
    """Return how a process ended, in words: "ended with code 1" or "was killed by SIGKILL".

    Args:
      code: the exit code as `subprocess` reports it; negative if a signal killed the process.
    """
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
