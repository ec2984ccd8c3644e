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
      images: the labelled images, float32 in [0, 1].
      labels: the classes of the labelled images.
      unlabelled: the unlabelled images, float32 in [0, 1].
      rows: the indices of the unlabelled images in the full training array.
      graph_targets: for each unlabelled image, the class that label propagation over the neighbour
        graph gave to it, as a one-hot row; a zero row if there is none.
      prior: the expected share of each class.
      progress: the number of finished training steps, as a fraction of all steps.
    """

    images: Float[Array, "b h w c"]
    labels: Int[Array, "b"]
    unlabelled: Float[Array, "u h w c"]
    rows: Int[Array, "u"]
    graph_targets: Float[Array, "u classes"]
    prior: Float[Array, "classes"]
    progress: Float[Array, ""]


class Memory(NamedTuple):
    """Statistics of earlier batches, on which the thresholds of pseudo-labels depend.

    Attributes:
      seen: running averages of the predictions' confidence and of the predicted class shares.
      chosen: for each training image, the class of its last confident prediction; -1 if it has
        none.
    """

    seen: thresholds.Confidence
    chosen: Int[Array, "n"]


class Views(NamedTuple):
    """The random transforms that make a weak and a strong view of an image.

    Attributes:
      weak: the function that makes the view for which a target is predicted.
      strong: the function that makes the view for which the network must predict this target.
    """

    weak: Transform
    strong: Transform


class Outcome(NamedTuple):
    """The losses that a training objective computes for one batch.

    Attributes:
      labelled: the loss of each labelled image, in nats.
      unlabelled: the loss of each unlabelled image, before it is multiplied by the objective's
        weight.
      memory: the updated statistics of earlier batches.
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
