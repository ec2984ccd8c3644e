"""Find the settings of a training method (recipe) by its name, and change some of them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel import data
from jaxlabel.config import RunConfig, minutes_of, validate
from jaxlabel.data.dataset import KNOWN_DATASETS, name_of
from jaxlabel.errors import UsageError, did_you_mean
from jaxlabel.experiment import configfile
from jaxlabel.runlog.old_settings import unknown_setting

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
    """Return the settings of a recipe for a data set, after checking that they are valid.

    Args:
      recipe: the name of a training method, such as "flagship", or the path of a config file. A
        variant may follow, such as "flagship:mnist". If there is none, the variant with the name of
        the data set is used; if that does not exist, the variant "folder", which assumes nothing
        about the images. With the setting `features` it is the variant "features", if there is one.
      spec: the data set, as in the setting `data`: "digits", "folder:DIR", ...
      given: the settings to change, by name. None leaves a setting as the recipe has it.

    Raises:
      UsageError: the recipe, the variant or a setting does not exist, or a value is not valid.
    """
    if not isinstance(recipe, str):
        raise UsageError(f"recipe is {recipe!r}: it takes the name of a recipe, one of "
                         f"{', '.join(NAMES)}")  # fmt: skip
    name, colon, variant = recipe.rpartition(":") if ":" in recipe else (recipe, "", "")
    wanted = {key: _to_plain_value(value) for key, value in given.items() if value is not None}
    if "data" in wanted:
        raise UsageError("data is not a setting here: the first argument says which images")
    budget = wanted.get("budget")
    if isinstance(budget, str) and minutes_of(budget) is not None:
        raise UsageError(f"budget is {budget!r}: from Python it is a number of labels; minutes are "
                         "for a person who answers on the page (jaxlabel label) or in "
                         "questions.csv (jaxlabel train)")  # fmt: skip
    if wanted.get("features") and name == "flagship" and not colon:
        colon, variant = ":", "features"
    config, variant = _load_variant(name, colon, variant, spec, str(wanted.get("preset", "")))
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


def _load_variant(
    name: str, colon: str, variant: str, spec: str, preset: str
) -> tuple[RunConfig, str]:
    """Load the settings of a recipe; return them and the name of the variant that was chosen.

    Args:
      name: the name of the recipe, or the path of a config file.
      colon: ":" if the user named a variant, otherwise an empty string.
      variant: the name of the variant.
      spec: the data set; its name is the variant if the user named none.
      preset: the size of the training, such as "tiny".
    """
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


def _to_plain_value(value: Any) -> Any:
    """Convert a NumPy scalar to a Python number or a path to a string; return others as is."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value
