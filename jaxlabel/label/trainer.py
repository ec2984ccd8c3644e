"""The child process that trains: started when there is something to do, watched, started again."""

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

LOG = "page.log"  # what the child prints
PAUSE = 0.5  # seconds between two looks at the child
NICE = 10  # the child leaves the processor to the page when a key is pressed
STEP = re.compile(r"^([\w.]+) (\d+)/(\d+)(?:, .*?)??(?:, (\d+) s left)?$")
PHASES = (
    ("pretext", "learning what the pictures have in common"),
    ("contrast", "learning what the pictures have in common"),
    ("round", "training on the labels of this round"),
    ("end", "training to the end"),
    ("refined", "refining"),
    ("distilled", "making one network of several"),
)


class State(NamedTuple):
    """What the trainer does.

    Attributes:
      name: "idle", "training", "asking" (it waits for answers), "done" or "failed".
      phase: what a training does, in words; the message of a failure.
      step, steps: how far the phase is; 0 of 0 if unknown.
      left: seconds that the phase still takes; None if unknown.
      seconds: how long the child has been running.
    """

    name: str
    phase: str = ""
    step: int = 0
    steps: int = 0
    left: float | None = None
    seconds: float = 0.0


class Trainer:
    """Keeps the run going in a child process.

    Args:
      project: the run.
      ready: returns True if all answers that the run waits for are there.
      chosen: returns the rows that the page has chosen for coming rounds, by round.
    """

    def __init__(
        self, project: Project, ready: Callable[[], bool],
        chosen: Callable[[], dict[str, list[int]]],
    ):  # fmt: skip
        self._project, self._ready, self._chosen = project, ready, chosen
        self._child: subprocess.Popen[bytes] | None = None
        self._began, self._failure, self._said, self._classes = 0.0, "", "", 0
        self._asked, self._stop, self._lock = False, threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to watch, and to train as soon as there is something to do."""
        self._thread.start()

    def stop(self) -> None:
        """End the child; its checkpoints stay, so that it goes on from there later."""
        self._stop.set()
        with self._lock:
            self._kill()

    def retry(self) -> None:
        """Start again after a failure."""
        self._failure = ""

    def state(self) -> State:
        """Return what the trainer does now."""
        child = self._child
        if child is not None and child.poll() is None:
            phase, step, steps, left = _progress(self._project.workdir / LOG)
            return State("training", phase, step, steps, left, time.monotonic() - self._began)
        if (self._project.workdir / "result.json").exists():
            return State("done")
        if self._failure:
            return State("failed", self._failure)
        return State("asking" if self._asked and not self._ready() else "idle")

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                with self._lock:
                    self._look()
            except (JaxlabelError, OSError) as error:  # such as a locked database or a full disk
                if str(error) != self._said:
                    print(f"jaxlabel: {error}; trying again", flush=True)
                self._said = str(error)
            self._stop.wait(PAUSE)

    def _look(self) -> None:
        if self._stop.is_set():
            return
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return
            self._child = None
            self._ended(code)
        done = (self._project.workdir / "result.json").exists()
        if not done and not self._failure and (not self._asked or self._ready()):
            self._launch()

    def _ended(self, code: int) -> None:
        self._asked = code == ASKS
        if code in (0, ASKS):
            return
        grown = len(self._project.store.classes(self._project.label_set)) != self._classes
        soon = time.monotonic() - self._began < 2
        if grown or (code < 0 and not soon):
            return  # a class was named while it trained, or somebody killed it: start again
        self._failure = _last_line(self._project.workdir / LOG) or f"training ended with {code}"

    def _launch(self) -> None:
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
        self._began, self._asked = time.monotonic(), False
        with (project.workdir / LOG).open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "jaxlabel.label.child"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, os.nice(0) + NICE)
        if self._child.stdin is not None:  # it stays open: its end tells the child to end
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.write(json.dumps(order).encode() + b"\n")
                self._child.stdin.flush()

    def _kill(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


def without_secret(words: Sequence[str]) -> list[str]:
    """Return a command's words without --password and its value, for the run's record."""
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
    """Return the phase in words, its step, its steps and the seconds left, from the log's end."""
    for line in reversed(_tail(log)):
        if found := STEP.match(line):
            name, step, steps, left = found.groups()
            words = next((text for start, text in PHASES if name.startswith(start)), name)
            return words.replace("_", " "), int(step), int(steps), float(left) if left else None
    return "reading the pictures", 0, 0, None


def _last_line(log: Path) -> str:
    lines = [line for line in _tail(log) if line.strip()]
    return lines[-1].removeprefix("jaxlabel: ")[:500] if lines else ""


def _tail(log: Path) -> list[str]:
    """Return the last lines of the log."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4000))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
