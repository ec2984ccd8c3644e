"""Classify images with the model that a finished run trained."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from flax import nnx

from jaxlabel import data, files, pretext
from jaxlabel.config import is_own, with_infinities
from jaxlabel.data.dataset import Dataset, options_of
from jaxlabel.data.images import with_channels
from jaxlabel.data.tables import names_in_source
from jaxlabel.errors import DataError, JaxlabelError, SizesDiffer, UsageError
from jaxlabel.experiment import outside_features
from jaxlabel.experiment.export import arrays
from jaxlabel.experiment.predictions_file import COLUMNS, predictions_csv
from jaxlabel.experiment.run import METHODS
from jaxlabel.predictor import predict_probabilities
from jaxlabel.report.run import check_result
from jaxlabel.runlog import checkpoints, old_settings

SPLITS = ("test", "train", "all")


class Trained(NamedTuple):
    """The trained model of a finished run, and the facts that are needed to classify new images.

    Attributes:
      model: a network, or several networks, whose predicted probabilities are averaged.
      config: the configuration of the run.
      classes: the names of the classes.
      shape: the shape (height, width, channels) of the images that the model accepts; (1, 1, d) if
        it accepts feature vectors of length d in place of images.
      intensity: "LOW:HIGH", the two pixel values that become 0 and 255 in pictures with more than 8
        bits; empty if the run had none.
      gives: "classes" if the model's outputs are class probabilities, "clusters" if they are
        probabilities of clusters, which have no class names.
    """

    model: Any
    config: Any
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    gives: str
    intensity: str = ""

    def output_names(self, num_outputs: int) -> tuple[str, ...]:
        """Return the name of each of the model's outputs: the classes, or "cluster 0" and so on."""
        if self.gives != "clusters" and num_outputs == len(self.classes):
            return self.classes
        return tuple(f"cluster {number}" for number in range(num_outputs))


def load(workdir: Path, say: Callable[[str], None] = print) -> Trained:
    """Load the trained model of a finished run.

    Args:
      workdir: the run's directory.
      say: a function that is called with a message for the user if the newest checkpoint is damaged
        and an older one is loaded.

    Raises:
      UsageError: the run is not finished, or was made by another version of jaxlabel.
      JaxlabelError: the checkpoint of the model is missing or does not fit the network's code.
    """
    files.read_json(workdir / "config.json")  # raises an error if a newer jaxlabel wrote it
    result = files.read_json(workdir / "result.json")
    if result is None:
        raise UsageError(f"{workdir} holds no finished run: train it to its end first")
    check_result(result, workdir, needed=("method", "config", "classes"))
    methods = {config.__module__.removeprefix("jaxlabel.methods."): config for config in METHODS}
    if result["method"] not in methods or "image_shape" not in result:
        raise UsageError(
            f"{workdir} was written by another version of jaxlabel: its method is "
            f"{result['method']}; use that version, or train again"
        )
    kind = methods[result["method"]]
    try:
        config = kind(**_todays_settings(kind, result["config"], workdir))
    except TypeError as error:
        raise UsageError(
            f"{workdir} was written by another version of jaxlabel: {error}"
        ) from error
    classes, shape = tuple(result["classes"]), outside_features.input_shape(result)
    make = sys.modules[kind.__module__].make_classifier(config, shape, max(1, len(classes)))
    like = jax.eval_shape(lambda key: make(nnx.Rngs(key)), jax.random.key(0))
    return Trained(
        _restore_model(workdir, like, say), config, classes, shape, result.get("gives", "classes"),
        result.get("intensity", ""),
    )  # fmt: skip


