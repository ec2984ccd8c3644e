"""Show the progress of a run that Python code started: as a bar, or by `logging`."""

import logging
import sys
from collections.abc import Callable
from typing import Any

from jaxlabel.runlog.progress import Progress

LOGGER = logging.getLogger("jaxlabel")


class LibraryProgress(Progress):
    """Show a `tqdm` bar on a terminal and in a notebook, and log lines elsewhere.

    Lines go to the logger "jaxlabel" at level INFO, at most one in 10 seconds for each phase. To
    see them in a script: `logging.basicConfig(level=logging.INFO)`.

    Args:
      check: called at each update; what it raises ends the run. It lets another thread stop it.
    """

    def __init__(self, check: Callable[[], None] | None = None):
        super().__init__()
        self._check = check

    def update(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        """Show that `phase` has done `step` of `num_steps` steps."""
        if self._check is not None:
            self._check()
        super().update(phase, step, num_steps, note)

    def say(self, text: str) -> None:
        """Log a message at level INFO."""
        LOGGER.info("%s", text)

    @property
    def shows_bars(self) -> bool:
        """Whether a bar can be drawn: on a terminal or in a notebook."""
        return sys.stderr is not None and (sys.stderr.isatty() or _in_notebook())

    def _new_bar(self, step: int, num_steps: int) -> Any:
        from tqdm.auto import tqdm

        return tqdm(total=num_steps, initial=step, desc=self._phase, leave=False)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
