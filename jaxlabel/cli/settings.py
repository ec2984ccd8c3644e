"""Parse `--config=FILE[:VARIANT] --config.key=value ...` into a checked configuration."""

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from ml_collections import config_flags

from jaxlabel.cli import arguments
from jaxlabel.cli.arguments import Command
from jaxlabel.config import RunConfig, unknown_setting, validate
from jaxlabel.errors import UsageError
from jaxlabel.experiment import configfile


class Loaded(NamedTuple):
    """A configuration as its file defines it, before the flags change settings.

    Attributes:
      config: the configuration of the file's variant and preset.
      name: a name for its runs: the file's name, followed by the variant if there is one.
      words: the command-line arguments without --config=FILE.
    """

    config: RunConfig
    name: str
    words: list[str]


def read(command: Command, words: list[str]) -> SimpleNamespace:
    """Return the values of a command's flags, and the configuration with every setting checked.

    Args:
      command: a command that takes a configuration.
      words: the command-line arguments.

    Returns:
      An object with an attribute per flag, and the attributes `config` and `config_name`.

    Raises:
      UsageError: the config file is missing or broken, a variant, setting or flag is unknown, or
        a value does not fit.
    """
    loaded = load(words)
    values = arguments.define(command)
    config_flags.DEFINE_config_dataclass(
        "config", loaded.config, flag_values=values, sys_argv=loaded.words
    )
    arguments.parse(values, loaded.words)
    validate(values.config)
    given = arguments.collect(command, values)
    given.config, given.config_name = values.config, loaded.name
    return given


def load(words: list[str]) -> Loaded:
    """Load the configuration that --config, or its default, names.

    Raises:
      UsageError: the file is missing or broken, or a variant or setting is unknown.
    """
    words, file, variant = _without_file(words)
    config = configfile.load(file, variant, _value_of("preset", words))
    names = {field.name for field in dataclasses.fields(config)}
    for name in map(_setting_name, words):
        if name is not None and name not in names:
            raise unknown_setting(name, names)
    return Loaded(config, "_".join([Path(file).stem, *filter(None, [variant[1:]])]), words)


def names_config(words: list[str]) -> bool:
    """Return True if an argument is --config or changes a setting of the configuration."""
    return any(word.lstrip("-").startswith("config") for word in words)


def describe(config: RunConfig) -> str:
    """Return a line per setting of a configuration: its flag, its value, and its help text."""
    lines = []
    for field in dataclasses.fields(config):
        form = f"--config.{field.name}={getattr(config, field.name)}"
        lines.append(f"  {form:<33} {arguments.setting_help(field)}")
    return "\n".join(lines)


def _without_file(words: list[str]) -> tuple[list[str], str, str]:
    """Return the arguments without --config, the config file's path, and ":VARIANT" or ""."""
    rest, chosen, pending = [], arguments.DEFAULT_CONFIG, list(words)
    while pending:
        word = pending.pop(0)
        name, equals, value = word.partition("=")
        if name not in ("--config", "-config"):
            rest.append(word)
        elif equals or pending:
            chosen = value if equals else pending.pop(0)
        else:
            raise UsageError("--config takes a file: --config=configs/NAME.py[:VARIANT]")
    file, colon, variant = chosen.partition(":")
    return rest, configfile.find(file), colon + variant


def _value_of(setting: str, words: list[str]) -> str:
    """Return the last value of --config.SETTING among the arguments, or "" if it is not given."""
    value = ""
    for word, following in itertools.pairwise([*words, ""]):
        if _setting_name(word) == setting:
            value = word.partition("=")[2] if "=" in word else following
    return value


def _setting_name(word: str) -> str | None:
    """Return KEY if the argument is --config.KEY or --noconfig.KEY, else None."""
    name = word.partition("=")[0].lstrip("-")
    for prefix in ("config.", "noconfig."):
        if word.startswith("-") and name.startswith(prefix):
            return name.removeprefix(prefix)
    return None