def _todays_settings(kind: type, settings: dict[str, Any], workdir: Path) -> dict[str, Any]:
    """Return the recorded settings of a run with today's names, without removed settings.

    A removed setting does not change how a trained model is read. Only three models cannot be
    read: one of several networks, SCAN's with another network for self-labelling, and one whose
    `network` does not exist any more, such as the SGAN's `gradients`.

    Args:
      kind: the configuration class.
      settings: the settings by name, as in a result.json.
      workdir: the run's directory, for the error message.

    Raises:
      UsageError: the model consists of several networks, is SCAN's with another network, or its
        network was removed.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    settings = old_settings.with_current_names(settings)
    has_several = settings.get("members", 1) > 1 and not settings.get("distil_steps")
    has_student = settings.get("student", "same") != "same"
    has_other_network = (
        "network" in fields.keys() & settings.keys()
        and settings["network"] not in fields["network"].metadata["choices"]
        and not is_own(settings["network"])
    )
    for name, is_other in (
        ("members", has_several and "members" not in fields),
        ("student", has_student and "student" not in fields),
        ("network", has_other_network),
    ):
        if is_other:
            raise UsageError(f"{workdir} holds a model with config.{name}={settings[name]}, which "
                             "this jaxlabel does not read: use the version that trained it, or "
                             "train again")  # fmt: skip
    kept = {name: value for name, value in settings.items()
            if name in fields or name not in old_settings.REMOVED}  # fmt: skip
    return with_infinities(kind, kept)


def _restore_model(workdir: Path, like: Any, say: Callable[[str], None]) -> Any:
    """Load the model of a finished run from its checkpoint.

    Args:
      workdir: the run's directory.
      like: a model with the structure and the array shapes of the saved model.
      say: a function that is called with a message for the user if the newest checkpoint is
        damaged.

    Raises:
      JaxlabelError: there is no readable checkpoint of the model, and no model.safetensors.
    """
    folder, exported = workdir / "checkpoints" / "predictor", workdir / "model.safetensors"
    if exported.is_file() and not folder.is_dir():
        return arrays.restore(exported, like)
    restored = None
    if folder.is_dir():
        manager = checkpoints.open_manager(folder)
        restored = checkpoints.restore(manager, folder, like, say, remove=False)
        manager.close()
    if restored is None:
        raise JaxlabelError(
            f"{folder} holds no model that can be read. In the work directory of the run, remove "
            "result.json and start the run again: it buys no label twice. Of a saved copy, make a "
            "new one"
        )
    return restored[1]


def predict(
    workdir: Path, spec: str, out: Path, *, split: str = "", data_dir: str | None = None,
    skip_unreadable: bool = False, features: str = "",
) -> str:  # fmt: skip
    """Write a CSV file with the predicted class of each image, and return a message for the user.

    The model of a finished run makes the predictions. The images are resized, converted to grey or
    rgb, and scaled to 8 bits as the images of this run were. The message says what was converted,
    and which files were left out.

    Args:
      workdir: the directory of a finished run.
      spec: the data set whose images are classified, such as "folder:DIR".
      out: the CSV file to write. An existing file is only replaced if it is empty or holds
        predictions.
      split: "test", "train" or "all". An empty string stands for the test images if there are any,
        else for the training images.
      data_dir: the directory of data sets in the format of tensorflow-datasets; None stands for the
        directory that the run used.
      skip_unreadable: True to write an image that cannot be read as a line with an error instead of
        a label. False stands for the run's setting, and by default such an image raises an error.
      features: the file with a feature vector of each image, if the run learned from features from
        outside.

    Raises:
      UsageError: the run is not finished, its model predicts no classes or takes images of another
        shape, or `out` is a folder or a file that holds no predictions.
      DataError: the images cannot be read.
    """
    if split and split not in SPLITS:
        raise UsageError(f"--split={split}: it takes one of {', '.join(SPLITS)}")
    files.check_replaceable(out, "predictions", ",".join(COLUMNS).encode())
    trained = load(workdir)
    if isinstance(trained.model, pretext.Representation):
        raise UsageError(f"{workdir} learned features, no classes: there is nothing to predict")
    options = options_of(trained.config)._replace(
        folder_labels=False,  # new images need no sub-folders that name their classes
        intensity=trained.intensity,
    )
    if data_dir is not None:
        options = options._replace(data_dir=data_dir)
    if skip_unreadable:
        options = options._replace(skip_unreadable=True)
    if features and not trained.config.outside_features:
        raise UsageError(f"{workdir} learned from images, not from features: leave out --features")
    if trained.config.outside_features and not features:
        raise UsageError(f"{workdir} learned from features from outside: name the file with the "
                         "features of these images, made by the same encoder, --features=FILE"
                         )  # fmt: skip
    try:
        dataset = data.load(spec, options)
    except SizesDiffer as error:  # there is no flag that would resize them
        reason = str(error).partition(": set ")[0]
        raise DataError(f"{reason}; the run used {_shape_in_words(trained.shape)} images without "
                        "resizing: convert your pictures to this size, or train with "
                        "config.image_size") from error  # fmt: skip
    notes = [*dataset.notes]
    if features:
        dataset = outside_features.inputs_of_finished_run(
            features, dataset, workdir, trained.shape[-1]
        )
        notes.append(f"the model works on features from outside: {features}")
    else:
        dataset, converted = _converted(spec, dataset, trained.shape)
        notes += converted
    split = split or ("test" if len(dataset.test_images) else "train")
    images = {"train": dataset.train_images, "test": dataset.test_images}
    chosen = {name: images[name] for name in (images if split == "all" else [split])}
    probabilities = {
        name: predict_probabilities(trained.model, part)
        for name, part in chosen.items()
        if len(part)
    }
    if not probabilities:
        raise UsageError(f"{spec} has no {split} images")
    names = trained.output_names(next(iter(probabilities.values())).shape[1])
    unread = tuple(
        one._replace(file=names_in_source(spec, [one.file])[0])
        for one in dataset.unread
        if one.split in chosen
    )
    shown = dataset._replace(
        unread=unread, paths=names_in_source(spec, dataset.paths),
        test_paths=names_in_source(spec, dataset.test_paths),
    )  # fmt: skip
    files.write(out, predictions_csv(probabilities, names, shown))
    count = sum(map(len, probabilities.values()))
    message = f"{count} images of {dataset.name} ({split}) labelled by {workdir}: {out}"
    if unread:
        message += f"; {len(unread)} that cannot be read have a line without a label"
    if num_others := sum(len(part) for name, part in images.items() if name not in chosen):
        message += f"; {num_others} images of the other split are not labelled: --split=all"
    return "\n".join([*notes, message])


def _converted(
    spec: str, dataset: Dataset, wanted: tuple[int, ...]
) -> tuple[Dataset, tuple[str, ...]]:
    """Return images with the number of channels that a model takes, and a note on the conversion.

    Args:
      spec: the data set, for error messages.
      dataset: the images.
      wanted: the shape of the images that the model takes.

    Raises:
      UsageError: the images have another height or width.
    """
    shape = dataset.train_images.shape[1:]
    if shape[:2] != wanted[:2]:
        raise UsageError(
            f"{spec} has images of {_shape_in_words(shape)}, the run learned from "
            f"{_shape_in_words(wanted)}: convert them, or train with config.image_size "
            "and config.image_mode set"
        )
    if shape == wanted:
        return dataset, ()
    converted = dataset._replace(
        train_images=with_channels(dataset.train_images, wanted[-1]),
        test_images=with_channels(dataset.test_images, wanted[-1]),
    )
    return converted, (f"converted from {_mode(shape)} to {_mode(wanted)}, as the run's images "
                       "are",)  # fmt: skip


def _shape_in_words(shape: tuple[int, ...]) -> str:
    """Return an image shape in words: "32x28 grey" for (height 28, width 32, channels 1)."""
    return f"{shape[1]}x{shape[0]} {_mode(shape)}"


def _mode(shape: tuple[int, ...]) -> str:
    """Return the colour mode of an image shape, "grey" or "rgb"."""
    return "grey" if shape[-1] == 1 else "rgb"
