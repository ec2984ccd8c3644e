"""A command's arguments, `--flag=value` each."""

import re
import sys

from absl import flags

from jaxlabel.errors import UsageError


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
        # absl shows a Python tuple here
        said = re.sub(r"\('Non-boolean argument.*\)", "it takes true or false", str(error))
        raise UsageError(said) from error
    if stray:
        raise UsageError(f"stray argument {stray[0]!r}: every argument is --flag=value")
