"""Find config files and load the configuration that the get_config() of a file returns."""

import importlib.util
import inspect
import os
import traceback
from pathlib import Path

from jaxlabel.config import PRESETS, RunConfig
from jaxlabel.errors import UsageError


def find(file: str) -> str:
    """Return the absolute path of a config file.

    The file is searched in the current directory, in the repository of jaxlabel, and in the
    installed package.

    Args:
      file: the path of the file, relative to one of these places or absolute.

    Raises:
      UsageError: the file is in none of these places.
    """
    package = Path(__file__).parents[1]
    for folder in (Path(), package.parent, package):
        if (folder / file).is_file():
            return os.path.abspath(folder / file)
    raise UsageError(f"there is no config file {file}; configs/ holds those that come with "
                     "jaxlabel")  # fmt: skip


def load(file: str, variant: str = "", preset: str = "") -> RunConfig:
    """Load a Python config file, call its function get_config(), and return the configuration.

    A file whose function is `get_config(variant, preset="cpu")` has presets. A preset only sets the
    configuration's initial values; settings on the command line can change them.

    Args:
      file: the path of the config file.
      variant: ":NAME" to choose a variant that the file defines; an empty string if the file has no
        variants.
      preset: the preset's name; an empty string stands for the default of get_config's parameter.

    Raises:
      UsageError: the file cannot be executed, or has no such variant or preset.
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
