"""Let a run work on feature vectors that another program computed, in place of the images.

The networks of the recipes then take a feature vector as an image of one pixel: float32 arrays of
shape (n, 1, 1, d). The mean vector is subtracted from the features, and all numbers are divided by
one scale, so that the ratios between distances stay the same. The mean ("centre") and the scale are
saved with the run, for predictions on new images. Every output of such a run says that its features
come from outside.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlabel import augment
from jaxlabel.config import RunConfig, is_own
from jaxlabel.data import features
from jaxlabel.data.dataset import Dataset
from jaxlabel.errors import DataError, JaxlabelError, UsageError
from jaxlabel.log import Log
from jaxlabel.runlog import results
from jaxlabel.runlog.results import FEATURES_FROM_OUTSIDE
from jaxlabel.runlog.workdir import RUN

NAME = results.MARK  # artifacts/features_from_outside.npz in the run's directory


class Scaling(NamedTuple):
    """The centre and the scale of a run's features, and a hash of the features.

    Attributes:
      centre: the mean of the training images' features.
      scale: the root mean square of all numbers after the centre is subtracted.
      digest: a hash of all features, from `Features.digest`.
    """

    centre: Float[np.ndarray, "d"]
    scale: float
    digest: str


def kind_of(settings: RunConfig, dataset: Dataset) -> str:
    """Return the kind of the networks' inputs, which decides how they are transformed at random.

    Args:
      settings: the settings of the run. A function of the user in `settings.kind` is kept.
      dataset: the images, whose kind is returned if `settings.kind` is "auto".
    """
    if settings.outside_features and not is_own(settings.kind):
        return augment.FEATURES
    return dataset.kind if settings.kind == "auto" else settings.kind


def network_inputs(settings: RunConfig, dataset: Dataset, workdir: Path, log: Log) -> Dataset:
    """Return a run's data set; if the run has features from outside, they replace the images.

    Args:
      settings: the settings of the run, which name the file of features, if there is one.
      dataset: the images in the order of the run.
      workdir: the run's directory, where the centre and the scale are saved.
      log: the run's log.

    Raises:
      DataError: the file cannot be read, does not fit the images, or has changed since the run
        began.
    """
    if not settings.outside_features:
        return dataset
    found = features.load(settings.outside_features, dataset)
    # Without run.json the run has bought nothing, so that the file may still be corrected.
    scaling = _read_scaling(workdir) if (workdir / RUN).exists() else None
    if scaling is None:
        scaling = _measure(settings.outside_features, found)
        saved = {name: np.asarray(value) for name, value in scaling._asdict().items()}
        log.arrays(NAME, **saved)
    elif scaling.digest != found.digest():
        raise DataError(f"{settings.outside_features} holds other features than when {workdir} "
                        "began: put the old file back, or begin another workdir")  # fmt: skip
    name, dimensions = Path(settings.outside_features).name, found.train.shape[1]
    log.say(f"{FEATURES_FROM_OUTSIDE}: {name}, {dimensions:,} numbers per image")
    for note in found.notes:
        log.say(note)
    if found.test is None and len(dataset.test_images):
        log.say("the file has no rows for the test images, so there is no test accuracy")
    return _replaced(dataset, found, scaling)


def inputs_of_finished_run(
    location: str, dataset: Dataset, workdir: Path, dimensions: int
) -> Dataset:
    """Return a data set whose images are replaced by features, scaled as in a finished run.

    Args:
      location: the file with the features of the images.
      dataset: the images, which need not be those of the run.
      workdir: the directory of the run.
      dimensions: the length of a feature vector of the run.

    Raises:
      DataError: the file cannot be read, does not fit the images, or has vectors of another length.
      JaxlabelError: the run's centre and scale are missing.
    """
    found, scaling = features.load(location, dataset), _scaling_of(workdir)
    if found.train.shape[1] != dimensions:
        raise DataError(f"{location} has {found.train.shape[1]} numbers per image, the run learned "
                        f"from {dimensions}: compute both with the same encoder")  # fmt: skip
    return _replaced(dataset, found, scaling)


def from_array(given: Any, workdir: Path, dimensions: int) -> Float[np.ndarray, "n 1 1 d"]:
    """Return features scaled and shaped as the network of a finished run takes them.

    Args:
      given: an array with a feature vector per row.
      workdir: the directory of the run.
      dimensions: the length of a feature vector of the run.

    Raises:
      UsageError: `given` names images, or its rows have another length.
      DataError: a number is NaN or infinite.
    """
    values = np.asarray(given)
    if values.dtype.kind not in "fiu" or values.ndim != 2 or values.shape[1] != dimensions:
        raise UsageError("the run learned from features from outside: pass an array with a row of "
                         f"{dimensions} numbers per image, made by the same encoder")  # fmt: skip
    if not np.isfinite(values).all():
        raise DataError("the features hold NaN or infinity: compute them again")
    return _scaled(values, _scaling_of(workdir))


def result_entries(settings: RunConfig, inputs: Dataset) -> dict[str, Any]:
    """Return the entry of result.json that marks a run on features from outside; {} for others.

    Args:
      settings: the settings of the run.
      inputs: the data set that `network_inputs` returned.
    """
    if not settings.outside_features:
        return {}
    return {
        NAME: {
            "origin": FEATURES_FROM_OUTSIDE,
            "file": Path(settings.outside_features).name,
            "dimensions": inputs.train_images.shape[-1],
        }
    }


def input_shape(result: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape (height, width, channels) of what the network of a finished run takes.

    Args:
      result: the content of the run's result.json.
    """
    return (1, 1, result[NAME]["dimensions"]) if NAME in result else tuple(result["image_shape"])


def raw_features(location: str, dataset: Dataset) -> Float[np.ndarray, "n d"]:
    """Return the features of a data set's training images as they are in the file."""
    return features.load(location, dataset).train


def _measure(location: str, found: features.Features) -> Scaling:
    """Return the centre and the scale of the training images' features.

    Raises:
      DataError: all rows are equal.
    """
    centre = found.train.mean(axis=0, dtype=np.float64)
    scale = float(np.sqrt(np.mean(np.square(found.train - centre))))
    if not np.isfinite(scale) or scale <= 1e-12 * max(1.0, float(np.abs(centre).max())):
        raise DataError(f"features {location}: all rows are equal, so they say nothing about the "
                        "images")  # fmt: skip
    return Scaling(centre.astype(np.float32), scale, found.digest())


def _scaling_of(workdir: Path) -> Scaling:
    """Return the centre and the scale that a finished run saved, or raise a JaxlabelError."""
    if (scaling := _read_scaling(workdir)) is None:
        raise JaxlabelError(f"{workdir} lacks artifacts/{NAME}.npz: train again in another "
                            "workdir")  # fmt: skip
    return scaling


def _read_scaling(workdir: Path) -> Scaling | None:
    path = workdir / "artifacts" / f"{NAME}.npz"
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Scaling(arrays["centre"], float(arrays["scale"]), str(arrays["digest"]))
    except Exception as error:  # a damaged file raises many types of exceptions
        raise JaxlabelError(f"{path} is broken: remove it and start again") from error


def _replaced(dataset: Dataset, found: features.Features, scaling: Scaling) -> Dataset:
    test = found.train[:0] if found.test is None else found.test
    return dataset._replace(
        train_images=_scaled(found.train, scaling), test_images=_scaled(test, scaling)
    )


def _scaled(values: np.ndarray, scaling: Scaling) -> Float[np.ndarray, "n 1 1 d"]:
    return ((values - scaling.centre) / scaling.scale).astype(np.float32)[:, None, None]
