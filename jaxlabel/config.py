"""The settings that every run has, and the check of a configuration's values.

A recipe's own `Config` inherits from `RunConfig`, so that a run is one flat list of settings
(`--config.budget=64 --config.stop=peek`). This module imports nothing heavy: the command line
reads it for its help.
"""

import dataclasses
import types
import typing
from typing import Any, TypeVar

from jaxlabel.errors import UsageError

T = TypeVar("T")

PRESETS = ("tiny", "cpu", "gpu")  # to see that it runs, for two cores, for an accelerator


def setting(
    default: T,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> T:
    """A dataclass field that knows its range (both ends included) and explains itself."""
    metadata = {"help": help, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass
class RunConfig:
    """Where the images come from, who answers, and how much may be spent."""

    preset: str = setting(
        "",
        "the size of the experiment, where its config file has several",
        choices=("", *PRESETS),
    )
    data: str = setting("digits", "digits, idx:DIR, npz:FILE, folder:DIR or tfds:NAME")
    data_dir: str = setting("", "where tfds:NAME is prepared; empty: tfds's own default")
    image_size: int = setting(
        0, "resize images to this side in pixels; 0: as they are", low=0, high=4096
    )
    image_mode: str = setting("auto", "channels", choices=("auto", "grey", "rgb"))
    kind: str = setting(
        "auto",
        "which augmentations keep the label; auto: as the data set is known",
        choices=("auto", "digits", "clothes", "overhead", "objects", "unknown"),
    )
    folder_labels: bool = setting(False, "folder: take sub-folder names as the hidden labels")
    skip_unreadable: bool = setting(False, "folder: skip images that cannot be read")
    cpu_kernels: str = setting(
        "auto",
        "what computes convolutions on a CPU; auto: JAXLABEL_CPU_KERNELS, else oneDNN where it can",
        choices=("auto", "onednn", "xla"),
    )
    seed: int = setting(0, "the seed of everything random in the run", low=0, high=2**32 - 1)
    budget: float = setting(64.0, "how much may be spent on labels; a label costs 1 unless the "
                            "store says otherwise; inf: no limit", low=0)  # fmt: skip
    map: str = setting(
        "tsne", "how the report draws the map of the features", choices=("tsne", "pca", "none")
    )
    store: str = setting(
        "", "the label store's SQL URL; empty: a SQLite file in the work directory"
    )
    account: str = setting("", "whose ledger is charged; empty: one of the run's own")
    noise: float = setting(
        0.0, "research: the share of answers replaced by another class", low=0.0, high=1.0
    )

    def may_peek(self) -> bool:
        """Whether the recipe stops by labels that it did not buy; every output then says so."""
        return False

    def check(self) -> None:
        """Raises a UsageError for settings that fit alone and not together."""


def validate(config: RunConfig) -> None:
    """Checks every setting against its type, range and choices.

    Raises:
      UsageError: the first setting that does not fit, by name, with what would fit.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not _has_type(value, field.type):
            wanted = getattr(field.type, "__name__", str(field.type))
            raise UsageError(f"config.{field.name} is {value!r}: it takes a {wanted}")
        low, high, choices = (field.metadata.get(k) for k in ("low", "high", "choices"))
        if choices is not None and value not in choices:
            known = ", ".join(str(choice) or "nothing" for choice in choices)
            raise UsageError(f"config.{field.name} is {value!r}: it takes one of {known}")
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"at least {low:.12g}" if high is None else f"at most {high:.12g}"
            if low is not None and high is not None:
                bounds = f"from {low:.12g} to {high:.12g}"
            raise UsageError(f"config.{field.name} is {value!r}: it takes a number {bounds}")
    config.check()


def _has_type(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, types.UnionType):
        return any(_has_type(value, option) for option in typing.get_args(wanted))
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(wanted, type) or isinstance(value, wanted)
