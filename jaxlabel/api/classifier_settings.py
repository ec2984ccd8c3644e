"""Check the settings of `FewLabelClassifier`; those without an effect are refused."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxlabel.errors import UsageError
from jaxlabel.methods import semisup

# the settings of the recipe "semisup" that `partly_labelled.train_network` reads
USED = (
    "objective", "preset", "kind", "alignment", "network", "width", "steps", "batch_size",
    "learning_rate", "seed", "mu", "weight_decay", "graph_targets", "contrast_steps",
)  # fmt: skip
KINDS_OF_VECTORS = ("unknown", "auto")  # the values of `kind` that say nothing about images
BUYS_NONE = "the classifier buys no labels; to have images chosen and labelled, use jaxlabel.fit"
# what to do instead of giving a setting that is not used
ADVICE = {
    "cpu_kernels": "set the environment variable JAXLABEL_CPU_KERNELS before Python starts",
    "devices": "to use fewer GPUs, set the environment variable CUDA_VISIBLE_DEVICES before Python "
               "starts",
    "data": "pass the images as X",
    "image_size": "resize the images of X",
    "image_mode": "convert the images of X",
    "features": "pass the feature vectors as X",
    "folder_labels": "pass the labels as y",
    "labels": "pass the labels as y",
    "noise": "change the labels in y",
} | dict.fromkeys(
    ("budget", "minutes", "store", "account", "query", "rounds", "initial_labels", "initial_query"),
    BUYS_NONE,
)  # fmt: skip


def checked_settings(settings: Any) -> dict[str, Any]:
    """Return the parameter `settings` as a dict.

    Names that the recipe "semisup" does not have are left to `recipes.configuration`, which refuses
    them.

    Raises:
      UsageError: `settings` is no dict, or has a setting that the classifier does not use.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise UsageError(f"settings is {settings!r}: it takes a dict, such as {{'mu': 7}}")
    known = {field.name for field in dataclasses.fields(semisup.Config)}
    for name in settings or {}:
        if name in known and name not in USED:
            advice = ADVICE.get(name, "leave it out")
            raise UsageError(f"settings has {name!r}, which FewLabelClassifier does not use: "
                             f"{advice}")  # fmt: skip
    return dict(settings or {})


def check_for_vectors(config: Any) -> None:
    """Check that the settings say nothing about images, because the samples are feature vectors.

    Args:
      config: the settings of the recipe "semisup".

    Raises:
      UsageError: `kind` says what images show, or `contrast_steps` asks for an encoder of images.
    """
    if config.kind not in KINDS_OF_VECTORS:
        raise UsageError(f"kind is {config.kind!r}, but X has feature vectors: leave kind out, or "
                         "set image_shape if each row of X has the pixels of an image")  # fmt: skip
    if config.contrast_steps:
        raise UsageError("with feature vectors nothing is trained on images: leave contrast_steps "
                         "out of settings")  # fmt: skip
