"""A process that runs one configuration after the other, so that JAX is imported once.

`python -m jaxlabel.sweep.worker CORE,CORE,...` reads a job per line from standard input and
answers each with a line: {"error": ""}, or what went wrong. What a run prints goes to its log
file. When the sweep that started it is gone, it ends at once.
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
    """Serves until standard input ends."""
    if cores and hasattr(os, "sched_setaffinity"):
        # Before numpy and JAX are imported: they make as many threads as they see cores.
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    replies = os.fdopen(os.dup(1), "w")
    for job in _jobs():
        error = attempt(job, run or experiment_run)
        replies.write(json.dumps({"error": error}) + "\n")
        replies.flush()


def attempt(job: Job, run: Callable[[Job], None]) -> str:
    """Does a job, its output in its log file; what went wrong in one line, or ""."""
    log = Path(job["log"])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        kept = [os.dup(descriptor) for descriptor in (1, 2)]
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
            for descriptor, old in zip((1, 2), kept, strict=True):
                os.dup2(old, descriptor)
                os.close(old)
    return ""


def experiment_run(job: Job) -> None:
    """The job's run, from its configuration to its report."""
    from jaxlabel.experiment.run import run

    sys.argv[:] = job["command"]  # the run's record tells how it was started
    config = config_class(job["recipe"])(**job["config"])
    run(config, Path(job["workdir"]))


def remote(job: Job) -> str:
    """A job on another machine: its error, or ""."""
    os.environ.update(job["environment"])
    return attempt(job, experiment_run)


def _jobs() -> Iterator[Job]:
    """The jobs of standard input; when it ends, the process ends, in the middle of a job too."""
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
