"""Show the progress of a run that Python code started: as a bar, or by log messages."""

import logging
import sys
from collections.abc import Callable
from typing import Any

from jaxlabel.runlog.progress import Progress

LOGGER = logging.getLogger("jaxlabel")


class LibraryProgress(Progress):
    """Progress display for library calls: a `tqdm` bar in a terminal or notebook, or log messages.

    The messages go to the logger "jaxlabel" at level INFO, at most one in 10 seconds for each phase
    of the training. The call `logging.basicConfig(level=logging.INFO)` makes them visible in a
    script.

    Args:
      check: a function that is called at each update. If it raises an exception, the run ends, so
        that another thread can stop the run.
    """

    def __init__(self, check: Callable[[], None] | None = None):
        super().__init__()
        self._check = check

    def update(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Show that `step` of the `num_steps` steps of the training phase `phase` are done."""
        if self._check is not None:
            self._check()
        super().update(phase, step, num_steps, note)

    def say(self, text: str) -> None:
        """Log the message `text` at level INFO."""
        LOGGER.info("%s", text)

    @property
    def shows_bars(self) -> bool:
        """Whether a progress bar can be shown: the program runs in a terminal or in a notebook."""
        return sys.stderr is not None and (sys.stderr.isatty() or _in_notebook())

    def _new_bar(self, step: int, num_steps: int) -> Any:
        from tqdm.auto import tqdm

        return tqdm(total=num_steps, initial=step, desc=self._phase, leave=False)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
