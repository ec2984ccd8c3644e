"""Compute one of several processes of a run in a child process, and explain its end in one line.

If another process of the run ends, JAX aborts this one from C++, with a trace of many lines, and
Python cannot prevent it. So the command with the flag --coordinator starts itself once more, as a
child process. What the child writes from C++ goes to a file; what Python prints is shown.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

STREAMS = "JAXLABEL_STREAMS"  # in the child: the numbers of its standard output and error
LOST = ("another process of the run has ended or cannot be reached: the same commands, for all "
        "processes, go on from the last checkpoint")  # fmt: skip
# Parts of the messages of the errors that JAX raises if another process is lost.
CLUES = ("gloo", "connection", "unavailable", "heartbeat", "coordination", "barrier", "nccl",
         "peer", "deadline_exceeded")  # fmt: skip
_is_child = False  # set by `settle_child`


def is_needed(words: Sequence[str]) -> bool:
    """Return True if a command is to be executed in a child process.

    Args:
      words: the command-line arguments after the program's name.
    """
    together = any(word.split("=")[0] == "--coordinator" for word in words)
    return together and not _is_child


def run(words: Sequence[str]) -> int:
    """Execute a command in a child process, and return its exit code.

    If a signal ends the child, as when JAX aborts it, a one-line message says so, and the exit code
    is 1.

    Args:
      words: the command-line arguments after the program's name.
    """
    with tempfile.TemporaryFile() as log:
        streams = os.dup(1), os.dup(2)
        child = subprocess.Popen(
            [sys.executable, "-m", "jaxlabel", *words], stdout=log, stderr=log, pass_fds=streams,
            env=os.environ | {STREAMS: ",".join(map(str, streams))},
        )  # fmt: skip
        for stream in streams:
            os.close(stream)
        try:
            code = child.wait()
        except KeyboardInterrupt:  # the terminal sends it to the child too
            code = _end(child)
        if code < 0:
            print(f"jaxlabel: {LOST} (signal {-code})", file=sys.stderr)
            return 1
        return code


def _end(child: "subprocess.Popen[bytes]") -> int:
    """Give a child process 5 seconds to end, then end it, and return the exit code."""
    try:
        child.wait(5)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        child.kill()
        child.wait()
        print("jaxlabel: interrupted; the same command goes on from here", file=sys.stderr)
    return 130


def settle_child() -> None:
    """In the child process: show what Python prints, and end if the parent process ends."""
    global _is_child
    if streams := os.environ.pop(STREAMS, ""):
        _is_child = True
        sys.stdout, sys.stderr = (os.fdopen(int(s), "w", 1) for s in streams.split(","))
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def lost_process(error: str) -> str:
    """Return what to do if an error means that another process has ended; "" if it does not.

    Args:
      error: the message of an error that JAX has raised.
    """
    is_clue = any(clue in error.lower() for clue in CLUES)
    return LOST if _is_child and is_clue else ""


def leave(code: int) -> None:
    """End the child process at once; JAX would wait for the other processes for minutes."""
    if _is_child:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
