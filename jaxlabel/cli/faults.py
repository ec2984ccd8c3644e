"""Explain in one line an exception that the user's own function or class raised."""

import traceback

from jaxlabel.config import IMPORTED


def own_fault(error: BaseException) -> str:
    """Return a message that names the user's own function that failed, its error and the line.

    Such a function (or class) is one that a setting names as `module:function`. The line is the
    last one in its file that was executed. The message is "" if the exception did not pass through
    such a file.

    Args:
      error: the exception, as it was caught.
    """
    calls = [
        (frame.f_code.co_qualname.split(".")[0], frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [(name, file, line) for name, file, line in calls if file in IMPORTED.values()]
    if not own:
        return ""
    _, last_file, line = own[-1]
    parts = [part for part, file in IMPORTED.items() if file == last_file]
    called = {f"{part.partition(':')[0]}:{name}" for name, _, _ in own for part in parts}
    part = next((part for part in parts if part in called), parts[0])
    text = str(error).strip().splitlines()
    shown = repr(error) if len(text) < 2 else f"{type(error).__name__}: {text[0]}"
    return f"{part} failed: {shown[:300]} at line {line} of {last_file.rpartition('/')[2]}"
