"""What a recipe may write while it runs: the `Log` that `methods/` see, and one that forgets."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Log(Protocol):
    """Where numbers, pictures, arrays and checkpoints of a run go. `runlog.RunLog` is the real one.

    Everything is keyed by (name, step), and a record that was already written is kept as it is:
    so a run that was killed and started again can replay its steps without writing them twice.
    """

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """One line of metrics.jsonl and TensorBoard scalars `phase/name` at `step`."""

    def images(self, name: str, step: int, images: np.ndarray) -> None:
        """A sheet of uint8 images (n, h, w, c) for TensorBoard."""

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Arrays that the report draws from, in artifacts/NAME.npz (atomically replaced)."""

    def progress(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """A progress bar's state on a terminal; a plain line now and then otherwise."""

    def say(self, text: str) -> None:
        """A line for the person who looks on, such as a warning."""

    def save(self, name: str, step: int, tree: Any) -> None:
        """A checkpoint of a pytree of arrays; the newest complete one survives a kill."""

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        """The newest checkpoint (step, tree) in the structure of `like`, or None."""


class NullLog:
    """A log that writes nothing, for tests and notebooks."""

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Forgets the values."""

    def images(self, name: str, step: int, images: np.ndarray) -> None:
        """Forgets the images."""

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Forgets the arrays."""

    def progress(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Shows nothing."""

    def say(self, text: str) -> None:
        """Says nothing."""

    def save(self, name: str, step: int, tree: Any) -> None:
        """Keeps no checkpoint."""

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        """Has no checkpoint."""
        return None
