"""The settings that every run has, and the validation of settings.

The `Config` of each method inherits from `RunConfig`, so that a run has one flat list of settings
(`--config.budget=64 --config.stop=peek`). The command line imports this module to show its help, so
it must not import slow libraries.
"""

import dataclasses
import functools
import importlib
import math
import os
import re
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxlabel.errors import UsageError, did_you_mean

T = TypeVar("T")

DURATION = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")

PRESETS = ("tiny", "cpu", "gpu")  # for a quick test, for two CPU cores, for an accelerator

# A value of a setting that an earlier version had, and the value to take today.
RENAMED_VALUES = {("alignment", "paid"): "labelled", ("objective", "auto"): "freematch"}
# The settings that may name a function or class of the user, `module:function`.
OWN = ("encoder", "kind", "network", "objective", "query")
IMPORTED: dict[str, str] = {}  # the file of each such function that `own_part` has imported
# what a setting of each type takes, for error messages
WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def setting(
    default: T,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
    own: bool = False,
) -> T:
    """Return a dataclass field for a setting, with a help text and the values that are valid.

    Args:
      default: the default value.
      help: the help text for the command line.
      low: the smallest valid value; None: no limit.
      high: the largest valid value; None: no limit.
      choices: the valid values; None: all values.
      own: whether a string of the form `module:function`, which names the user's own function, is
        valid too.
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "own": own}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass
class RunConfig:
    """The settings that every run has, such as the images, the label store, and the budget.

    The settings class of each training method inherits from this class.
    """

    preset: str = setting(
        "",
        "the size of the experiment, if its config file defines several",
        choices=("", *PRESETS),
    )
    data: str = setting(
        "digits",
        "the data set: digits, folder:DIR, zip:FILE, tar:FILE, csv:FILE, parquet:FILE, "
        "webdataset:PATTERN, hf:NAME_OR_DIR, idx:DIR, npz:FILE or tfds:NAME",
    )
    data_dir: str = setting(
        "",
        "the folder of data sets prepared for tfds:NAME; empty: the default of tensorflow-datasets",
    )
    image_size: int = setting(
        0, "resize images to this side in pixels; 0: do not resize", low=0, high=4096
    )
    image_mode: str = setting(
        "auto",
        "the channels of images; auto: grey if all images are grey, else rgb",
        choices=("auto", "grey", "rgb"),
    )
    kind: str = setting(
        "auto",
        "what images show, which decides how they are augmented; auto: by the data set's name",
        choices=("auto", "digits", "clothes", "overhead", "objects", "unknown"),
        own=True,
    )
    folder_labels: bool = setting(
        False,
        "for folders, ZIP and TAR: use the names of sub-folders as the labels that a run can buy",
    )
    skip_unreadable: bool = setting(
        False, "for folders, archives, tables and shards: skip pictures that cannot be read"
    )
    cpu_kernels: str = setting(
        "auto",
        "the library that computes convolutions on a CPU; auto: the environment variable "
        "JAXLABEL_CPU_KERNELS, else oneDNN in float32 if it can be used, else XLA; bfloat16: "
        "oneDNN with bfloat16 activations, faster on processors with instructions for them",
        choices=("auto", "onednn", "bfloat16", "xla"),
    )
    devices: int = setting(
        0, "the number of GPUs or TPU cores that share each batch; 0: all of this machine", low=0
    )
    seed: int = setting(0, "the random seed of the run", low=0, high=2**32 - 1)
    budget: float = setting(64.0, "the total amount that may be spent on labels; a label costs 1 "
                            "unless the label store has other prices; inf: no limit",
                            low=0)  # fmt: skip
    minutes: float = setting(
        0.0, "the minutes of a person's time that the labels may take, beside the budget; 0: no "
        "limit. --config.budget=30m (or 1h30m, 90s) sets it, and no limit on labels", low=0,
    )  # fmt: skip
    store: str = setting(
        "", "the SQL URL of the label store; empty: a SQLite file in the work directory"
    )
    labels: str = setting(
        "", "the SQL table that answers instead of a person; it is only read: "
        "postgresql://USER@HOST/DATABASE?table=TABLE&id=COLUMN&label=COLUMN or sqlite:///FILE?...; "
        "&match=path, stem or number says what the column of ids holds",
    )  # fmt: skip
    account: str = setting(
        "", "the name of the account that is charged for labels; empty: an account of this run only"
    )
    sinks: str = setting(
        "tensorboard",
        "the programs that get the metrics beside the file metrics.jsonl: some of tensorboard, "
        "wandb and mlflow, separated by commas; empty: none",
    )
    noise: float = setting(
        0.0,
        "for experiments: the probability that a label is replaced by another class",
        low=0.0,
        high=1.0,
    )

    def may_peek(self) -> bool:
        """Return True if the run may look at labels that it did not buy to decide when to stop.

        If so, this is stated in the results of the run.
        """
        return False

    @property
    def outside_features(self) -> str:
        """The file of feature vectors from which the run learns in place of the images; or ""."""
        return ""

    def check(self) -> None:
        """Raise a UsageError if two settings contradict each other, although each alone is valid.

        Subclasses override this method; here it does nothing.
        """


@dataclasses.dataclass
class MapConfig(RunConfig):
    """The settings of a run whose report has a map of the images; only some recipes have one."""

    map: str = setting(
        "tsne",
        "how the report projects the features to a two-dimensional map; none: no map",
        choices=("tsne", "pca", "none"),
    )


def validate(config: RunConfig) -> None:
    """Check every setting against its type, range and choices, then call `config.check`.

    Raises:
      UsageError: a setting is not valid. The message names the setting and the valid values.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not _has_type(value, field.type):
            wanted = WORDS.get(typing.cast(type, field.type), str(field.type))
            raise UsageError(f"config.{field.name} is {value!r}: it takes {wanted}")
        low, high, choices = (field.metadata.get(k) for k in ("low", "high", "choices"))
        if field.metadata.get("own") and is_own(value):
            own_part(value, f"config.{field.name}")
        elif choices is not None and value not in choices:
            if renamed := RENAMED_VALUES.get((field.name, value)):
                raise UsageError(f"config.{field.name}={value} is now {field.name}={renamed}")
            valid = ", ".join(str(choice) or "nothing" for choice in choices)
            valid += ", or module:function" if field.metadata.get("own") else ""
            raise UsageError(f"config.{field.name} is {value!r}: it takes one of {valid}")
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"at least {low:.12g}" if high is None else f"at most {high:.12g}"
            if low is not None and high is not None:
                bounds = f"from {low:.12g} to {high:.12g}"
            raise UsageError(f"config.{field.name} is {value!r}: it takes a number {bounds}")
    config.check()


