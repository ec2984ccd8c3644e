"""The interface `Log` of a run (metrics, images, checkpoints), and a log that does nothing."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Log(Protocol):
    """The interface of a run's log for metrics, images, arrays, checkpoints and messages.

    `runlog.RunLog` implements it for runs on disk. Each record is identified by its name and step.
    Writing a record again does nothing, so that a run that was killed and started again can repeat
    its steps without writing records twice.
    """

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Write the metrics of one step to metrics.jsonl and TensorBoard.

        Args:
          phase: the name of the training phase.
          step: the step.
          values: the metrics by name; in TensorBoard they are called `phase/name`.
        """

    def images(self, name: str, step: int, images: np.ndarray) -> None:
        """Write uint8 images (n, h, w, c) as one sheet to TensorBoard."""

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Write arrays to artifacts/NAME.npz, from which the report draws figures.

        The file is replaced atomically.
        """

    def progress(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Show the progress: as a bar on a terminal, otherwise as an occasional line of text.

        Args:
          phase: the name of the training phase.
          step: the number of steps done.
          num_steps: the number of all steps of the phase.
          note: a text to show after the numbers.
        """

    def say(self, text: str) -> None:
        """Print a line for the user, such as a warning."""

    def save(self, name: str, step: int, tree: Any) -> None:
        """Save a checkpoint of a pytree of arrays under a name.

        If saving is interrupted, the previous checkpoint of this name remains.
        """

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        """Return the newest checkpoint as (step, tree), or None if there is none.

        Args:
          name: the name under which the checkpoint was saved.
          like: a pytree of the same structure as the saved one.
        """


class NullLog:
    """A log that writes nothing, for tests and notebooks."""

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Do nothing with the values."""

    def images(self, name: str, step: int, images: np.ndarray) -> None:
        """Do nothing with the images."""

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Do nothing with the arrays."""

    def progress(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Do not show the progress."""

    def say(self, text: str) -> None:
        """Do not print the line."""

    def save(self, name: str, step: int, tree: Any) -> None:
        """Do not save a checkpoint."""

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        """Return None: there are no checkpoints."""
        return None
