"""Show the progress of a run: a bar with the remaining time on a terminal, else plain lines."""

import sys
import time
from typing import Any, TextIO


class Progress:
    """A display of the progress of a run: a progress bar for each phase of its training.

    If the output is not a terminal, lines of text are printed instead of bars.

    Args:
      stream: the file to write to; None stands for standard error (`sys.stderr`).
      seconds_between_lines: the shortest time between two lines of text on one phase.
    """

    def __init__(self, stream: TextIO | None = None, seconds_between_lines: float = 10.0):
        self._stream = stream
        self._pause = seconds_between_lines
        self._phase = ""
        self._bar: Any = None
        self._first = (0, 0.0)
        self._shown = 0.0

    def update(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Show that `step` of `num_steps` steps of a phase are done, followed by a text.

        Args:
          phase: the name of the phase of training, such as "classifier". A name that differs from
            that of the last call ends the display of the earlier phase.
          step: the number of steps done.
          num_steps: the number of steps of the phase.
          note: the text, such as "loss 0.3"; may be empty.
        """
        if phase != self._phase:
            self.close()
            self._phase, self._first, self._shown = phase, (step, time.monotonic()), 0.0
        if self.shows_bars:
            self._draw(step, num_steps, note)
        elif step >= num_steps or time.monotonic() - self._shown >= self._pause:
            self._shown = time.monotonic()
            left = self._seconds_left(step, num_steps)
            eta = "" if left is None else f"{left:.0f} s left"
            self.say(", ".join(filter(None, [f"{phase} {step}/{num_steps}", note, eta])))
        if step >= num_steps:
            self.close()

    def say(self, text: str) -> None:
        """Print `text` as a line, above the progress bar if there is one."""
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """End the display of the current phase; its progress bar stays on the screen."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._phase = None, ""

    @property
    def stream(self) -> TextIO:
        """The file that the progress is written to."""
        return self._stream or sys.stderr

    @property
    def shows_bars(self) -> bool:
        """True if a progress bar can be shown, because the output is a terminal."""
        return self.stream.isatty()

    def _new_bar(self, step: int, num_steps: int) -> Any:
        import tqdm

        return tqdm.tqdm(
            total=num_steps, initial=step, desc=self._phase, file=self.stream,
            dynamic_ncols=True, bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}{postfix}]",
        )  # fmt: skip

    def _draw(self, step: int, num_steps: int, note: str) -> None:
        """Show the progress bar of the current phase with `step` of `num_steps` steps done."""
        if self._bar is None:
            self._bar = self._new_bar(step, num_steps)
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(step - self._bar.n)

    def _seconds_left(self, step: int, num_steps: int) -> float | None:
        """Estimate the seconds until the current phase ends, from its average speed so far.

        Args:
          step: the number of steps done.
          num_steps: the number of steps of the phase.

        Returns:
          The seconds; None if no step was done since the phase was first shown, or if all are done.
        """
        first, since = self._first
        if step <= first or step >= num_steps:
            return None
        return (time.monotonic() - since) / (step - first) * (num_steps - step)
