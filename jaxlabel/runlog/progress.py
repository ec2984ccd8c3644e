"""Show the progress of a run: a bar with the remaining time on a terminal, else plain lines."""

import sys
import time
from typing import Any, TextIO


class Progress:
    """A display of the progress of one phase after another.

    Args:
      stream: the file to write to; None stands for `sys.stderr` at the time of writing.
      seconds_between_lines: the shortest time between two lines of a phase if the stream is not a
        terminal.
    """

    def __init__(self, stream: TextIO | None = None, seconds_between_lines: float = 10.0):
        self._stream = stream
        self._pause = seconds_between_lines
        self._phase = ""
        self._bar: Any = None
        self._first = (0, 0.0)
        self._shown = 0.0

    def update(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Show that a phase has done `step` of its `num_steps` steps, with a note behind."""
        if phase != self._phase:
            self.close()
            self._phase, self._first, self._shown = phase, (step, time.monotonic()), 0.0
        if self.shows_bars:
            self._draw(step, num_steps, note)
        elif step >= num_steps or time.monotonic() - self._shown >= self._pause:
            self._shown = time.monotonic()
            self.say(_line(phase, step, num_steps, note, self._left(step, num_steps)))
        if step >= num_steps:
            self.close()

    def say(self, text: str) -> None:
        """Print a line of text, above the bar if one is shown."""
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """End the phase; its bar stays on the screen."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._phase = None, ""

    @property
    def stream(self) -> TextIO:
        """The file to write to."""
        return self._stream or sys.stderr

    @property
    def shows_bars(self) -> bool:
        """Whether the stream can show a bar: whether it is a terminal."""
        return self.stream.isatty()

    def _new_bar(self, step: int, num_steps: int) -> Any:
        import tqdm

        return tqdm.tqdm(
            total=num_steps, initial=step, desc=self._phase, file=self.stream,
            dynamic_ncols=True, bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}{postfix}]",
        )  # fmt: skip

    def _draw(self, step: int, num_steps: int, note: str) -> None:
        """Draw the phase's bar, or update it."""
        if self._bar is None:
            self._bar = self._new_bar(step, num_steps)
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(step - self._bar.n)

    def _left(self, step: int, num_steps: int) -> float | None:
        """Return the seconds until the phase ends, estimated from its average speed so far.

        Returns:
          None if no step was done since the first update, or all steps are done.
        """
        first, since = self._first
        if step <= first or step >= num_steps:
            return None
        return (time.monotonic() - since) / (step - first) * (num_steps - step)


def _line(phase: str, step: int, num_steps: int, note: str, left: float | None) -> str:
    """Return a progress line such as "classifier 40/100, loss 0.3, 12 s left"."""
    share = f"{step}/{num_steps}"
    eta = f"{left:.0f} s left" if left is not None else ""
    return ", ".join(filter(None, [f"{phase} {share}", note, eta]))
