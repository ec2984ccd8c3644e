"""The record of one run in its work directory, which a kill at any moment leaves usable.

config.json, metrics.jsonl, session.json (time used over all sessions, how many, and the command),
result.json, tensorboard/, checkpoints/NAME/, artifacts/NAME.npz.
"""

import contextlib
import io
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from jaxlabel import files
from jaxlabel.errors import JaxlabelError
from jaxlabel.report import figures
from jaxlabel.runlog import workdir
from jaxlabel.runlog.progress import Progress
from jaxlabel.runlog.tensorboard import Events

RESERVED = ("phase", "step", "seconds")


def open_workdir(
    path: Path | str, config: Mapping[str, Any], progress: Progress | None = None
) -> "RunLog":
    """The log of a new run in `path`, or of the run of the same configuration that is there.

    Raises:
      UsageError: the directory holds another configuration or something else, or is in use.
    """
    path = Path(path)
    workdir.refuse_foreign(path)
    log = RunLog(path, progress)
    try:
        workdir.settle_config(path, config)
    except BaseException:
        log.close()
        raise
    return log


class RunLog:
    """Implements `log.Log` in a directory that this process holds until `close`.

    Attributes:
      seconds: wall-clock time used so far, over all sessions of the run.
    """

    def __init__(self, path: Path | str, progress: Progress | None = None):
        self.workdir = Path(path)
        self._lock = workdir.take_lock(self.workdir)
        workdir.clean(self.workdir)
        self._progress = progress or Progress()
        self._events = Events(self.workdir / "tensorboard")
        self._managers: dict[str, Any] = {}
        records = self._open_lines("metrics.jsonl")
        self._written = {(record["phase"], record["step"]) for record in records}
        self._sheets = {
            (record["name"], record["step"]) for record in self._open_lines(".sheets.jsonl")
        }
        self._session = files.read_json(self.workdir / "session.json") or {}
        used = [record["seconds"] for record in records] + [self._session.get("seconds", 0.0)]
        self._before, self._began, self._beat = max(used), time.monotonic(), -float("inf")
        # Who opens a finished run only looks at it: its time and command stay.
        self._over = (self.workdir / "result.json").exists()
        self._num_classes = -1  # not known yet
        self._session["sessions"] = self._session.get("sessions", 0) + 1
        self._session["command"] = command()
        self._heartbeat()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """A line of metrics.jsonl and TensorBoard's `phase/name`, once per (phase, step)."""
        if (phase, step) in self._written:
            return
        if clash := values.keys() & set(RESERVED):
            raise ValueError(f"{phase}: {', '.join(sorted(clash))} is the log's own")
        numbers = {name: _number(value) for name, value in values.items()}
        # TensorBoard first: after a kill in between, replaying writes a point twice, never not.
        self._events.scalars(phase, step, numbers)
        record = {"phase": phase, "step": step, "seconds": round(self.seconds, 3), **numbers}
        self._append("metrics.jsonl", record)
        self._written.add((phase, step))
        self._heartbeat()

    def images(self, name: str, step: int, images: np.ndarray) -> None:
        """A sheet of images for TensorBoard, once per (name, step)."""
        if (name, step) in self._sheets or not len(images):
            return
        self._events.image(name, step, figures.sheet(images))
        self._append(".sheets.jsonl", {"name": name, "step": step})
        self._sheets.add((name, step))

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """artifacts/NAME.npz, atomically replaced."""
        content = io.BytesIO()
        np.savez_compressed(content, **{key: np.asarray(a) for key, a in arrays.items()})  # type: ignore[arg-type]
        files.write(self.workdir / "artifacts" / f"{name}.npz", content.getvalue())
        self._heartbeat()

    def classes(self, names: Sequence[str]) -> None:
        """artifacts/classes.npz: the classes that there are so far.

        A person may name more of them while the run waits: then checkpoints of networks that have
        no place for them are forgotten when they are asked for.
        """
        self._num_classes = len(names)
        self.arrays("classes", names=np.array(names, str))

    def progress(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """A bar on a terminal, else a line now and then."""
        self._progress.update(phase, step, num_steps, note)
        self._heartbeat()

    def say(self, text: str) -> None:
        """Prints a line that does not tear the bar."""
        self._progress.say(text)

    def save(self, name: str, step: int, tree: Any) -> None:
        """A checkpoint; the last two are kept, and a step that is already there stays."""
        from jaxlabel.runlog import checkpoints

        manager, folder = self._checkpoints(name)
        checkpoints.save(manager, folder, step, tree, self._num_classes)
        self._heartbeat()

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        """The newest checkpoint (step, tree) in the structure of `like`, or None.

        Raises:
          JaxlabelError: it was saved from a tree with other leaves, and not for lack of classes.
        """
        if not (self.workdir / "checkpoints" / name).exists():
            return None
        from jaxlabel.runlog import checkpoints

        manager, folder = self._checkpoints(name)
        try:
            return checkpoints.restore(manager, folder, like, self.say)
        except checkpoints.Misfit as error:
            before, now = error.num_classes, self._num_classes
            if min(before, now) < 0 or before == now:
                raise
            change = (
                "classes that it did not know" if before < now else "fewer classes than it knew"
            )
            self.say(f"{name} starts again: there are {change}")
            self.forget(name)
            return None

    def forget(self, name: str) -> None:
        """Removes the checkpoints of that name, and what was written of its steps."""
        folder, path = self.workdir / "checkpoints" / name, self.workdir / "metrics.jsonl"
        if not folder.exists():
            return
        if name in self._managers:
            self._managers.pop(name).close()
        records = [record for record in files.read_lines(path)[0] if record["phase"] != name]
        with files.refusals(folder):
            shutil.rmtree(folder, ignore_errors=True)
            files.write(path, b"".join(map(files.json_line, records)))
        self._written = {pair for pair in self._written if pair[0] != name}

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes result.json, and the confusion matrix and the settings for TensorBoard."""
        confusion = self.workdir / "artifacts" / "confusion.npz"
        if confusion.exists():
            with np.load(confusion) as arrays:
                picture = figures.confusion_figure(arrays["matrix"], result.get("classes", ()))
            self._events.image("confusion", 0, picture)
        names = ("test_accuracy", "train_label_accuracy", "labels_spent", "seconds")
        reached = {name: result[name] for name in names if result.get(name) is not None}
        config = files.read_json(self.workdir / "config.json") or result.get("config", {})
        self._events.hparams(config, reached)
        files.write_json(self.workdir / "result.json", result)
        self._heartbeat(now=True)

    def close(self) -> None:
        """Ends the bar, closes the files and lets the directory go."""
        if self._lock < 0:
            return
        self._progress.close()
        try:
            self._events.close()
            for manager in self._managers.values():
                manager.close()
            self._heartbeat(now=True)
        finally:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A full disk refuses the last writes as well; the first refusal is the one to tell.
        with contextlib.suppress(*([JaxlabelError] if error is not None else [])):
            self.close()

    def _checkpoints(self, name: str) -> tuple[Any, Path]:
        from jaxlabel.runlog import checkpoints  # imports JAX, which a report does without

        folder = self.workdir / "checkpoints" / name
        if name not in self._managers:
            self._managers[name] = checkpoints.open_manager(folder)
        return self._managers[name], folder

    def _open_lines(self, name: str) -> list[dict[str, Any]]:
        """The lines written so far; a half-written last one is cut off."""
        path = self.workdir / name
        records, size = files.read_lines(path)
        if path.exists() and size < path.stat().st_size:
            os.truncate(path, size)
        return records

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        path = self.workdir / name
        with files.refusals(path), path.open("ab") as file:
            file.write(files.json_line(record))

    def _heartbeat(self, now: bool = False) -> None:
        """Writes down the time used, every two seconds, so that a kill loses no more of it."""
        if not self._over and (now or time.monotonic() - self._beat >= 2):
            self._beat = time.monotonic()
            self._session["seconds"] = round(self.seconds, 3)
            files.write_json(self.workdir / "session.json", self._session, durable=False)


def command() -> str:
    """The command line of this process, as one would type it."""
    arguments = [files.without_password(text) for text in sys.argv[1:]]
    program = Path(sys.argv[0])
    if program.name in ("jaxlabel", "__main__.py"):
        return shlex.join(["jaxlabel", *arguments])
    inside = program.is_absolute() and program.is_relative_to(Path.cwd())
    shown = program.relative_to(Path.cwd()) if inside else program
    return shlex.join(["python", str(shown), *arguments])


def _number(value: Any) -> float | int:
    number = np.asarray(value).item()
    return number if isinstance(number, int) and not isinstance(number, bool) else float(number)
