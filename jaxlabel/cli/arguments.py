"""Declare commands and their flags, parse arguments, and write help texts.

A flag is declared once, as a `Flag`. Parsing by absl, the usage line and the help text are all
derived from this declaration.
"""

import dataclasses
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from absl import flags

from jaxlabel.config import RunConfig
from jaxlabel.errors import UsageError

HELP_WORDS = ("--help", "-h", "-help", "--helpfull", "--helpshort")
WIDTH = 100  # columns of a help text
DEFAULT_CONFIG = "configs/digits.py"
PATHS = ("DIR", "FILE", "FILE.png", "PATH")  # the placeholders of flags that take a path
READ_FIRST = re.compile(r"--?(data|config|config\.\w+)")  # see `joined`


class Flag(NamedTuple):
    """The declaration of one flag of a command, such as `--workdir=DIR`.

    Attributes:
      name: the flag's name without the leading dashes, such as "workdir".
      help: the description that the command's help text shows. It does not mention the default,
        which the help text appends.
      metavar: the placeholder for the value in the help text, such as "DIR"; an empty string for an
        on/off flag, which takes no value. If it is one of PATHS, "~" at the beginning of the value
        is the home directory.
      default: the value that is used when the user does not give the flag. Its type (str, int, or
        bool) is also the type of the flag's value. None declares a string flag whose value is None
        when it is not given.
      missing: for a required flag, the end of the error message that is raised when the flag is not
        given; an empty string for an optional flag.
    """

    name: str
    help: str
    metavar: str = ""
    default: str | int | bool | None = None
    missing: str = ""


class Command(NamedTuple):
    """The declaration of one command of the program `jaxlabel`, such as `jaxlabel train`.

    Attributes:
      name: the name of the command: one word, or two words such as "data info".
      summary: a line of text that says what the command does. The list of all commands and the
        command's help text show it.
      run: the function that executes the command. It is called with one object that has an
        attribute for each flag.
      flags: the declarations of the flags, in the order in which the help text lists them.
      description: a paragraph that the help text shows below the summary; may be empty.
      default_config: the config file that is used without --config=FILE, such as
        "configs/digits.py". The command then also accepts --config=FILE and --config.KEY=VALUE, and
        the object passed to `run` also has the attributes `config` and `config_name`. An empty
        string for a command without a configuration.
      config_with_data: the config file that is used without --config=FILE if the flag --data is
        given; an empty string for `default_config`.
    """

    name: str
    summary: str
    run: Callable[[Any], None]
    flags: tuple[Flag, ...] = ()
    description: str = ""
    default_config: str = ""
    config_with_data: str = ""


def config_flags(default: str) -> tuple[Flag, ...]:
    """Return the declarations of --config and --config.KEY, for their help text.

    Args:
      default: the config file that is used without --config; an empty string for a command without
        a configuration, which has no such flags.
    """
    if not default:
        return ()
    return (
        Flag("config", "the experiment's config file, and its variant if it has several; configs/ "
             "holds the files that come with jaxlabel. With this flag, --help lists every setting "
             "of the file's recipe", "FILE[:VARIANT]", default),
        Flag("config.KEY", "change one setting of the experiment; may be repeated", "VALUE ..."),
    )  # fmt: skip


def setting_flag(name: str, metavar: str = "") -> Flag:
    """Make a command's flag from a setting of `RunConfig`, the configuration that all runs share.

    Args:
      name: the name of a field of `RunConfig`, such as "image_size". The flag gets the name, the
        default, and the help text of this field.
      metavar: the placeholder for the value in the help text; an empty string for an on/off flag.
    """
    field = next(field for field in dataclasses.fields(RunConfig) if field.name == name)
    return Flag(name, setting_help(field), metavar, field.default)  # type: ignore[arg-type]


def setting_help(field: "dataclasses.Field[Any]") -> str:
    """Return the help text of a setting, followed by its allowed values in brackets if it has any.

    Args:
      field: the dataclass field of the setting. Its metadata has the help text ("help") and the
        allowed values ("choices").
    """
    text, choices = field.metadata.get("help", ""), field.metadata.get("choices")
    return text + (f" ({', '.join(str(c) for c in choices if c != '')})" if choices else "")


def asks_help(arguments: Iterable[str]) -> bool:
    """Return True if at least one command-line argument asks for help, such as --help or -h."""
    return any(argument in HELP_WORDS for argument in arguments)


def help_text(command: Command) -> str:
    """Return the help text of a command: its summary, its usage line, and the help of each flag."""
    declared = config_flags(command.default_config) + command.flags
    forms = [_flag_form(flag) if flag.missing else f"[{_flag_form(flag)}]" for flag in declared]
    lines = [f"jaxlabel {command.name}: {command.summary}", ""]
    if command.description:
        lines += [*textwrap.wrap(command.description, WIDTH), ""]
    lines += [*_wrapped(f"usage: jaxlabel {command.name} ", " ".join(forms)), ""]
    lines += two_column_lines([(_flag_form(flag), _help_with_default(flag)) for flag in declared])
    return "\n".join(lines)


