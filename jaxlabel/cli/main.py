"""The program `jaxlabel`: find the command, run it, and turn failures into an exit code.

A mistake of the user (a flag, a setting, a file) is one line on standard error and exit code 2.
A failure during the work (a full disk, an exhausted budget) is one line and exit code 1. JAX is
imported only by the commands that compute something.
"""

import os
import sys
from collections.abc import Sequence

from jaxlabel import __version__
from jaxlabel.cli import arguments, environment, faults, guard
from jaxlabel.cli.arguments import Command
from jaxlabel.cli.catalogue import COMMANDS
from jaxlabel.config import RunConfig
from jaxlabel.errors import JaxlabelError, UsageError, did_you_mean


def main(argv: Sequence[str] | None = None) -> None:
    """Execute one command of the program `jaxlabel` and exit the process with its exit code.

    Args:
      argv: the command-line arguments after the program's name `jaxlabel`; None stands for the
        arguments with which this process was started.
    """
    guard.settle_child()
    environment.settle_streams()
    for line in environment.settle(os.environ):
        print(f"jaxlabel: {line}", file=sys.stderr)
    words = list(sys.argv[1:] if argv is None else argv)
    if guard.is_needed(words):
        sys.exit(guard.run(words))
    try:
        code = run(words)
    except BaseException:
        guard.leave_with_traceback()
        raise
    guard.leave(code)
    sys.exit(code)


def run(words: list[str]) -> int:
    """Execute one command and return its exit code: 0 on success.

    An expected failure, such as a wrong flag or a full disk, is printed on standard error as one
    line. So is an exception that a function of the user raises, if a setting names this function.

    Args:
      words: the command's name and its flags, such as ["train", "--workdir=runs/a"].
    """
    try:
        _dispatch(words)
    except JaxlabelError as error:
        return _print_error(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _print_error("interrupted; the same command goes on from here", 130)
    except MemoryError as error:
        return _print_error(f"out of memory: {error or 'take smaller images or fewer of them'}", 1)
    except (RuntimeError, AssertionError) as error:
        # JAX's own class of this error is not used, because JAX is not imported in this module.
        if "home directory" in str(error):
            return _print_error(
                "there is no home directory for the sign ~: write the whole path", 2
            )
        if fault := environment.backend_fault(os.environ):
            return _print_error(fault, 2)
        if "RESOURCE_EXHAUSTED" not in str(error):
            if fault := faults.own_fault(error):
                return _print_error(fault, 2)
            if lost := guard.lost_process(str(error)):
                return _print_error(lost, 1)
            raise
        return _print_error(
            "the device's memory is full: set smaller batches (--config.batch_size, "
            "pretext_batch), fewer networks at once (pretext_seeds) or another preset, and take "
            "another --workdir; --config.store=URL keeps the labels "
            f"({str(error).splitlines()[0]})",
            1,
        )
    except BrokenPipeError:
        # The reader of standard output is gone; Python's flush at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _print_error(f"{error.strerror or error}: {error.filename or 'no file named'}", 1)
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        # It comes from the name of a file or from the command line; the text around may be long.
        shown = error.object[max(0, error.start - 200) : error.end + 50]
        return _print_error("a name with bytes that are not UTF-8 cannot be used here: rename it, "
                            f"or choose another, such as --workdir=DIR: {shown}", 2)  # fmt: skip
    except Exception as error:
        if fault := faults.own_fault(error):
            return _print_error(fault, 2)
        raise
    return 0


def overview() -> str:
    """Return the help text of the program `jaxlabel`, with one line for each of its commands."""
    rows = [(command.name, command.summary) for command in COMMANDS]
    return "\n".join([
        "jaxlabel: the most accurate image classifier for the fewest label queries", "",
        "usage: jaxlabel COMMAND [--flag=value ...]", "",
        *arguments.two_column_lines(rows), "",
        "Each command explains itself: jaxlabel COMMAND --help",
    ])  # fmt: skip


def _dispatch(words: list[str]) -> None:
    """Execute the command that is named on the command line, or print a help text or the version.

    Args:
      words: the command-line arguments after the program's name, such as ["train", "--quick"].

    Raises:
      UsageError: there is no command of this name, or a flag of the command is wrong.
    """
    if not words or words[0] == "help" or arguments.asks_help(words[:1]):
        print(overview())
    elif words[0] == "--version":
        print(f"jaxlabel {__version__} (Python {sys.version.split()[0]})")
    elif group := _commands_in_group(words):
        if not arguments.asks_help(words):
            raise UsageError(f"{words[0]} is one of {', '.join(group)}")
        print(overview())
    else:
        command, rest = _find_command(words)
        _run_command(command, rest)


def _commands_in_group(words: list[str]) -> list[str]:
    """Return all commands of a group, such as "data", if the user named only the group.

    Args:
      words: the command-line arguments. Some commands have a name of two words, such as "data
        info"; the first word is the group.

    Returns:
      For example ["data info", "data explore", "data prepare"] if `words` is ["data"] or
      ["data", "--help"]. An empty list if the second word is not a flag, as in ["data", "info"], or
      if the first word is not a group.
    """
    is_alone = len(words) == 1 or words[1].startswith("-")
    names = [command.name for command in COMMANDS]
    return [name for name in names if is_alone and name.startswith(f"{words[0]} ")]


def _find_command(words: list[str]) -> tuple[Command, list[str]]:
    """Split the command-line arguments into the command that they name and the arguments after it.

    For example, ["data", "info", "--data=digits"] yields the command "data info" and
    ["--data=digits"].

    Raises:
      UsageError: there is no command of this name.
    """
    by_name = {command.name: command for command in COMMANDS}
    for length in (1, 2):
        if command := by_name.get(" ".join(words[:length])):
            return command, words[length:]
    raise UsageError(f"there is no command {words[0]!r}{did_you_mean(words[0], by_name)}; "
                     "jaxlabel --help lists them")  # fmt: skip


def _run_command(command: Command, words: list[str]) -> None:
    """Execute a command, or print its help text if an argument such as --help asks for it.

    Args:
      command: the command.
      words: the command-line arguments after the command's name.

    Raises:
      UsageError: a flag is unknown, has a wrong value, or is required and not given.
    """
    wants_help = arguments.asks_help(words)
    if not command.default_config:
        if wants_help:
            print(arguments.help_text(command))
        else:
            command.run(arguments.read(command, words))
        return
    from jaxlabel.cli import settings

    file = settings.default_config(command, words)
    if not wants_help:
        command.run(settings.read(command, words))
    elif settings.names_config(words) or file != arguments.DEFAULT_CONFIG:
        config = settings.load_config(words, file).config
        print(f"{arguments.help_text(command)}\n\n{settings.describe_settings(config)}")
    else:  # RunConfig has the values of DEFAULT_CONFIG, and it needs no import of JAX.
        shared = settings.describe_settings(RunConfig())
        print(f"{arguments.help_text(command)}\n\nThe settings of every run:\n{shared}")


def _print_error(message: str, code: int) -> int:
    """Print an error message as one line on standard error, and return the program's exit code.

    The exit code is the argument `code`.
    """
    print(f"jaxlabel: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
