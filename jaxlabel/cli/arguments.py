"""Declare commands and their flags, parse arguments, and write help texts.

A flag is declared once, as a `Flag`. Parsing by absl, the usage line and the help text are all
derived from this declaration.
"""

import dataclasses
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from absl import flags

from jaxlabel.config import RunConfig
from jaxlabel.errors import UsageError

HELP_WORDS = ("--help", "-h", "-help", "--helpfull", "--helpshort")
WIDTH = 100  # columns of a help text
DEFAULT_CONFIG = "configs/digits.py"


class Flag(NamedTuple):
    """A flag of a command.

    Attributes:
      name: the flag's name without the leading dashes.
      help: the text that the command's help shows; it does not repeat the default.
      metavar: the placeholder for the value in the help, such as "DIR"; empty for an on/off flag.
      default: the value of a flag that is not given. Its type (str, int, or bool) is the flag's
        type; None marks a string that is not given.
      missing: for a required flag, the end of the error message when it is not given; empty for
        an optional flag.
    """

    name: str
    help: str
    metavar: str = ""
    default: str | int | bool | None = None
    missing: str = ""


class Command(NamedTuple):
    """A command of the program `jaxlabel`.

    Attributes:
      name: one word, or two words such as "data info".
      summary: one line for the overview of all commands and for the head of the command's help.
      run: the function that executes the command; its argument has an attribute per flag.
      flags: the declarations of the flags, in the order in which the help lists them.
      description: a paragraph that the help shows below the summary; may be empty.
      takes_config: True if the command also takes --config=FILE and --config.KEY=VALUE. Its
        `run` then also gets the attributes `config` and `config_name`.
    """

    name: str
    summary: str
    run: Callable[[Any], None]
    flags: tuple[Flag, ...] = ()
    description: str = ""
    takes_config: bool = False


CONFIG_FLAGS = (
    Flag(
        "config",
        "the experiment's config file, and its variant if it has several; configs/ holds the files "
        "that come with jaxlabel. With this flag, --help lists every setting of the file's recipe",
        "FILE[:VARIANT]",
        DEFAULT_CONFIG,
    ),
    Flag("config.KEY", "change one setting of the experiment; may be repeated", "VALUE ..."),
)


def setting_flag(name: str, metavar: str = "") -> Flag:
    """Return a flag with the default and the help text of the `RunConfig` field `name`."""
    field = next(field for field in dataclasses.fields(RunConfig) if field.name == name)
    return Flag(name, setting_help(field), metavar, field.default)  # type: ignore[arg-type]


def setting_help(field: "dataclasses.Field[Any]") -> str:
    """Return the help text of a setting, followed by its choices in brackets if it has any."""
    text, choices = field.metadata.get("help", ""), field.metadata.get("choices")
    return text + (f" ({', '.join(str(c) for c in choices if c != '')})" if choices else "")


def asks_help(arguments: Iterable[str]) -> bool:
    """Return True if one of the arguments asks for help, such as --help or -h."""
    return any(argument in HELP_WORDS for argument in arguments)


def usage(command: Command) -> str:
    """Return the help text of a command: summary, usage line, and a paragraph per flag."""
    declared = (CONFIG_FLAGS if command.takes_config else ()) + command.flags
    start = f"usage: jaxlabel {command.name} "
    forms = [_form(flag) if flag.missing else f"[{_form(flag)}]" for flag in declared]
    lines = [f"jaxlabel {command.name}: {command.summary}", ""]
    if command.description:
        lines += [*textwrap.wrap(command.description, WIDTH), ""]
    lines += _hanging(start, forms)
    lines += ["", *table([(_form(flag), _help(flag)) for flag in declared])]
    return "\n".join(lines)


def table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return the lines of a two-column list whose second column is wrapped to the page's width."""
    margin = 4 + max((len(name) for name, _ in rows), default=0)
    return [line for name, text in rows
            for line in _hanging(f"  {name}".ljust(margin), text.split())]  # fmt: skip


def parse(values: flags.FlagValues, arguments: list[str]) -> None:
    """Set the flags in `values` from arguments of the form --flag=value.

    Raises:
      UsageError: a flag is unknown, a value has the wrong type, or an argument is not a flag.
    """
    try:
        stray = values(["jaxlabel", *arguments])[1:]
    except flags.Error as error:
        # absl's own message shows a Python tuple in this place
        message = re.sub(r"\('Non-boolean argument.*\)", "it takes true or false", str(error))
        raise UsageError(message) from error
    if stray:
        raise UsageError(f"stray argument {stray[0]!r}: every argument is --flag=value")


def define(command: Command) -> flags.FlagValues:
    """Return absl flags for the declared flags of a command."""
    values = flags.FlagValues()
    for flag in command.flags:
        if isinstance(flag.default, bool):
            flags.DEFINE_boolean(flag.name, flag.default, flag.help, flag_values=values)
        elif isinstance(flag.default, int):
            flags.DEFINE_integer(flag.name, flag.default, flag.help, flag_values=values)
        else:
            flags.DEFINE_string(flag.name, flag.default, flag.help, flag_values=values)
    return values


def read(command: Command, arguments: list[str]) -> SimpleNamespace:
    """Return the values of a command's flags as attributes.

    Raises:
      UsageError: a flag is unknown, has a wrong value, or is required and not given.
    """
    values = define(command)
    parse(values, arguments)
    return collect(command, values)


def collect(command: Command, values: flags.FlagValues) -> SimpleNamespace:
    """Return the parsed values of the command's own flags as attributes.

    Raises:
      UsageError: a required flag is not given.
    """
    for flag in command.flags:
        if flag.missing and not values[flag.name].value:
            raise UsageError(f"{_form(flag)} is missing: {flag.missing}")
    return SimpleNamespace(**{flag.name: values[flag.name].value for flag in command.flags})


def _form(flag: Flag) -> str:
    """Return how the flag is written on the command line, such as --workdir=DIR."""
    return f"--{flag.name}={flag.metavar}" if flag.metavar else f"--{flag.name}"


def _help(flag: Flag) -> str:
    """Return the flag's help text, followed by its default unless that is off or empty."""
    is_shown = not isinstance(flag.default, bool) and flag.default not in (None, "")
    return flag.help + (f" (default: {flag.default})" if is_shown else "")


def _hanging(start: str, words: Sequence[str]) -> list[str]:
    """Wrap words into lines; `start` precedes the first line and later lines are indented."""
    lines, margin = [start], " " * len(start)
    for word in words:
        is_first = lines[-1] in (start, margin)
        if not is_first and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(margin)
            is_first = True
        lines[-1] += word if is_first else f" {word}"
    return lines
