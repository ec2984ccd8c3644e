"""Runs side by side on this machine: worker processes, each with its share of the cores."""

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
Done = Callable[[Outcome], None]


def job(run: Run, workdir: Path) -> dict[str, Any]:
    """What a worker is told of a run."""
    folder = workdir / "runs" / run.name
    return {"recipe": run.recipe, "config": run.config, "workdir": str(folder),
            "log": str(folder / "run.log"), "command": sys.argv}  # fmt: skip


def run_all(
    runs: Sequence[Run], workdir: Path, jobs: int, environment: Mapping[str, str], done: Done,
    *, worker: Sequence[str] = WORKER, hold: Sequence[int] = (), until: float = math.inf,
) -> None:  # fmt: skip
    """Does the runs, `jobs` at a time, and tells `done` of each as it ends.

    Args:
      environment: what the workers find in theirs besides this process's.
      worker: the command of a worker; it gets its cores as one argument.
      hold: file descriptors that the workers hold too: whoever waits for their locks waits
        until the last worker is gone.
      until: the time, by `time.monotonic`, from which on no run is begun.
    """
    todo: queue.SimpleQueue[Run] = queue.SimpleQueue()
    for run in runs:
        todo.put(run)
    ended: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
    processes: list[subprocess.Popen[str]] = []

    def start(cores: str) -> subprocess.Popen[str]:
        # In a session of its own, so that Ctrl-C reaches the sweep alone.
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
                pass  # closes its pipes


def core_shares(jobs: int) -> list[str]:
    """The cores of each of some workers, such as "0,1"; more workers than cores share them."""
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
    """Gives a worker one of the runs after the other; one that died is replaced. None ends it."""
    process: subprocess.Popen[str] | None = None
    while time.monotonic() < until:
        try:
            run = todo.get_nowait()
        except queue.Empty:
            break
        one_line, error = job(run, workdir), ""
        try:
            process = process or start()
            error = _ask(process, one_line)
        except (OSError, ValueError) as setup:
            assert process is not None or isinstance(setup, OSError)
            code = process.wait() if process else None
            error = f"its process {_ending(code)}" if process else str(setup)
            process = None
        ended.put(Outcome(run, error, Path(one_line["log"])))
    ended.put(None)


def _ask(process: "subprocess.Popen[str]", one_line: Mapping[str, Any]) -> str:
    """The worker's answer.

    Raises:
      OSError, ValueError: it died instead.
    """
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(one_line) + "\n")
    process.stdin.flush()
    return str(json.loads(process.stdout.readline())["error"])


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
