"""The interface `Log` of a run (metrics, images, checkpoints), and a log that does nothing."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Log(Protocol):
    """The interface of a run's log for metrics, images, arrays, checkpoints and messages.

    `runlog.RunLog` implements it for runs on disk. A record is identified by its name and its step.
    If a record exists already, writing it again does nothing. So a run that was killed and started
    again can repeat its steps without writing records twice.
    """

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Write the metrics of one step to metrics.jsonl and to the sinks, such as TensorBoard.

        Args:
          phase: the name of the training phase.
          step: the number of the step.
          values: the metrics by name; TensorBoard shows them as `phase/name`.
        """

    def images(self, name: str, step: int, images: np.ndarray) -> None:
        """Write uint8 images of shape (n, h, w, c) to the sinks, joined to one large image.

        Args:
          name: the name under which the sinks show the images.
          step: the number of the training step.
        """

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Write arrays to the file artifacts/NAME.npz, from which the report draws figures.

        The file is replaced atomically: a reader finds either the old or the new content.
        """

    def progress(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Show to the user how far a training phase is.

        In a terminal this is a progress bar, otherwise an occasional line of text.

        Args:
          phase: the name of the training phase.
          step: the number of steps done.
          num_steps: the number of all steps of the phase.
          note: a text to show after the numbers.
        """

    def say(self, text: str) -> None:
        """Print one line for the user, such as a warning."""

    def save(self, name: str, step: int, tree: Any) -> None:
        """Save a checkpoint: a pytree of arrays, under a name and a step.

        If saving is interrupted, the previous checkpoint with this name remains.
        """

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        """Return the newest checkpoint of the given name as (step, tree), or None if there is none.

        Args:
          name: the name under which the checkpoint was saved.
          like: a pytree of the same structure as the saved one.
        """


class NullLog:
    """A log that writes nothing and restores no checkpoints, for tests and notebooks."""

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Do nothing; the metrics are discarded."""

    def images(self, name: str, step: int, images: np.ndarray) -> None:
        """Do nothing; the images are discarded."""

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Do nothing; the arrays are discarded."""

    def progress(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Do nothing; no progress is shown."""

    def say(self, text: str) -> None:
        """Do nothing; the text is not printed."""

    def save(self, name: str, step: int, tree: Any) -> None:
        """Do nothing; no checkpoint is saved."""

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        """Return None, because this log keeps no checkpoints."""
        return None
