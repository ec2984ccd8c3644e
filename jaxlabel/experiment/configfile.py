"""Find config files and load the configuration that the get_config() of a file returns."""

import contextlib
import importlib.util
import inspect
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from jaxlabel.config import PRESETS, RunConfig
from jaxlabel.errors import UsageError


def find(file: str) -> str:
    """Return the absolute path of a config file.

    The function looks in the current directory, then in jaxlabel's repository, and then in the
    installed package of jaxlabel.

    Args:
      file: the path of the file, absolute or relative to one of these three directories, such as
        "configs/digits.py".

    Raises:
      UsageError: the file is in none of these directories.
    """
    package = Path(__file__).parents[1]
    for folder in (Path(), package.parent, package):
        if (folder / file).is_file():
            return os.path.abspath(folder / file)
    raise UsageError(f"there is no config file {file}; configs/ holds those that come with "
                     "jaxlabel")  # fmt: skip


def load(file: str, variant: str = "", preset: str = "") -> RunConfig:
    """Load a Python config file, call its function get_config(), and return the configuration.

    The function may have two parameters: `get_config(variant="mnist", preset="cpu")`. A variant is
    one of several configurations, such as one for each data set. A preset is a size of the
    experiment ("tiny", "cpu" or "gpu").

    Args:
      file: the path of the config file.
      variant: ":NAME" to choose the variant NAME; an empty string for the file's default variant.
      preset: the name of the preset; an empty string for the file's default preset.

    Raises:
      UsageError: the file cannot be executed, or has no such variant or preset.
    """
    module = import_file(file)
    if not hasattr(module, "get_config"):
        raise UsageError(f"{file} defines no get_config()")
    if not callable(module.get_config):
        raise UsageError(f"{file}: get_config is {module.get_config!r:.60}, not a function: write "
                         "def get_config(): return ...")  # fmt: skip
    presets = inspect.signature(module.get_config).parameters.get("preset")
    if preset and not presets:
        raise UsageError(f"config.preset is {preset!r}: {file} has no presets")
    if preset and preset not in PRESETS:
        raise UsageError(f"config.preset is {preset!r}: it takes one of {', '.join(PRESETS)}")
    chosen: dict[str, str] = {"preset": preset or presets.default} if presets else {}
    given = [variant[1:]] if variant else []
    try:
        inspect.signature(module.get_config).bind(*given, **chosen)
    except TypeError as error:
        reason = (
            "has no variants"
            if variant
            else f"has a get_config with an argument that jaxlabel does not pass ({error})"
        )
        raise UsageError(f"{file}{variant}: the file {reason}") from error
    with explained_errors(file):
        try:
            config = module.get_config(*given, **chosen)
        except (UsageError, ValueError) as error:  # such as "there is no variant 'x'"
            raise UsageError(f"{file}{variant}: {error}") from error
        except KeyError as error:
            if error.args != tuple(given):  # not VARIANTS[variant]
                raise
            raise UsageError(f"{file}{variant}: the file has no such variant") from error
    of_recipe = type(config).__module__.startswith("jaxlabel.methods.")
    if not isinstance(config, RunConfig) or not of_recipe:
        raise UsageError(f"{file}: get_config() returns {type(config).__name__!r}, not the Config "
                         "of a recipe, such as jaxlabel.methods.active.Config")  # fmt: skip
    config.preset = chosen.get("preset", "")
    return config


def import_file(file: str) -> ModuleType:
    """Execute a Python file that is not on Python's search path, and return it as a module.

    Raises:
      UsageError: it is no Python file, or it cannot be executed.
    """
    spec = importlib.util.spec_from_file_location("config", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is not a Python file: a config file defines get_config()")
    module = importlib.util.module_from_spec(spec)
    with explained_errors(file):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def explained_errors(file: str) -> Iterator[None]:
    """Turn an exception of the code in a Python file into a UsageError that names the line.

    A UsageError is raised unchanged.
    """
    try:
        yield
    except UsageError:
        raise
    except SyntaxError as error:  # its text has the line, and the traceback is importlib's
        place = f" at line {error.lineno} of {Path(error.filename or file).name}"
        raise UsageError(
            f"{file} cannot be run: {error.msg}{place if error.lineno else ''}"
        ) from error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"line {where.lineno} of {Path(where.filename).name}"
        raise UsageError(f"{file} cannot be run: {error!r} at {place}") from error
