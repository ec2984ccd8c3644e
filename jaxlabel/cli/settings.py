"""From `--config=FILE[:VARIANT] --config.key=value ...` to a checked configuration."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from jaxlabel.cli.arguments import parse
from jaxlabel.config import RunConfig, unknown_setting, validate
from jaxlabel.errors import UsageError
from jaxlabel.experiment.configfile import find, load


def read(
    values: flags.FlagValues, arguments: list[str], default: str, usage: str
) -> tuple[Any, str]:
    """The configuration that the arguments name, every setting checked, and a name for its run.

    Args:
      values: where the command has defined its own flags.
      default: the config file when the arguments name none.

    Raises:
      UsageError: a missing or broken file, an unknown variant or setting, a value that does not
        fit.
    """
    arguments, file, variant = _with_found_file(arguments, default)
    config = load(file, variant, _given(arguments, "preset"))
    known = {field.name for field in dataclasses.fields(config)}
    for name in map(_setting_name, arguments):
        if name is not None and name not in known:
            raise unknown_setting(name, known)
    config_flags.DEFINE_config_dataclass("config", config, flag_values=values, sys_argv=arguments)
    parse(values, arguments, f"{usage}\n\n{describe(config)}")
    validate(values.config)
    return values.config, "_".join([Path(file).stem, *filter(None, [variant[1:]])])


def describe(config: RunConfig) -> str:
    """A line per setting: name, default, meaning."""
    lines = []
    for field in dataclasses.fields(config):
        value, choices = getattr(config, field.name), field.metadata.get("choices")
        text = field.metadata.get("help", "")
        text += f" ({', '.join(str(c) for c in choices if c != '')})" if choices else ""
        lines.append(f"  {f'--config.{field.name}={value}':<33} {text}")
    return "\n".join(lines)


def _with_found_file(arguments: list[str], default: str) -> tuple[list[str], str, str]:
    """The arguments without --config, the file's path, and ":variant" or ""."""
    rest, chosen, pending = [], default, list(arguments)
    while pending:
        argument = pending.pop(0)
        name, equals, value = argument.partition("=")
        if name not in ("--config", "-config"):
            rest.append(argument)
        elif equals or pending:
            chosen = value if equals else pending.pop(0)
        else:
            raise UsageError("--config takes a file: --config=configs/NAME.py[:VARIANT]")
    file, colon, variant = chosen.partition(":")
    return rest, find(file), colon + variant


def _given(arguments: list[str], setting: str) -> str:
    """The value of --config.SETTING among the arguments, the last one; empty where it is not."""
    value = ""
    for argument, following in itertools.pairwise([*arguments, ""]):
        if _setting_name(argument) == setting:
            value = argument.partition("=")[2] if "=" in argument else following
    return value


def _setting_name(argument: str) -> str | None:
    name = argument.partition("=")[0].lstrip("-")
    for prefix in ("config.", "noconfig."):
        if argument.startswith("-") and name.startswith(prefix):
            return name.removeprefix(prefix)
    return None
