"""Features, neighbour graph and networks of the semi-supervised recipes."""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import augment, cluster, nets, pretext, train
from jaxlabel.config import RunConfig, setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.losses import consistency
from jaxlabel.nets import linear
from jaxlabel.query import Labelled, looks_at_features
from jaxlabel.semisupervised.pretraining import features_with_components
from jaxlabel.semisupervised.propagation import Propagated, neighbour_graph, propagate
from jaxlabel.semisupervised.settings import Settings
from jaxlabel.semisupervised.training import State
from jaxlabel.semisupervised.training import start as start_state

COMPONENTS = 64  # number of principal components
GIVEN = "gradients"  # input of the principal components: oriented gradients
NEIGHBOURS = 10  # of each image in the neighbour graph
# Share of each class's propagated labels that become targets. The rest are too often wrong
# (experiments/semisup.md); a refinement uses them all.
MOST_CERTAIN = 0.6


@dataclasses.dataclass
class ModelSettings(RunConfig, Settings):
    """Settings of the features, the neighbour graph, the network, and its training."""

    features: str = setting(
        "", "a .npy, .npz or .parquet file with a feature vector of every image, computed by "
        "another program; the run then learns from these in place of the images; empty: none",
    )  # fmt: skip
    contrast_steps: int = setting(
        0, "training steps of a contrastive encoder whose features are added to the principal "
        "components; 0: none", low=0,
    )  # fmt: skip
    network: str = setting(
        "conv", "network of the encoder; linear and hidden (one hidden layer): a small network on "
        "the feature vectors of config.features", choices=(*nets.ENCODERS, *nets.HEADS), own=True,
    )  # fmt: skip
    width: int = setting(16, "channels of the encoder's first layer", low=4)

    def check(self) -> None:
        """Raise a UsageError if the settings contradict each other.

        For example, a network for feature vectors needs a file of them (the setting `features`).
        """
        if self.features and self.network in nets.ENCODERS:
            raise UsageError(f"config.features takes no network for images ({self.network}): set "
                             f"config.network={' or '.join(nets.HEADS)}, or take "
                             "--config=configs/flagship.py:features")  # fmt: skip
        if self.features and self.contrast_steps:
            raise UsageError("with config.features nothing is trained on images: set "
                             "config.contrast_steps=0")  # fmt: skip
        if not self.features and self.network in nets.HEADS:
            raise UsageError(f"config.network={self.network} works on feature vectors: name their "
                             "file, config.features=FILE")  # fmt: skip

    @property
    def weight_decay(self) -> float:
        """The weight decay of AdamW, which depends on the network."""
        return nets.weight_decay(self.network)

    @property
    def outside_features(self) -> str:
        """The file of feature vectors from which the run learns in place of the images; or ""."""
        return self.features


class Spaces(NamedTuple):
    """The features of all training images, and the neighbour graph built from these features.

    Attributes:
      base: the features from which the neighbour graph is built; None if they are not needed.
      query: the features that query strategies use; zeros if no strategy needs features.
      graph: the graph over which labels are propagated; None if the training uses no propagated
        labels.
    """

    base: Float[np.ndarray, "n d"] | None
    query: Float[np.ndarray, "n d"]
    graph: cluster.Graph | None


def base_features(
    config: ModelSettings, images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log
) -> Float[np.ndarray, "n d"]:
    """Compute the features from which the neighbour graph is built.

    They are principal components of the images' oriented gradients. If the setting `contrast_steps`
    is positive, a contrastive encoder is trained, and its features are joined to the principal
    components. With `features` from outside, these take the place of all others.
    """
    if config.features:
        return images.reshape(len(images), -1)
    if config.contrast_steps:
        return features_with_components(
            images, key, log, kind=config.kind, given=GIVEN, components=COMPONENTS,
            num_steps=config.contrast_steps,
        )  # fmt: skip
    return np.asarray(pretext.input_components(images, COMPONENTS, GIVEN))


