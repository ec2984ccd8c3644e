"""A command's arguments, `--flag=value` each, and what is said of a misspelled one."""

import sys
from typing import Any

from absl import flags

from jaxlabel.errors import UsageError


def did_you_mean(word: str, known: Any) -> str:
    """' (did you mean X?)' when something known is spelled nearly so, else nothing."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def parse(values: flags.FlagValues, arguments: list[str], usage: str) -> None:
    """Fills the flags from the arguments.

    Raises:
      UsageError: an unknown flag, a value of the wrong type, or a stray argument.
    """
    if any(a in ("--help", "-h", "-help", "--helpfull", "--helpshort") for a in arguments):
        print(usage)
        sys.exit(0)
    try:
        stray = values(["jaxlabel", *arguments])[1:]
    except flags.Error as error:
        raise UsageError(str(error)) from error
    if stray:
        raise UsageError(f"stray argument {stray[0]!r}: every argument is --flag=value")
