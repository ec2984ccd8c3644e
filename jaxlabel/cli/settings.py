"""Parse `--config=FILE[:VARIANT] --config.KEY=VALUE ...` into a checked configuration."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from ml_collections import config_flags

from jaxlabel.cli import arguments
from jaxlabel.cli.arguments import Command
from jaxlabel.config import RunConfig, minutes_of, validate
from jaxlabel.data import spec_of
from jaxlabel.errors import UsageError
from jaxlabel.experiment import configfile
from jaxlabel.runlog.old_settings import unknown_setting


class Loaded(NamedTuple):
    """The content of a config file, before flags such as --config.seed=1 change settings.

    A file may define several variants, such as one for each data set, and several presets (sizes
    of the experiment: "tiny", "cpu", "gpu"). One of each is chosen by the command line.

    Attributes:
      config: the configuration that the file defines for the chosen variant and preset.
      name: a name for runs with this configuration: the file's name without ".py", followed by "_"
        and the variant if one was chosen, such as "semisup_mnist".
      words: the command-line arguments without --config=FILE.
    """

    config: RunConfig
    name: str
    words: list[str]


def read(command: Command, words: list[str]) -> SimpleNamespace:
    """Parse the command-line arguments of a command that takes a configuration, such as "train".

    Args:
      command: the command, which declares its own flags, such as --workdir.
      words: the command-line arguments after the command's name, such as
        ["--config=configs/scan.py", "--config.seed=1", "--workdir=runs/a"].

    Returns:
      An object with an attribute for each of the command's own flags, and two more: `config`, the
      configuration with every setting checked, and `config_name`, such as "scan", from which the
      default name of the output directory is made.

    Raises:
      UsageError: the config file is missing or broken, a variant of the file, a setting, or a flag
        is unknown, or a value does not fit.
    """
    loaded = load_config(words, default_config(command, words))
    values = arguments.define_absl_flags(command)
    config_flags.DEFINE_config_dataclass(
        "config", loaded.config, flag_values=values, sys_argv=loaded.words
    )
    given = arguments.parse(command, values, loaded.words)
    shared = {name: getattr(given, name, "") for name in ("data", "budget", "target")}
    given.config, given.config_name = with_flags(values.config, **shared), loaded.name
    validate(given.config)
    return given


def default_config(command: Command, words: list[str]) -> str:
    """Return the config file that a command uses if the command line names none.

    A command with a flag --data may have one file for its example data and another for the data
    that the flag names.
    """
    named = any(word.partition("=")[0] in ("--data", "-data") for word in words)
    return (
        command.config_with_data if named and command.config_with_data else command.default_config
    )


def with_flags(config: Any, data: str = "", budget: str = "", target: str = "") -> Any:
    """Return a copy of the settings with the values of the flags --data, --budget and --target.

    An empty value leaves a setting unchanged.

    Args:
      config: a recipe's configuration.
      data: the value of --data; a bare path stands for `folder:PATH`.
      budget: the value of --budget, a number or minutes ("30m") as text.
      target: the value of --target, a number as text.

    Raises:
      UsageError: a value is not a number, or the recipe has no such setting.
    """
    changes: dict[str, Any] = {}
    if data:
        changes["data"] = spec_of(data)
    if (minutes := minutes_of(budget)) is not None:
        changes["minutes"], budget = minutes, "inf"
    for name, text in (("budget", budget), ("target", target)):
        if text:
            changes[name] = _number(f"--{name}", text)
            if not hasattr(config, name):
                raise UsageError(f"--{name}: this recipe has no such setting")
    return dataclasses.replace(config, **changes)


def _number(flag: str, text: str) -> float:
    """Return the number that a flag such as --budget has.

    Raises:
      UsageError: the text is no number, or a number so large that the computer takes it for
        infinity.
    """
    try:
        number = float(text)
    except ValueError:
        wanted = "a number of labels, or minutes such as 30m" if "budget" in flag else "a number"
        raise UsageError(f"{flag}={text}: it takes {wanted}") from None
    if math.isinf(number) and "inf" not in text.lower():
        other = "; for no limit write inf" if "budget" in flag else ""
        raise UsageError(f"{flag}={text}: the number is too large{other}")
    return number


def load_config(words: list[str], default: str) -> Loaded:
    """Load the config file that the command-line argument --config=FILE[:VARIANT] names.

    Args:
      words: the command-line arguments. Settings such as --config.seed=1 are not applied; only
        their names and their numbers are checked.
      default: the config file that is loaded if `words` has no --config=FILE.

    Raises:
      UsageError: the file is missing or broken, it has no such variant, a setting is unknown, or
        a setting that takes a number has none or too large a one.
    """
    words = _with_minutes(arguments.joined(words))
    words, file, variant = _split_off_config_file(words, default)
    presets = [word.partition("=")[2] for word in words if _setting_name(word) == "preset"]
    config = configfile.load(file, variant, presets[-1] if presets else "")
    types = {field.name: field.type for field in dataclasses.fields(config)}
    for word in words:
        name, (flag, equals, value) = _setting_name(word), word.partition("=")
        if name is not None and name not in types:
            raise unknown_setting(name, set(types))
        if name is not None and types[name] is float and equals:
            _number(flag, value)
    return Loaded(config, "_".join([Path(file).stem, *filter(None, [variant[1:]])]), words)


def names_config(words: list[str]) -> bool:
    """Return True if one of the command-line arguments `words` begins with --config.

    Such an argument names a config file (--config=FILE) or changes a setting (--config.KEY=VALUE).
    """
    return any(word.lstrip("-").startswith("config") for word in words)


def describe_settings(config: RunConfig) -> str:
    """Return a help text with one line for each setting of a configuration.

    A line shows the flag that changes the setting, its present value, and its description.
    """
    lines = []
    for field in dataclasses.fields(config):
        form = f"--config.{field.name}={getattr(config, field.name)}"
        lines.append(f"  {form:<33} {arguments.setting_help(field)}")
    return "\n".join(lines)


def _split_off_config_file(words: list[str], default: str) -> tuple[list[str], str, str]:
    """Take the argument --config=FILE[:VARIANT] out of the command-line arguments.

    Returns:
      The other arguments; the path of the config file, which is `default` if --config is not
      given; and the variant as ":VARIANT", or an empty string if none is given.

    Raises:
      UsageError: --config has no value, or the file does not exist.
    """
    rest, chosen = [], default
    for word in words:
        name, _, value = word.partition("=")
        if name not in ("--config", "-config"):
            rest.append(word)
        elif value:
            chosen = value
        else:
            raise UsageError("--config takes a file: --config=configs/NAME.py[:VARIANT]")
    file, colon, variant = chosen.partition(":")
    return rest, configfile.find(arguments.expand_home(file)), colon + variant


def _with_minutes(words: list[str]) -> list[str]:
    """Replace --config.budget=30m by a budget without limit and the setting `minutes`."""
    found: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        is_budget = equals and _setting_name(word) == "budget"
        if is_budget and (minutes := minutes_of(value)) is not None:
            found.append(f"--config.minutes={minutes!r}")
            word = f"{name}=inf"
        found.append(word)
    return found


def _setting_name(word: str) -> str | None:
    """Return the name of the setting that a command-line argument changes.

    Args:
      word: the argument, such as "--config.seed=1", which yields "seed". The form "--noconfig.KEY",
        which switches a setting off, yields "KEY".

    Returns:
      The name; None if the argument does not have one of these two forms.
    """
    name = word.partition("=")[0].lstrip("-")
    for prefix in ("config.", "noconfig."):
        if word.startswith("-") and name.startswith(prefix):
            return name.removeprefix(prefix)
    return None
