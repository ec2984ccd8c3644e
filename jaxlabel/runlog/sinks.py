"""Send a run's metrics and pictures to the programs that show them, such as TensorBoard."""

import importlib.util
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from jaxlabel import files
from jaxlabel.errors import UsageError, did_you_mean, reason_of
from jaxlabel.runlog import trackers
from jaxlabel.runlog.tensorboard import Events


class Sink(Protocol):
    """The interface of a program that shows the metrics, the pictures and the settings of runs.

    Attributes:
      run_id: the id that the program gave to the run; empty if the program needs none. A continued
        run passes the id to the program, which then shows both sessions as one run.
    """

    run_id: str

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Write metrics of one step, which are finite numbers.

        Args:
          phase: the part of the run that the metrics belong to, such as "classifier".
          step: the training step.
          values: the metrics by name, such as "loss".
        """

    def image(self, name: str, step: int, image: UInt8[np.ndarray, "h w c"]) -> None:
        """Write a picture, which the program shows under `name` and `step`."""

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Write the final metrics of a run that has finished without an error."""

    def close(self) -> None:
        """Write everything that is still in memory, and end the session."""


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any], str], Sink]] = {
    "wandb": trackers.Wandb,
    "mlflow": trackers.Mlflow,
}
NAMES = ("tensorboard", *TRACKERS)


def parse(names: str) -> list[str]:
    """Return the names of sinks in a text such as "tensorboard,wandb" as a list.

    Raises:
      UsageError: there is no such sink, or the package that it needs is not installed.
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in NAMES:
            raise UsageError(f"config.sinks={names}: there is no sink {name}"
                             f"{did_you_mean(name, NAMES)}; it takes some of "
                             f"{', '.join(NAMES)}, or nothing")  # fmt: skip
        if name in TRACKERS and importlib.util.find_spec(name) is None:
            raise UsageError(f"config.sinks={names} needs the package {name}: "
                             f"pip install 'jaxlabel[{name}]'")  # fmt: skip
    return list(dict.fromkeys(chosen))


class Sinks:
    """All sinks of a run. A sink that fails is left out from then on, and the run continues.

    A sink is opened when the first metric or picture is written.

    Args:
      workdir: the run's directory.
      names: the names of the sinks, such as "tensorboard,wandb".
      say: a function that shows a line of text to the user: which sink failed, and why.

    Raises:
      UsageError: there is no such sink, or the package that it needs is not installed.

    Attributes:
      run_ids: the id that each sink gave to the run in this or an earlier session, by the sink's
        name.
    """

    def __init__(self, workdir: Path, names: str, say: Callable[[str], None]):
        self._workdir, self._say = workdir, say
        self._names = parse(names)
        self.run_ids: dict[str, str] = {}
        self._open: dict[str, Sink] = {}

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Write metrics to all sinks. Infinite and NaN values are left out."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        if finite:
            self._write(self._names, lambda sink: sink.scalars(phase, step, finite))

    def image(self, name: str, step: int, image: UInt8[np.ndarray, "h w c"]) -> None:
        """Write a picture to all sinks."""
        self._write(self._names, lambda sink: sink.image(name, step, image))

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Write the final metrics of a run to all sinks."""
        self._write(self._names, lambda sink: sink.finish(metrics))

    def close(self) -> None:
        """Close the sinks that were opened."""
        self._write(list(self._open), lambda sink: sink.close())
        self._open, self._names = {}, []

    def _write(self, names: list[str], write: Callable[[Sink], None]) -> None:
        """Call `write` for each sink. After an error, the user is told and the sink is left out."""
        for name in list(names):
            try:
                write(self._opened(name))
            except Exception as error:  # a package, the network or a disk may raise any error
                reason = reason_of(error)
                self._say(f"{name} failed and gets nothing more from this run, which goes on "
                          f"without it: {reason}")  # fmt: skip
                self._names.remove(name)
                self._open.pop(name, None)

    def _opened(self, name: str) -> Sink:
        """Return the sink with the given name, and open it if this is its first use."""
        if name not in self._open:
            config: dict[str, Any] = files.read_settings(self._workdir) or {}
            if name == "tensorboard":
                self._open[name] = Events(self._workdir / "tensorboard", config)
            else:
                run_id = self.run_ids.get(name, "")
                self._open[name] = TRACKERS[name](self._workdir, config, run_id)
                self.run_ids[name] = self._open[name].run_id
        return self._open[name]
