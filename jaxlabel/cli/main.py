"""The program `jaxlabel`: find the command, run it, and turn failures into an exit code.

A mistake of the user (a flag, a setting, a file) is one line on standard error and exit code 2.
A failure during the work (a full disk, an exhausted budget) is one line and exit code 1. JAX is
imported only by the commands that compute something.
"""

import os
import sys
from collections.abc import Sequence

from jaxlabel import __version__
from jaxlabel.cli import arguments, commands, environment
from jaxlabel.cli.arguments import Command
from jaxlabel.config import RunConfig
from jaxlabel.errors import JaxlabelError, UsageError, did_you_mean


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit the process with its exit code.

    Args:
      argv: the words after `jaxlabel`; None stands for those of this process.
    """
    environment.settle_streams()
    for line in environment.settle(os.environ):
        print(f"jaxlabel: {line}", file=sys.stderr)
    words = list(sys.argv[1:] if argv is None else argv)
    sys.exit(run(words))


def run(words: list[str]) -> int:
    """Run one command and return its exit code; every expected failure is printed as one line.

    Args:
      words: the words after `jaxlabel`: a command's name and its flags.
    """
    try:
        _dispatch(words)
    except JaxlabelError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on from here", 130)
    except MemoryError as error:
        return _fail(f"out of memory: {error or 'take smaller images or fewer of them'}", 1)
    except (RuntimeError, AssertionError) as error:
        # JAX's own class of this error is not used, because JAX is not imported in this module.
        if "home directory" in str(error):
            return _fail("there is no home directory for the sign ~: write the whole path", 2)
        if fault := environment.backend_fault(os.environ):
            return _fail(fault, 2)
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _fail("out of the device's memory: a training takes smaller batches (--config."
                     "batch_size, pretext_batch), fewer networks at once (members, pretext_seeds) "
                     "or another preset, in another --workdir; --config.store=URL keeps the labels "
                     f"({str(error).splitlines()[0]})", 1)  # fmt: skip
    except BrokenPipeError:
        # The reader of standard output is gone; Python's flush at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or 'no file named'}", 1)
    return 0


def overview() -> str:
    """Return the help text of the whole program, which lists the commands."""
    rows = [(command.name, command.summary) for command in commands.COMMANDS]
    return "\n".join([
        "jaxlabel: the most accurate image classifier for the fewest label queries", "",
        "usage: jaxlabel COMMAND [--flag=value ...]", "",
        *arguments.table(rows), "",
        "Each command explains itself: jaxlabel COMMAND --help",
    ])  # fmt: skip


def _dispatch(words: list[str]) -> None:
    """Run the command that the words name, or print a help text or the version."""
    if not words or words[0] == "help" or arguments.asks_help(words[:1]):
        print(overview())
    elif words[0] == "--version":
        print(f"jaxlabel {__version__} (Python {sys.version.split()[0]})")
    elif group := _unfinished_name(words):
        if not arguments.asks_help(words):
            raise UsageError(f"{words[0]} is one of {', '.join(group)}")
        print(overview())
    else:
        command, rest = _find(words)
        _start(command, rest)


def _unfinished_name(words: list[str]) -> list[str]:
    """Return the two-word commands that begin with the first word if the second word is missing.

    Returns:
      For example ["data info", "data explore"] for the word "data", alone or followed by a flag;
      an empty list if there is a second word, or no such command.
    """
    is_alone = len(words) == 1 or words[1].startswith("-")
    names = [command.name for command in commands.COMMANDS]
    return [name for name in names if is_alone and name.startswith(f"{words[0]} ")]


def _find(words: list[str]) -> tuple[Command, list[str]]:
    """Return the command whose name the words begin with, and the remaining words.

    Raises:
      UsageError: there is no such command.
    """
    by_name = {command.name: command for command in commands.COMMANDS}
    for length in (1, 2):
        if command := by_name.get(" ".join(words[:length])):
            return command, words[length:]
    raise UsageError(f"there is no command {words[0]!r}{did_you_mean(words[0], by_name)}; "
                     "jaxlabel --help lists them")  # fmt: skip


def _start(command: Command, words: list[str]) -> None:
    """Run a command with the flags in `words`, or print its help if they ask for it.

    Raises:
      UsageError: a flag is unknown, has a wrong value, or is required and not given.
    """
    wants_help = arguments.asks_help(words)
    if not command.takes_config:
        if wants_help:
            print(arguments.usage(command))
        else:
            command.run(arguments.read(command, words))
        return
    from jaxlabel.cli import settings

    if not wants_help:
        command.run(settings.read(command, words))
    elif settings.names_config(words):
        print(f"{arguments.usage(command)}\n\n{settings.describe(settings.load(words).config)}")
    else:  # Without a config file, the help shows only settings that need no import of JAX.
        shared = settings.describe(RunConfig())
        print(f"{arguments.usage(command)}\n\nThe settings of every run:\n{shared}")


def _fail(message: str, code: int) -> int:
    """Print an error message as one line and return the exit code."""
    print(f"jaxlabel: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
