"""A process that executes an experiment's runs one after another, and so imports JAX only once.

`python -m jaxlabel.sweep.worker CORE,CORE,...` reads a job (the description of a run) from each
line of standard input. It answers each with the line {"error": ""}, or with the error message in
place of "". The output of a run goes to its log file. The process ends at once when the process
that started it ends.
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
from jaxlabel.sweep import leases
from jaxlabel.sweep.types import config_class

Job = Mapping[str, Any]


def main(cores: str = "", run: Callable[[Job], None] | None = None) -> None:
    """Read jobs from standard input, execute each, and write its error message to standard output.

    A job is the description of a run (one training with one configuration) as one line of JSON. The
    answer is a line such as {"error": "the disk is full"}; the text is empty if the job succeeded,
    and `leases.BUSY` if a worker of another sweep executes the run.

    Args:
      cores: the numbers of the CPU cores to use, such as "0,1"; an empty string for all cores.
      run: the function that executes a job; None stands for `experiment_run`.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        # This precedes the import of numpy and JAX, which make as many threads as there are cores.
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    replies = os.fdopen(os.dup(1), "w")
    for job in _jobs_from_stdin():
        with leases.lease(Path(job["lease"])) as is_free:
            error = _execute_if_missing(job, run or experiment_run) if is_free else leases.BUSY
        replies.write(json.dumps({"error": error}) + "\n")
        replies.flush()


def _execute_if_missing(job: Job, run: Callable[[Job], None]) -> str:
    """Execute a job whose lease is held, unless another sweep has executed its run in the meantime.

    Files that are damaged, or were made with other settings than the job's, are moved away before.

    Returns:
      The error message as one line; an empty string if the run has a result.
    """
    folder = Path(job["workdir"])
    if (folder / "config.json").exists() or (folder / "result.json").exists():
        from jaxlabel.sweep import records  # it imports numpy

        try:
            records.prepare_folder(folder, job["recipe"], job["config"])
        except JaxlabelError as error:
            return " ".join(str(error).split())
    return "" if (folder / "result.json").exists() else execute_with_log(job, run)


def execute_with_log(job: Job, run: Callable[[Job], None]) -> str:
    """Execute a job, and write all text that it prints to the job's log file.

    Args:
      job: the description of a run (one training with one configuration), which names its log file.
      run: the function that executes the job.

    Returns:
      The error message as one line; an empty string if the job succeeded.
    """
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
    """Execute the run (one training with one configuration) that a job describes.

    A summary of the result is printed. If the job has several hosts, this process computes the run
    together with those on the other hosts.
    """
    from jaxlabel.config import with_infinities
    from jaxlabel.experiment import processes
    from jaxlabel.nets import hosts

    sys.argv[:] = job["command"]  # the run's log records the command of the sweep
    kind, workdir = config_class(job["recipe"]), Path(job["workdir"])
    config = kind(**with_infinities(kind, job["config"]))
    coordinator = hosts.AUTO if job.get("hosts", 1) > 1 else ""
    print(processes.execute(config, workdir, coordinator))


def remote(job: Job) -> str:
    """Execute a job; Slurm calls this function in a new process on each host of the job.

    Args:
      job: the description of a run (one training with one configuration). It also has environment
        variables, which the function sets, and the number of hosts.

    Returns:
      The error message as one line; an empty string if the job succeeded.
    """
    os.environ.update(job["environment"])
    number = int(os.environ.get("SLURM_PROCID", 0))
    if job["hosts"] > 1 and number:
        job = {**job, "log": str(Path(job["log"]).with_name(f"run.{number}.log"))}
    return execute_with_log(job, experiment_run)


def _jobs_from_stdin() -> Iterator[Job]:
    """Yield jobs (descriptions of runs) that are read from the lines of standard input.

    When standard input ends, the whole process exits at once, even if a job is being executed.
    """
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
