"""The log of a run, kept as files in the run's directory.

The files stay readable when the process is killed at any moment, and the next process continues
from them: config.json, metrics.jsonl, session.json (seconds used, number of sessions, command),
result.json, tensorboard/, checkpoints/NAME/, artifacts/NAME.npz.
"""

import contextlib
import io
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from jaxlabel import files
from jaxlabel.errors import JaxlabelError
from jaxlabel.report import figures
from jaxlabel.report.confusion import confusion_figure
from jaxlabel.report.sections import RECORD_KEYS
from jaxlabel.runlog import own_code, records, workdir
from jaxlabel.runlog.progress import Progress
from jaxlabel.runlog.sinks import Sinks


def open_workdir(
    path: Path | str, config: Mapping[str, Any], progress: Progress | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> "RunLog":  # fmt: skip
    """Open the log of a run in the directory `path`, to start the run or to continue it.

    Args:
      path: the run's directory; it is created if it is missing.
      config: the settings; a run that has started to buy labels continues only with equal ones.
      progress: the display of progress; None stands for a new one on standard error.
      defaults: the values of settings that an older jaxlabel, which began the run, did not know.

    Raises:
      UsageError: another process uses the directory, or it holds other settings or other files, or
        files of a newer jaxlabel.
    """
    path = Path(path)
    workdir.check_is_run_directory(path)
    log = RunLog(path, progress, config.get("sinks", "tensorboard"))
    try:
        workdir.write_or_check_config(path, config, defaults)
        is_started = any((path / name).exists() for name in (workdir.RUN, "result.json"))
        if own_code.note(path, config, is_started):
            log.say(f"{own_code.CHANGED}: earlier results of the run are kept")
    except BaseException:
        log.close()
        raise
    return log


class RunLog:
    """The log of a run, kept in files; it implements the interface `log.Log`.

    No other process can open the directory until `close` is called. A session is the time from
    opening the log to closing it. A run that is killed and continued has several sessions.

    Args:
      path: the run's directory.
      progress: the display of progress; None stands for a new one on standard error.
      sinks: names of the programs that get the metrics too, such as "tensorboard,wandb".
    """

    def __init__(
        self, path: Path | str, progress: Progress | None = None, sinks: str = "tensorboard"
    ):
        self.workdir = Path(path)
        self._progress = progress or Progress()
        self._sinks = Sinks(self.workdir, sinks, self.say)
        self._managers: dict[str, Any] = {}
        self._written: set[tuple[str, int]] = set()  # the phase and step of each record
        self._outdated: set[tuple[str, int]] = set()  # records to replace if they are logged again
        self._num_classes = -1  # unknown until `classes` is called
        self._lock = workdir.take_lock(self.workdir)
        try:
            workdir.delete_partial_files(self.workdir)
            self._begin_session()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def seconds(self) -> float:
        """The wall-clock seconds that the run has used, summed over its sessions."""
        return self._before + time.monotonic() - self._began

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Log metrics to the file metrics.jsonl and to the sinks, such as TensorBoard.

        Nothing is logged if metrics of this `phase` and `step` were logged before: a run that is
        continued from a checkpoint repeats some steps. But if a network starts again because there
        are new classes (see `restore`), metrics logged from then on replace those logged before.

        Args:
          phase: the name of a part of the run, such as "classifier".
          step: the training step or the number of the query round.
          values: the metrics by name, such as "loss". TensorBoard shows "classifier/loss".

        Raises:
          ValueError: a metric is named version, phase, step or seconds.
        """
        pair = phase, step
        if pair in self._written and pair not in self._outdated:
            return
        if clash := values.keys() & set(RECORD_KEYS):
            raise ValueError(f"{phase}: {', '.join(sorted(clash))} is in every record: rename it")
        numbers = {name: records.as_python_number(value) for name, value in values.items()}
        # The sinks come first: a kill in between then repeats a point, but never loses one.
        self._sinks.scalars(phase, step, numbers)
        record = {"phase": phase, "step": step, "seconds": round(self.seconds, 3), **numbers}
        write = records.replace if pair in self._written else records.append
        write(self.workdir / "metrics.jsonl", files.with_version("metrics.jsonl", record))
        self._written.add(pair)
        self._outdated.discard(pair)
        self._write_session()

    def images(self, name: str, step: int, images: np.ndarray) -> None:
        """Arrange uint8 images (n, h, w, c) in one picture, and write it to the sinks.

        Nothing is written if `images` is empty, or if a picture with this `name` and `step` exists.
        """
        if (name, step) in self._sheets or not len(images):
            return
        self._sinks.image(name, step, figures.sheet(images))
        records.append(self.workdir / ".sheets.jsonl", {"name": name, "step": step})
        self._sheets.add((name, step))

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Save the named arrays `arrays` in the file artifacts/NAME.npz, where NAME is `name`.

        An existing file is replaced atomically.
        """
        content = io.BytesIO()
        np.savez_compressed(content, **{key: np.asarray(a) for key, a in arrays.items()})  # type: ignore[arg-type]
        files.write(self.workdir / "artifacts" / f"{name}.npz", content.getvalue())
        self._write_session()

    def classes(self, names: Sequence[str]) -> None:
        """Save the `names` of the classes that have been defined so far in artifacts/classes.npz.

        A person may add classes between two sessions. `restore` then deletes the checkpoints of
        networks with fewer outputs.
        """
        self._num_classes = len(names)
        self.arrays("classes", names=np.array(names, str))

    def progress(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Show that `step` of `num_steps` steps of a phase are done, followed by the text `note`.

        On a terminal this is a progress bar, elsewhere a line every 10 seconds.
        """
        self._progress.update(phase, step, num_steps, note)
        self._write_session()

    def say(self, text: str) -> None:
        """Print a line of text to the user, above the progress bar if there is one."""
        self._progress.say(text)

    def save(self, name: str, step: int, tree: Any) -> None:
        """Save a pytree as a checkpoint, unless this step or a later one is saved already.

        The last two checkpoints with the same `name`, such as "predictor", are kept.

        Raises:
          JaxlabelError: the disk is full.
        """
        from jaxlabel.runlog import checkpoints

        manager, folder = self._checkpoint_manager(name)
        checkpoints.save(manager, folder, step, tree, self._num_classes)
        self._write_session()

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        """Load the newest readable checkpoint that was saved under `name`.

        If its shapes differ from `like` because the number of classes has changed since, all
        checkpoints with this `name` are deleted.

        Args:
          name: the name that was given to `save`.
          like: a pytree with the structure, shapes and dtypes of the saved pytree.

        Returns:
          The checkpoint's step and its pytree; None if there is no checkpoint, or all were deleted.

        Raises:
          JaxlabelError: the shapes differ from `like`, and the number of classes is unchanged.
        """
        if not (self.workdir / "checkpoints" / name).exists():
            return None
        from jaxlabel.runlog import checkpoints

        manager, folder = self._checkpoint_manager(name)
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
            self._outdated = set(self._written)
            return None

    def forget(self, name: str) -> None:
        """Delete all checkpoints saved under `name`, and the metrics of the phase called `name`.

        If there are no such checkpoints, nothing is deleted.
        """
        folder, path = self.workdir / "checkpoints" / name, self.workdir / "metrics.jsonl"
        if not folder.exists():
            return
        if name in self._managers:
            self._managers.pop(name).close()
        kept = [record for record in files.read_lines(path)[0] if record["phase"] != name]
        with files.write_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            records.write(path, kept)
        self._written = {pair for pair in self._written if pair[0] != name}

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the run's `result` to result.json, and add a summary to the sinks.

        The summary consists of the confusion matrix and the main metrics.
        """
        confusion = self.workdir / "artifacts" / "confusion.npz"
        if confusion.exists():
            with np.load(confusion) as arrays:
                picture = confusion_figure(arrays["matrix"], result.get("classes", ()))
            self._sinks.image("confusion", 0, picture)
        names = ("test_accuracy", "train_label_accuracy", "labels_spent", "seconds")
        metrics = {name: result[name] for name in names if result.get(name) is not None}
        self._sinks.finish(metrics)
        files.write_json(self.workdir / "result.json", result)
        self._write_session(now=True)

    def close(self) -> None:
        """Close the progress bar and all files, and allow other processes to open the directory."""
        if self._lock < 0:
            return
        self._progress.close()
        try:
            self._sinks.close()
            for manager in self._managers.values():
                manager.close()
            self._write_session(now=True)
        finally:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        # On a full disk the last writes fail as well; the first error is the one to report.
        with contextlib.suppress(*([JaxlabelError] if error is not None else [])):
            self.close()

    def _begin_session(self) -> None:
        """Read what earlier sessions of the run have logged, and record that a session begins."""
        logged = records.repair_and_read(self.workdir / "metrics.jsonl")
        self._written = {(record["phase"], record["step"]) for record in logged}
        drawn = records.repair_and_read(self.workdir / ".sheets.jsonl")
        self._sheets = {(record["name"], record["step"]) for record in drawn}
        path = self.workdir / "session.json"
        session = files.read_json_unless_damaged(path)
        self._session = session or {}
        if session is None and path.exists():
            self._progress.say(f"{path} is damaged, as after a power cut, and is begun anew: the "
                               "time since the last metrics is not counted")  # fmt: skip
        self._sinks.run_ids = self._session.setdefault("sinks", {})
        used = [record["seconds"] for record in logged] + [self._session.get("seconds", 0.0)]
        self._before, self._began, self._beat = max(used), time.monotonic(), -float("inf")
        # A finished run is only read: its time and its command stay as they are.
        self._is_finished = (self.workdir / "result.json").exists()
        self._session["sessions"] = self._session.get("sessions", 0) + 1
        self._session["command"] = workdir.command_of_process()
        self._write_session()

    def _checkpoint_manager(self, name: str) -> tuple[Any, Path]:
        """Return the Orbax manager and the folder of the checkpoints saved under `name`."""
        from jaxlabel.runlog import checkpoints  # imports JAX, which a report does not need

        folder = self.workdir / "checkpoints" / name
        if name not in self._managers:
            self._managers[name] = checkpoints.open_manager(folder)
        return self._managers[name], folder

    def _write_session(self, now: bool = False) -> None:
        """Write the seconds that the run has used to session.json.

        Nothing is written if the run was finished in an earlier session. Unless `now` is True,
        nothing is written either if the last write was less than two seconds ago.
        """
        if not self._is_finished and (now or time.monotonic() - self._beat >= 2):
            self._beat = time.monotonic()
            self._session["seconds"] = round(self.seconds, 3)
            files.write_json(self.workdir / "session.json", self._session, durable=False)
