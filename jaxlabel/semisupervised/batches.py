"""The inputs and outputs of the training objectives, shared by objectives.py and training.py."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int, Key

from jaxlabel.augment import Transform
from jaxlabel.losses import thresholds
from jaxlabel.semisupervised.settings import Settings


class Batch(NamedTuple):
    """The mini-batch of one training step.

    Attributes:
      images: labelled images, float32 in [0, 1].
      labels: their classes.
      unlabelled: unlabelled images, float32 in [0, 1].
      rows: indices of the unlabelled images in the full training array.
      graph_targets: classes propagated over the graph to the unlabelled images, one-hot; zeros
        for an image without a graph target.
      prior: expected share of each class.
      progress: the fraction of the training steps that is done.
    """

    images: Float[Array, "b h w c"]
    labels: Int[Array, "b"]
    unlabelled: Float[Array, "u h w c"]
    rows: Int[Array, "u"]
    graph_targets: Float[Array, "u classes"]
    prior: Float[Array, "classes"]
    progress: Float[Array, ""]


class Memory(NamedTuple):
    """Statistics of earlier batches that the thresholds of pseudo-labels depend on.

    Attributes:
      seen: running averages of the predictions' confidence and class shares.
      chosen: for each training image, the class of its last confident prediction; -1 if none.
    """

    seen: thresholds.Confidence
    chosen: Int[Array, "n"]


class Views(NamedTuple):
    """The two random transforms of an image.

    Attributes:
      weak: the transform from which targets are predicted.
      strong: the transform under which the student has to match the target.
    """

    weak: Transform
    strong: Transform


class Outcome(NamedTuple):
    """The result of an objective for one batch.

    Attributes:
      labelled: loss of each labelled example, in nats.
      unlabelled: loss of each unlabelled example, before the objective's weight.
      memory: the updated statistics.
      metrics: scalars to log.
    """

    labelled: Float[Array, "b"]
    unlabelled: Float[Array, "m"]
    memory: Memory
    metrics: Mapping[str, Float[Array, ""]]


# (settings, views, student, teacher, batch, memory, key) -> outcome
Objective = Callable[[Settings, Views, Any, Any, Batch, Memory, Key[Array, ""]], Outcome]
# (settings, targets, batch, memory) -> weights of the unlabelled examples, memory
Weigh = Callable[[Settings, Array, Batch, Memory], tuple[Float[Array, "u"], Memory]]
