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

from jaxlabel.sweep.types import Outcome, Run

WORKER = (sys.executable, "-m", "jaxlabel.sweep.worker")
Done = Callable[[Outcome], None]  # is called with the outcome of each run


def job(run: Run, workdir: Path) -> dict[str, Any]:
    """Return the job for a worker: the run's settings, directory, log file, and command."""
    folder = workdir / "runs" / run.name
    return {"recipe": run.recipe, "config": run.config, "workdir": str(folder),
            "log": str(folder / "run.log"), "command": sys.argv}  # fmt: skip


def run_all(
    runs: Sequence[Run], workdir: Path, jobs: int, environment: Mapping[str, str], done: Done,
    *, worker: Sequence[str] = WORKER, hold: Sequence[int] = (), until: float = math.inf,
) -> None:  # fmt: skip
    """Execute runs in parallel and call `done` with the outcome of each run when it ends.

    Args:
      runs: the runs, in the order in which they start.
      workdir: the directory of the sweep.
      jobs: the number of runs at a time.
      environment: environment variables for the workers, in addition to those of this process.
      done: a function that is called with the outcome of each run.
      worker: the command that starts a worker; the list of its cores is added as an argument.
      hold: file descriptors of locks that the workers inherit, so that the locks last until the
        last worker has ended.
      until: the time of `time.monotonic` after which no run is started.
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
            env={**os.environ, **environment}, start_new_session=True, pass_fds=hold,
        )  # fmt: skip
        processes.append(process)
        return process

    shares = core_shares(min(jobs, len(runs)))
    for cores in shares:
        serve = threading.Thread(
            target=_serve, args=(lambda c=cores: start(c), todo, ended, workdir, until), daemon=True
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


def core_shares(jobs: int) -> list[str]:
    """Divide the CPU cores among workers.

    Returns:
      The cores of each worker, such as "0,1". More workers than cores get one core each, which
      several share.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [""] * jobs
    cores = sorted(os.sched_getaffinity(0))
    if jobs >= len(cores):
        return [str(cores[i % len(cores)]) for i in range(jobs)]
    ends = [round(i * len(cores) / jobs) for i in range(jobs + 1)]
    return [",".join(map(str, cores[a:b])) for a, b in itertools.pairwise(ends)]


def _serve(
    start: Callable[[], subprocess.Popen[str]], todo: "queue.SimpleQueue[Run]",
    ended: "queue.SimpleQueue[Outcome | None]", workdir: Path, until: float,
) -> None:  # fmt: skip
    """Execute runs from a queue in one worker until the queue is empty or the time is over.

    A worker that dies is replaced for the next run.

    Args:
      start: a function that starts a worker.
      todo: the queue of runs, which several threads share.
      ended: the queue that receives the outcome of each run, and None at the end.
      workdir: the directory of the sweep.
      until: the time of `time.monotonic` after which no run is started.
    """
    process: subprocess.Popen[str] | None = None
    while time.monotonic() < until:
        try:
            run = todo.get_nowait()
        except queue.Empty:
            break
        payload, error = job(run, workdir), ""
        try:
            process = process or start()
            error = _execute(process, payload)
        except (OSError, ValueError) as failure:
            assert process is not None or isinstance(failure, OSError)
            code = process.wait() if process else None
            error = f"its process {_ending(code)}" if process else str(failure)
            process = None
        ended.put(Outcome(run, error, Path(payload["log"])))
    ended.put(None)


def _execute(process: "subprocess.Popen[str]", payload: Mapping[str, Any]) -> str:
    """Send a job to a worker, wait for it, and return the job's error as one line, or "".

    Raises:
      OSError, ValueError: the worker died.
    """
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(payload) + "\n")
    process.stdin.flush()
    return str(json.loads(process.stdout.readline())["error"])


def _ending(code: int | None) -> str:
    """Return in words how a process with this exit code ended."""
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