def compute_spaces(
    config: ModelSettings, strategies: Iterable[str], num_labels: int,
    images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log,
) -> Spaces:  # fmt: skip
    """Compute the features of all images and the neighbour graph, as far as the run needs them.

    Uncertainty strategies need none of these features: they use the features of the trained model.

    Args:
      config: the settings of the run.
      strategies: the names of the run's query strategies.
      num_labels: the number of labels bought before the first training.
      images: all training images.
    """
    nothing = np.zeros((len(images), 1), np.float32)
    needs_features = any(map(looks_at_features, strategies))
    uses_graph = config.uses_graph_targets(num_labels)
    if not (needs_features or uses_graph):
        return Spaces(None, nothing, None)
    base = base_features(config, images, key, log)
    graph = make_graph(base, images, log) if uses_graph else None
    return Spaces(base, base if needs_features else nothing, graph)


def make_graph(
    features: Float[np.ndarray, "n d"], images: UInt8[np.ndarray, "n h w c"], log: Log
) -> cluster.Graph:
    """Return the neighbour graph of features, over which labels are propagated.

    A data set of few images has fewer than `NEIGHBOURS` neighbours of each image. Identical images
    share a point of the graph.

    Args:
      features: the feature vector of each image.
      images: the images, by which identical ones are found.
    """
    num_neighbours = max(2, min(NEIGHBOURS, len(features) - 1))
    return neighbour_graph(features, num_neighbours, log, cluster.first_copies(images))


def initial_state(
    config: ModelSettings, images: UInt8[np.ndarray, "n h w c"], num_classes: int,
    key: Key[Array, ""],
) -> State:  # fmt: skip
    """Return the state of an untrained network before the first training step.

    Args:
      images: all training images.
    """
    init_key = jax.random.split(key)[0]  # half of it: results stay as published
    model = train.init(make_network(config, images.shape[1:], num_classes), init_key)
    return start_state(config, model, len(images), num_classes)


def propagate_labels(
    config: ModelSettings, graph: cluster.Graph | None, labelled: Labelled, num_classes: int
) -> Propagated | None:
    """Propagate the labels of the labelled set over the neighbour graph to all images.

    Args:
      config: the settings of the run.
      graph: the neighbour graph; None if the training uses no propagated labels.
      labelled: the labels bought so far.
      num_classes: the number of classes.

    Returns:
      The class of every image and how certain it is; None if there is no graph or if, with so many
      labels, the settings do not train on propagated labels.
    """
    if graph is None or not config.uses_graph_targets(len(labelled.indices)):
        return None
    prior = class_prior(config, labelled, num_classes)
    return propagate(graph, labelled.indices, labelled.labels, prior)


def make_graph_targets(
    propagated: Propagated | None, num_images: int, num_classes: int, share: float = MOST_CERTAIN
) -> Float[np.ndarray, "n classes"]:
    """Return one-hot training targets from propagated labels; zero rows for uncertain images.

    Propagated labels are the classes that label propagation over the neighbour graph gave to the
    images. If `propagated` is None, all targets are zero.

    Args:
      share: the share of each class's propagated labels that become targets, the most certain
        first.
    """
    targets = np.zeros((num_images, num_classes), np.float32)
    if propagated is not None:
        certain = np.flatnonzero(propagated.certainty >= 1.0 - share)
        targets[certain, propagated.labels[certain]] = 1.0
    return targets


def class_prior(
    config: ModelSettings, labelled: Labelled, num_classes: int
) -> Float[np.ndarray, "classes"]:
    """Return the expected share of each class.

    With `alignment="uniform"` (a setting), all shares are equal. Otherwise they are estimated from
    the classes of the labelled images.
    """
    if config.alignment == "uniform":
        return np.full(num_classes, 1 / num_classes, np.float32)
    counts = np.bincount(labelled.labels, minlength=num_classes).astype(np.float32)
    return np.asarray(consistency.labelled_prior(jnp.asarray(counts)))


def average_mirrored(config: ModelSettings, model: Any) -> linear.Ensemble:
    """Return a model that averages the predictions of `model` for an image and its mirror image.

    If mirroring changes the class of the images (as for digits, unlike clothes), the returned model
    predicts the same as `model`.
    """
    return linear.Ensemble([model], augment.keeps_class_mirrored(config.kind))


def make_network(config: ModelSettings, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained encoder with a classification head.

    The argument of this function is an `nnx.Rngs`, which gives the random initial weights.
    """

    def make(rngs: Any) -> nets.Classifier:
        encoder = nets.make_encoder(config.network, shape, rngs, config.width)
        return nets.Classifier(encoder, num_classes, rngs)

    return make
