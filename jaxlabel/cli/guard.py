"""Compute one of several processes of a run in a child process, and explain its end in one line.

If another process of the run ends, JAX aborts this one from C++, with a trace of many lines, and
Python cannot prevent it. So the command with the flag --coordinator starts itself once more, as a
child process. What the child writes from C++ goes to a file, which is kept if a signal ends the
child; what Python prints is shown.
"""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

STREAMS = "JAXLABEL_STREAMS"  # in the child: the numbers of its standard output and error
GO_ON = "the same commands, for all processes, go on from the last checkpoint"
LOST = f"another process of the run has ended or cannot be reached: {GO_ON}"
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

    If a signal ends the child, as when JAX aborts it, a one-line message says so and names the file
    with what the child wrote, and the exit code is 1.

    Args:
      words: the command-line arguments after the program's name.
    """
    import subprocess  # here, because other commands start faster without it

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
            print(f"jaxlabel: {_reason(-code)}{_keep(log)}", file=sys.stderr)
            return 1
        return code


def _reason(number: int) -> str:
    """Return a message that says why a signal has ended the child process.

    JAX aborts a process if another one is lost. Every other signal concerns this process alone.

    Args:
      number: the number of the signal.
    """
    if number == signal.SIGABRT:
        return f"{LOST} (signal {number})"
    hint = ", as when the memory is full" if number == signal.SIGKILL else ""
    name = signal.strsignal(number) or "unknown"
    return f"signal {number} ({name}) has ended this process of the run{hint}: {GO_ON}"


def _keep(log: IO[bytes]) -> str:
    """Copy what the child wrote to a file that stays, and return a text that names the file.

    The text is empty if the child wrote nothing, or if no file can be written.
    """
    log.seek(0)
    if not (written := log.read()):
        return ""
    with contextlib.suppress(OSError):
        with tempfile.NamedTemporaryFile(prefix="jaxlabel-", suffix=".log", delete=False) as kept:
            kept.write(written)
        return f"; {kept.name} has what it wrote"
    return ""


def _end(child: "subprocess.Popen[bytes]") -> int:
    """Give a child process 5 seconds to end, then end it, and return the exit code."""
    import subprocess

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

    The first line of the error follows, because a local fault can contain the same words.

    Args:
      error: the message of an error that JAX has raised.
    """
    is_clue = any(clue in error.lower() for clue in CLUES)
    return f"{LOST} ({error.strip().splitlines()[0][:200]})" if _is_child and is_clue else ""


def leave(code: int) -> None:
    """End the child process at once; JAX would wait for the other processes for minutes."""
    if _is_child:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def leave_with_traceback() -> None:
    """In the child process: print the exception that is being handled, and end at once."""
    if _is_child:
        traceback.print_exc()
        leave(1)