def with_infinities(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that were read from a JSON file, with infinity in place of None.

    JSON has no infinity, so an infinite number, such as a budget without a limit, is stored as
    null.

    Args:
      kind: the configuration class, which says which settings are numbers.
      settings: the settings by name.
    """
    numbers = {field.name for field in dataclasses.fields(kind) if field.type is float}
    return {name: math.inf if value is None and name in numbers else value
            for name, value in settings.items()}  # fmt: skip


def minutes_of(text: str) -> float | None:
    """Return the minutes that a text such as "1h30m", "30m" or "90s" stands for; None if none.

    >>> minutes_of("1h30m"), minutes_of("90s"), minutes_of("64")
    (90.0, 1.5, None)

    Raises:
      UsageError: the time is 0, or so long that the computer takes it for infinity.
    """
    found = DURATION.fullmatch(text)
    if not found or not text:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    if not 0 < (total := 60 * hours + minutes + seconds / 60) < math.inf:
        wrong = "the time is too long" if total else "it takes more than 0 minutes"
        raise UsageError(f"a budget of {text}: {wrong}")
    return total


def is_own(value: Any) -> bool:
    """Return True if a string has the form `module:function`, which names the user's function."""
    return isinstance(value, str) and ":" in value


def own_part(value: str, setting: str = "the setting") -> Any:
    """Import the user's own function or class that a string `module:function` names, and return it.

    The module is looked for in the current directory and then where Python looks for modules.

    Args:
      value: the string, such as "my_parts:query" or "package.module:Class".
      setting: the name of the setting with this value, for error messages.

    Raises:
      UsageError: the module or the function does not exist, importing the module fails, or the
        named object cannot be called.
    """
    module_name, _, name = value.partition(":")
    if not module_name or not name:
        raise UsageError(f"{setting}={value}: a part of your own is named module:function")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise UsageError(f"{setting}={value}: there is no module {error.name} in {here} or "
                             "where Python looks for modules") from error  # fmt: skip
        raise UsageError(f"{setting}={value}: {module_name} cannot be imported: {error}") from error
    except Exception as error:  # whatever the module does when it is imported
        raise UsageError(
            f"{setting}={value}: {module_name} cannot be imported: {error!r}"
        ) from error
    finally:
        if here in sys.path:
            sys.path.remove(here)
    _source(module)  # read now: the file may change while the process runs
    part = getattr(module, name, None)
    if not callable(part):
        fault = "is not callable" if hasattr(module, name) else "does not exist"
        hint = "" if hasattr(module, name) else did_you_mean(name, dir(module))
        raise UsageError(f"{setting}={value}: {name} {fault} in {module_name}{hint}")
    IMPORTED[value] = getattr(module, "__file__", None) or ""
    return part


def own_sources(*values: Any) -> list[bytes]:
    """Return the content of the module's file for each value that names a part of the user's own.

    A cache key needs it beside the values: the user may change a part without renaming it. A module
    without a source file has empty content. Modules that the user's module imports are not read.

    Args:
      values: values of settings; those that do not have the form `module:function` are left out.

    Raises:
      UsageError: the part cannot be imported.
    """
    own = [value for value in values if is_own(value)]
    for value in own:
        own_part(value)
    return [_source(sys.modules[value.partition(":")[0]]) for value in own]


@functools.cache
def _source(module: types.ModuleType) -> bytes:
    """Return the content of a module's file; later calls return what the first one has read."""
    path = getattr(module, "__file__", None) or ""
    return Path(path).read_bytes() if os.path.isfile(path) else b""


def _has_type(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, types.UnionType):
        return any(_has_type(value, option) for option in typing.get_args(wanted))
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(wanted, type) or isinstance(value, wanted)
