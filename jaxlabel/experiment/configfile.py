"""Config files: where they are found, and the configuration that one of them returns."""

import importlib.util
import inspect
import os
import traceback
from pathlib import Path

from jaxlabel.config import PRESETS, RunConfig
from jaxlabel.errors import UsageError


def find(file: str) -> str:
    """The path of a config file, looked for here, in the repository and in the installed package.

    Raises:
      UsageError: it is in none of them.
    """
    package = Path(__file__).parents[1]
    for folder in (Path(), package.parent, package):
        if (folder / file).is_file():
            return os.path.abspath(folder / file)
    raise UsageError(f"there is no config file {file}; configs/ holds those that come along")


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
