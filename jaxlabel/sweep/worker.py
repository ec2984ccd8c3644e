"""The worker process of a sweep: it executes one run after another and imports JAX only once.

`python -m jaxlabel.sweep.worker CORE,CORE,...` reads a job per line from standard input and
replies to each with the line {"error": ""}, or with the error. The output of a run goes to its log
file. The process ends at once when the sweep that started it ends.
"""

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxlabel.errors import JaxlabelError
from jaxlabel.sweep.types import config_class

Job = Mapping[str, Any]


def main(cores: str = "", run: Callable[[Job], None] | None = None) -> None:
    """Execute the jobs on standard input until it ends.

    Args:
      cores: the numbers of the CPU cores to use, such as "0,1"; "" for all.
      run: the function that executes a job; None stands for `experiment_run`.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        # This precedes the import of numpy and JAX, which make as many threads as there are cores.
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    replies = os.fdopen(os.dup(1), "w")
    for job in _jobs():
        error = attempt(job, run or experiment_run)
        replies.write(json.dumps({"error": error}) + "\n")
        replies.flush()


def attempt(job: Job, run: Callable[[Job], None]) -> str:
    """Execute a job with its output in its log file, and return its error as one line, or ""."""
    log = Path(job["log"])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        originals = [os.dup(descriptor) for descriptor in (1, 2)]
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            run(job)
        except JaxlabelError as error:
            print(f"jaxlabel: {error}", file=sys.stderr)
            return " ".join(str(error).split())
        except Exception as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in zip((1, 2), originals, strict=True):
                os.dup2(original, descriptor)
                os.close(original)
    return ""


def experiment_run(job: Job) -> None:
    """Execute the run of a job and print its summary."""
    from jaxlabel.experiment.run import run, summary

    sys.argv[:] = job["command"]  # the run's log records the command of the sweep
    config, workdir = config_class(job["recipe"])(**job["config"]), Path(job["workdir"])
    print(summary(run(config, workdir), workdir))


def remote(job: Job) -> str:
    """Execute a job in a Slurm process and return its error as one line, or ""."""
    os.environ.update(job["environment"])
    return attempt(job, experiment_run)


def _jobs() -> Iterator[Job]:
    """Yield the jobs from standard input; when it ends, exit the process even during a job."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(waiting.get())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
