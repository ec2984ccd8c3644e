"""Start the child process that trains, watch it, and start it again when labels have come."""

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxlabel.errors import JaxlabelError
from jaxlabel.label.child import ASKS
from jaxlabel.label.project import Project

LOG = "page.log"  # the file for the child's output
PAUSE = 0.5  # seconds between two checks of the child
NICE = 10  # lowers the child's priority, so that the page responds quickly
STEP = re.compile(r"^([\w.]+) (\d+)/(\d+)(?:, .*?)??(?:, (\d+) s left)?$")
PHASES = (
    ("pretext", "learning what the pictures have in common"),
    ("contrast", "learning what the pictures have in common"),
    ("round", "training on the labels of this round"),
    ("end", "training to the end"),
    ("refined", "refining the model"),
    ("learned", "learning features for the next questions"),
    ("sequential", "asking one question after another"),
)


class State(NamedTuple):
    """A report of what the training process is doing.

    Attributes:
      name: "idle", "training", "asking" (it waits for labels), "done" or "failed".
      phase: a description of the running phase; if `name` is "failed", the error message.
      step: the number of steps done in this phase; 0 if unknown.
      steps: the total number of steps of this phase; 0 if unknown.
      left: the estimated seconds until the end of this phase; None if unknown.
      seconds: the seconds since the child process started.
    """

    name: str
    phase: str = ""
    step: int = 0
    steps: int = 0
    left: float | None = None
    seconds: float = 0.0


class Trainer:
    """Runs the training of a labelling page in a child process until the run is finished.

    The child process ends whenever the run needs labels, and is started again once they are given.
    It is also restarted if it was killed; after an error it waits for `retry`.

    Args:
      project: the run to train.
      ready: a function that returns True if all labels that the run waits for are given.
      chosen: a function that returns the pictures that the page chose for coming rounds: a dict
        from the number of the round (as text) to indices of pictures.
    """

    def __init__(
        self, project: Project, ready: Callable[[], bool],
        chosen: Callable[[], dict[str, list[int]]],
    ):  # fmt: skip
        self._project, self._ready, self._chosen = project, ready, chosen
        self._child: subprocess.Popen[bytes] | None = None
        self._began, self._failure, self._last_error, self._classes = 0.0, "", "", 0
        self._waits, self._stop, self._lock = False, threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Start a thread that starts and watches the child process."""
        self._thread.start()

    def stop(self) -> None:
        """End the child process; its checkpoints stay, so that training can be resumed."""
        self._stop.set()
        with self._lock:
            self._kill()

    def retry(self) -> None:
        """Forget the last failure, so that the child process is started again."""
        self._failure = ""

    def state(self) -> State:
        """Return what the training process is doing now."""
        child = self._child
        if child is not None and child.poll() is None:
            phase, step, steps, left = _progress(self._project.workdir / LOG)
            return State("training", phase, step, steps, left, time.monotonic() - self._began)
        if (self._project.workdir / "result.json").exists():
            return State("done")
        if self._failure:
            return State("failed", self._failure)
        return State("asking" if self._waits and not self._ready() else "idle")

    def _watch(self) -> None:
        """Check the child process every PAUSE seconds until `stop` is called; print errors."""
        while not self._stop.is_set():
            try:
                with self._lock:
                    self._check_child()
            except (JaxlabelError, OSError) as error:  # such as a locked database or a full disk
                if str(error) != self._last_error:
                    print(f"jaxlabel: {error}; trying again", flush=True)
                self._last_error = str(error)
            self._stop.wait(PAUSE)

    def _check_child(self) -> None:
        """Handle the end of the child process, and start it if there is something to train."""
        if self._stop.is_set():
            return
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return
            self._child = None
            self._handle_exit(code)
        done = (self._project.workdir / "result.json").exists()
        if not done and not self._failure and (not self._waits or self._ready()):
            self._launch()

    def _handle_exit(self, code: int) -> None:
        """Decide by the child's exit code whether the run waits for labels, restarts, or failed."""
        self._waits = code == ASKS
        if code in (0, ASKS):
            return
        grown = len(self._project.store.classes(self._project.label_set)) != self._classes
        soon = time.monotonic() - self._began < 2
        if grown or (code < 0 and not soon):
            return  # a class was added during the training, or the child was killed: start again
        self._failure = _last_line(self._project.workdir / LOG) or f"training ended with {code}"

    def _launch(self) -> None:
        """Start the child process and write the run's settings to its standard input."""
        project = self._project
        settings = dataclasses.asdict(project.settings)
        order = {
            "command": without_secret(sys.argv),
            "method": type(project.settings).__module__.rpartition(".")[2],
            "settings": settings,
            "workdir": str(project.workdir),
            "chosen": self._chosen(),
            "num_images": len(project.items),
        }
        self._classes = len(project.store.classes(project.label_set))
        self._began, self._waits = time.monotonic(), False
        with (project.workdir / LOG).open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "jaxlabel.label.child"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, os.nice(0) + NICE)
        if self._child.stdin is not None:  # stays open: the child ends when it is closed
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.write(json.dumps(order).encode() + b"\n")
                self._child.stdin.flush()

    def _kill(self) -> None:
        """End the child process, and wait until it has ended."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


def without_secret(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without --password and its value, to be recorded."""
    kept: list[str] = []
    skip = False
    for word in words:
        name, equals, _ = word.lstrip("-").partition("=")
        secret = word.startswith("-") and name == "password"
        if not secret and not skip:
            kept.append(word)
        skip = secret and not equals
    return kept


def _progress(log: Path) -> tuple[str, int, int, float | None]:
    """Return the phase, step, number of steps and seconds left that the end of the log shows."""
    for line in reversed(_tail(log)):
        if found := STEP.match(line):
            name, step, steps, left = found.groups()
            words = next((text for start, text in PHASES if name.startswith(start)), name)
            return words.replace("_", " "), int(step), int(steps), float(left) if left else None
    return "reading the pictures", 0, 0, None


def _last_line(log: Path) -> str:
    """Return the last line of the log that is not blank, or an empty string."""
    lines = [line for line in _tail(log) if line.strip()]
    return lines[-1].removeprefix("jaxlabel: ")[:500] if lines else ""


def _tail(log: Path) -> list[str]:
    """Return the lines in the last 4,000 bytes of the log; none if it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4000))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
