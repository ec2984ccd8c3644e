"""From `--config=FILE[:VARIANT] --config.key=value ...` to a checked configuration."""

import dataclasses
import importlib.util
import inspect
import itertools
import os
import traceback
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from jaxlabel.arguments import parse
from jaxlabel.config import PRESETS, RunConfig, validate
from jaxlabel.errors import UsageError, did_you_mean


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
            raise UsageError(f"there is no setting config.{name}{did_you_mean(name, known)}")
    config_flags.DEFINE_config_dataclass("config", config, flag_values=values, sys_argv=arguments)
    parse(values, arguments, f"{usage}\n\n{describe(config)}")
    validate(values.config)
    return values.config, "_".join([Path(file).stem, *filter(None, [variant[1:]])])


def load(file: str, variant: str = "", preset: str = "") -> RunConfig:
    """The configuration that FILE's get_config returns for the variant (":name" or "").

    A `get_config(variant, preset="cpu")` has presets: what it returns for one are the defaults,
    which settings on the command line change like any other.

    Args:
      preset: the preset's name; empty: the one that is get_config's own default.

    Raises:
      UsageError: the file cannot be run, or has no such variant or preset.
    """
    spec = importlib.util.spec_from_file_location("config", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is not a Python file: a config file defines get_config()")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise UsageError(f"{file} cannot be run: {error!r} at line {where.lineno}") from error
    if not hasattr(module, "get_config"):
        raise UsageError(f"{file} defines no get_config()")
    presets = inspect.signature(module.get_config).parameters.get("preset")
    if preset and not presets:
        raise UsageError(f"config.preset is {preset!r}: {file} has no presets")
    if preset and preset not in PRESETS:
        raise UsageError(f"config.preset is {preset!r}: it takes one of {', '.join(PRESETS)}")
    chosen: dict[str, str] = {"preset": preset or presets.default} if presets else {}
    try:
        config = module.get_config(*([variant[1:]] if variant else []), **chosen)
    except (KeyError, ValueError, TypeError) as error:
        detail = error if isinstance(error, ValueError) else "it has no variants or not this one"
        raise UsageError(f"{file}{variant}: {detail}") from error
    if not isinstance(config, RunConfig):
        raise UsageError(f"{file}: get_config() returns no recipe's Config")
    config.preset = chosen.get("preset", "")
    return config


def describe(config: RunConfig) -> str:
    """A line per setting: name, default, meaning."""
    lines = []
    for field in dataclasses.fields(config):
        value, choices = getattr(config, field.name), field.metadata.get("choices")
        text = field.metadata.get("help", "")
        text += f" ({', '.join(str(c) for c in choices if c != '')})" if choices else ""
        lines.append(f"  {f'--config.{field.name}={value}':<33} {text}")
    return "\n".join(lines)


def find(file: str) -> str:
    """The path of a config file, looked for here, in the repository and in the installed package.

    Raises:
      UsageError: it is in none of them.
    """
    package = Path(__file__).parent
    for folder in (Path(), package.parent, package):
        if (folder / file).is_file():
            return os.path.abspath(folder / file)
    raise UsageError(f"there is no config file {file}; configs/ holds those that come along")


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