def two_column_lines(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Lay out pairs of texts as a two-column list and return its lines.

    Args:
      rows: pairs of a name, for the left column, and a text, for the right column. The right column
        is wrapped so that no line is longer than WIDTH (100) characters.
    """
    margin = 4 + max((len(name) for name, _ in rows), default=0)
    return [line for name, text in rows
            for line in _wrapped(f"  {name}".ljust(margin), text)]  # fmt: skip


def joined(words: Iterable[str]) -> list[str]:
    """Return command-line arguments in which "--data VALUE" has become "--data=VALUE".

    The same holds for --config and --config.KEY, whose values are read before absl parses them.
    """
    found: list[str] = []
    for word in words:
        if found and READ_FIRST.fullmatch(found[-1]) and not word.startswith("-"):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _refuse_repeated_data(words: Iterable[str]) -> None:
    """Raise a UsageError if --data, or --config.data, is given several times with other values.

    The shell makes several flags of one if a pattern with braces is not quoted. The last would win,
    and most of the data would silently be left out.
    """
    pairs = [word.partition("=")[::2] for word in words]
    for flag in ("--data", "--config.data"):
        given = dict.fromkeys(value for name, value in pairs if name in (flag, flag[1:]))
        if len(given) > 1:
            raise UsageError(f"{flag} is given {len(given)} times, the last time as "
                             f"{[*given][-1]}: quote a pattern with braces, or give one data set"
                             )  # fmt: skip


def define_absl_flags(command: Command) -> flags.FlagValues:
    """Declare a command's flags with the library absl, and return absl's object that holds them."""
    values = flags.FlagValues()
    for flag in command.flags:
        if isinstance(flag.default, bool):
            flags.DEFINE_boolean(flag.name, flag.default, flag.help, flag_values=values)
        elif isinstance(flag.default, int):
            flags.DEFINE_integer(flag.name, flag.default, flag.help, flag_values=values)
        else:
            flags.DEFINE_string(flag.name, flag.default, flag.help, flag_values=values)
    return values


def read(command: Command, words: Iterable[str]) -> SimpleNamespace:
    """Parse the command-line arguments of a command that has no configuration.

    Args:
      command: the command, which declares the flags.
      words: the arguments after the command's name, each of the form --flag=value.

    Returns:
      An object with an attribute for each declared flag; flags that are not given have their
      default.

    Raises:
      UsageError: a flag is unknown, has a wrong value, or is required and not given.
    """
    return parse(command, define_absl_flags(command), words)


def parse(command: Command, values: flags.FlagValues, words: Iterable[str]) -> SimpleNamespace:
    """Parse command-line arguments like `read`, with an absl object that may have more flags.

    Args:
      command: the command.
      values: absl's object, in which the flags are declared; the function stores the values in it.
      words: the arguments.
    """
    words = joined(words)
    _refuse_repeated_data(words)
    try:
        stray = values(["jaxlabel", *words])[1:]
    except flags.Error as error:
        # absl's own messages are a Python tuple or Python's words in these places
        message = re.sub(r"\('Non-boolean argument.*\)", "it takes true or false", str(error))
        message = re.sub(r"invalid literal for int\(\).*", "it takes a whole number", message)
        raise UsageError(message) from error
    if stray:
        raise UsageError(f"stray argument {stray[0]!r}: every argument is --flag=value")
    for flag in command.flags:
        if flag.missing and not values[flag.name].value:
            raise UsageError(f"{_flag_form(flag)} is missing: {flag.missing}")
    given = {flag.name: values[flag.name].value for flag in command.flags}
    for flag in command.flags:
        if flag.metavar in PATHS and isinstance(path := given[flag.name], str):
            given[flag.name] = expand_home(path)
    return SimpleNamespace(**given)


def expand_home(path: str) -> str:
    """Return a path with the home directory in place of "~" at its beginning.

    The shell does not replace it after --flag=.

    Raises:
      RuntimeError: there is no such home directory.
    """
    return str(Path(path).expanduser()) if path.startswith("~") else path


def _flag_form(flag: Flag) -> str:
    """Return a flag in the form in which a user types it, such as "--workdir=DIR" or "--quick"."""
    return f"--{flag.name}={flag.metavar}" if flag.metavar else f"--{flag.name}"


def _help_with_default(flag: Flag) -> str:
    """Return a flag's help text followed by its default, such as "the seed (default: 0)".

    The default is left out if it is None, an empty string, True, or False.
    """
    is_shown = not isinstance(flag.default, bool) and flag.default not in (None, "")
    return flag.help + (f" (default: {flag.default})" if is_shown else "")


def _wrapped(start: str, text: str) -> list[str]:
    """Wrap a text into lines of at most WIDTH (100) characters and return the lines.

    Args:
      start: the beginning of the first line, such as "usage: jaxlabel train ". The other lines are
        indented by the length of this text.
      text: the text that follows.
    """
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return lines or [start.rstrip()]
