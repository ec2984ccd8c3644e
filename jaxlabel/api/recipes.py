"""Find the configuration of a recipe by its name, and change its settings."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel import data
from jaxlabel.config import RunConfig, unknown_setting, validate
from jaxlabel.data.dataset import KNOWN_DATASETS, name_of
from jaxlabel.errors import UsageError, did_you_mean
from jaxlabel.experiment import configfile

NAMES = ("flagship", "semisup", "sgan", "scan", "medoids")
UNKNOWN_IMAGES = "folder"  # the variant for images of which nothing is known
# medoid doubling has two config files: one for small images, one for MNIST and larger
MEDOIDS = {
    "": ("mnist_medoids", ""),
    UNKNOWN_IMAGES: ("mnist_medoids", ""),
    "mnist": ("mnist_medoids", ""),
    "peek": ("mnist_medoids", "peek"),
    "digits": ("digits", ""),
    "pixels": ("digits", "pixels"),
}


def configuration(recipe: str, spec: str, given: Mapping[str, Any]) -> RunConfig:
    """Return the checked configuration of a recipe for the images of a specification.

    Args:
      recipe: one of `NAMES`, of the other files in configs/ without ".py", or a path to a config
        file; ":VARIANT" may follow. Without a variant it is the one that is named after the data
        set, and where there is none, "folder", whose settings suppose nothing about the images.
      spec: the specification of the images, as `--config.data` takes it.
      given: settings of the recipe by name; None leaves a setting as the recipe has it.

    Raises:
      UsageError: no such recipe, variant or setting, or a value that does not fit.
    """
    name, colon, variant = recipe.rpartition(":") if ":" in recipe else (recipe, "", "")
    wanted = {key: _plain(value) for key, value in given.items() if value is not None}
    if "data" in wanted:
        raise UsageError("data is not a setting here: the first argument says which images")
    config, variant = _load(name, colon, variant, spec, str(wanted.get("preset", "")))
    known = {field.name for field in dataclasses.fields(config)}
    for key in wanted:
        if key in ("target", "confidence") and key not in known:
            raise UsageError(f"recipe {recipe} has no {key}: it spends its whole budget; flagship "
                             "stops at a target and certifies it")  # fmt: skip
        if key not in known:
            raise unknown_setting(key, known)
    changes: dict[str, Any] = {"data": spec}
    if spec.startswith("array:"):
        changes["image_size"] = 0  # an array has one size already
        if variant in KNOWN_DATASETS and config.kind == "auto":
            changes["kind"] = KNOWN_DATASETS[variant][0]  # as the data set's name would say
    config = dataclasses.replace(config, **changes | wanted)
    config.preset = wanted.get("preset", config.preset)
    validate(config)
    return config


def _load(name: str, colon: str, variant: str, spec: str, preset: str) -> tuple[RunConfig, str]:
    """Return the recipe's configuration before any change, and the name of its variant."""
    if name == "medoids":
        dataset = name_of(*data.split_spec(spec))
        wanted = variant if colon else dataset if dataset in MEDOIDS else UNKNOWN_IMAGES
        if wanted not in MEDOIDS:
            raise UsageError(f"recipe medoids has no variant {wanted!r}: it has "
                             f"{', '.join(filter(None, MEDOIDS))}")  # fmt: skip
        file, inner = MEDOIDS[wanted]
        found = configfile.load(_path(file), f":{inner}" if inner else "", preset)
        return found, wanted
    path = _path(name)
    if colon:
        return configfile.load(path, f":{variant}", preset), variant
    for guess in (name_of(*data.split_spec(spec)), UNKNOWN_IMAGES):
        try:
            return configfile.load(path, f":{guess}", preset), guess
        except UsageError as error:
            if guess not in str(error):  # another fault than a variant that is not there
                raise
    return configfile.load(path, "", preset), ""


def _path(name: str) -> str:
    if name.endswith(".py"):
        return configfile.find(name)
    try:
        return configfile.find(f"configs/{name}.py")
    except UsageError:
        hint = did_you_mean(name, NAMES)
        raise UsageError(f"there is no recipe {name!r}{hint}: it is one of {', '.join(NAMES)}, or "
                         "the path of a config file") from None  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as a Python number, and a path as its text."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value
