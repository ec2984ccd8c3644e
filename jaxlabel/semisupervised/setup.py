"""Features, neighbour graph and networks of the semi-supervised recipes."""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import augment, nets, pretext, train
from jaxlabel.config import RunConfig, setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.losses import consistency
from jaxlabel.nets import linear
from jaxlabel.pretext.autoencoder import learn_codes
from jaxlabel.query import Labelled, looks_at_features
from jaxlabel.semisupervised.pretraining import STARTS, features_with_components, pretrained
from jaxlabel.semisupervised.propagation import METHODS as PROPAGATIONS
from jaxlabel.semisupervised.propagation import (
    Joined,
    Propagated,
    leading_eigenvectors,
    neighbour_graph,
    propagate,
)
from jaxlabel.semisupervised.settings import WITH_GRAPH_TARGETS, Settings
from jaxlabel.semisupervised.training import State
from jaxlabel.semisupervised.training import start as start_state


@dataclasses.dataclass
class ModelSettings(RunConfig, Settings):
    """Settings of the features, the neighbour graph, the network, and its training."""

    features: str = setting(
        "", "a .npy, .npz or .parquet file with a feature vector of every image, computed by "
        "another program; the run then learns from these in place of the images; empty: none",
    )  # fmt: skip
    space: str = setting(
        "pca", "features that query strategies and the neighbour graph work on",
        choices=("pixels", "pca", "graph", "autoencoder"),
    )  # fmt: skip
    components: int = setting(64, "number of principal components, for space=pca or graph", low=1)
    given: str = setting(
        "gradients", "input of the principal components: pixels, or oriented gradients",
        choices=pretext.COMPONENT_INPUTS,
    )  # fmt: skip
    contrast_steps: int = setting(
        0, "training steps of a contrastive encoder whose features are added to the principal "
        "components; 0: none", low=0,
    )  # fmt: skip
    code_steps: int = setting(
        1000, "training steps of the autoencoder (space or start) or of simclr (start)", low=1
    )
    propagation: str = setting(
        "poisson", "method that propagates labels over the graph", choices=PROPAGATIONS
    )
    neighbours: int = setting(10, "neighbours of each image in the graph", low=2)
    network: str = setting(
        "conv", "network of the encoder; linear and hidden (one hidden layer): a small network on "
        "the feature vectors of config.features", choices=(*nets.ENCODERS, *nets.HEADS), own=True,
    )  # fmt: skip
    width: int = setting(16, "channels of the encoder's first layer", low=4)
    start: str = setting("scratch", "pretraining of the encoder; scratch: none", choices=STARTS)

    def uses_graph_targets(self, num_labels: int) -> bool:
        """Return True if training on `num_labels` labels also uses labels from label propagation.

        Label propagation gives every image a class over the graph of nearest neighbours.
        """
        few = not self.graph_targets_until or num_labels <= self.graph_targets_until
        return self.objective == "graph" or (
            self.objective in WITH_GRAPH_TARGETS and self.graph_targets > 0 and few
        )

    def check(self) -> None:
        """Raise a UsageError if the settings contradict each other.

        For example, features of a contrastive encoder (`contrast_steps` above 0) need `space` to be
        "pca" or "graph".
        """
        if self.contrast_steps and self.space not in ("pca", "graph"):
            raise UsageError(
                f"config.contrast_steps goes with config.space=pca or graph, not {self.space}"
            )
        if self.features and self.network in nets.ENCODERS:
            raise UsageError(f"config.features takes no network for images ({self.network}): set "
                             f"config.network={' or '.join(nets.HEADS)}, or take "
                             "--config=configs/flagship.py:features")  # fmt: skip
        if self.features and (self.contrast_steps or self.start != "scratch"):
            raise UsageError("with config.features nothing is trained on images: set "
                             "config.contrast_steps=0 and config.start=scratch")  # fmt: skip
        if not self.features and self.network in nets.HEADS:
            raise UsageError(f"config.network={self.network} works on feature vectors: name their "
                             "file, config.features=FILE")  # fmt: skip

    @property
    def outside_features(self) -> str:
        """The file of feature vectors from which the run learns in place of the images; or ""."""
        return self.features


class Spaces(NamedTuple):
    """The features of all training images, and the neighbour graph built from these features.

    Attributes:
      base: the features from which the neighbour graph is built; None if they are not needed.
      query: the features that query strategies use; zeros if no strategy needs features.
      graph: the graph (or its eigenvectors) over which labels are propagated; None if the training
        uses no propagated labels.
    """

    base: Float[np.ndarray, "n d"] | None
    query: Float[np.ndarray, "n d"]
    graph: Joined | None


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
    needs_features, uses_graph_targets = (
        any(map(looks_at_features, strategies)),
        config.uses_graph_targets(num_labels),
    )
    if not (needs_features or uses_graph_targets):
        return Spaces(None, nothing, None)
    base = base_features(config, images, key, log)
    queries_graph = needs_features and config.space == "graph"
    if not (uses_graph_targets or queries_graph):
        return Spaces(base, base, None)
    graph = neighbour_graph(base, config.neighbours, log)
    needs_eigenvectors = queries_graph or config.propagation == "diffusion"
    eigenvectors = leading_eigenvectors(graph, log) if needs_eigenvectors else None
    space = base if needs_features else nothing
    if queries_graph and eigenvectors:
        space = eigenvectors.points
    joined = eigenvectors if config.propagation == "diffusion" else graph
    return Spaces(base, space, joined if uses_graph_targets else None)


def base_features(
    config: ModelSettings, images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log
) -> Float[np.ndarray, "n d"]:
    """Compute the features from which the neighbour graph is built.

    The setting `space` chooses pixels, an autoencoder's codes, or principal components. If the
    setting `contrast_steps` is positive, a contrastive encoder is trained, and its features are
    joined to the principal components. With `features` from outside, these take the place of all
    others.
    """
    if config.features:
        return images.reshape(len(images), -1)
    if config.space == "autoencoder":
        return learn_codes(
            "dense", images, key, log, code=32, width=512, num_steps=config.code_steps,
            batch_size=256, deformed=1.0,
        )  # fmt: skip
    if config.space == "pixels":
        return images.reshape(len(images), -1).astype(np.float32) / 255
    if config.contrast_steps:
        return features_with_components(
            images, key, log, kind=config.kind, given=config.given, components=config.components,
            num_steps=config.contrast_steps,
        )  # fmt: skip
    return np.asarray(pretext.input_components(images, config.components, config.given))


def initial_state(
    config: ModelSettings,
    images: UInt8[np.ndarray, "n h w c"],
    num_classes: int,
    key: Key[Array, ""],
    log: Log,
) -> State:
    """Return the state before the first training step of a network with an untrained head.

    The network's encoder is pretrained by the method that the setting `start` names.

    Args:
      images: all training images.
    """
    init_key, start_key = jax.random.split(key)
    model = train.init(make_network(config, images.shape[1:], num_classes), init_key)
    model.encoder = pretrained(
        model.encoder, config.start, images, start_key, log, network=config.network,
        width=config.width, kind=config.kind, num_steps=config.code_steps,
    )  # fmt: skip
    return start_state(config, model, len(images), num_classes)


def propagate_labels(
    config: ModelSettings, graph: Joined | None, labelled: Labelled, num_classes: int
) -> Propagated | None:
    """Propagate the labels of the labelled set over the neighbour graph to all images.

    Args:
      config: the settings of the run, which name the propagation method.
      graph: the graph (or its eigenvectors); None if the training uses no propagated labels.
      labelled: the labels bought so far.
      num_classes: the number of classes.

    Returns:
      The class of every image and how certain it is; None if there is no graph or if, with so many
      labels, the settings do not train on propagated labels.
    """
    if graph is None or not config.uses_graph_targets(len(labelled.indices)):
        return None
    prior = class_prior(config, labelled, num_classes)
    return propagate(config.propagation, graph, labelled.indices, labelled.labels, prior)


def make_graph_targets(
    config: ModelSettings, propagated: Propagated | None, num_images: int, num_classes: int
) -> Float[np.ndarray, "n classes"]:
    """Return one-hot training targets from propagated labels; zero rows for uncertain images.

    Propagated labels are the classes that label propagation over the neighbour graph gave to the
    images. In each class, only the most certain images get targets; the setting
    `graph_targets_share` is their share. If `propagated` is None, all targets are zero.
    """
    if propagated is None:
        return np.zeros((num_images, num_classes), np.float32)
    certain = propagated.certainty >= 1.0 - config.graph_targets_share
    return np.eye(num_classes, dtype=np.float32)[propagated.labels] * certain[:, None]


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
    return linear.Ensemble([model], config.kind in augment.MIRRORED_KINDS)


def make_network(config: ModelSettings, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained encoder with a classification head.

    The argument of this function is an `nnx.Rngs`, which gives the random initial weights.
    """

    def make(rngs: Any) -> nets.Classifier:
        encoder = nets.make_encoder(config.network, shape, rngs, config.width)
        return nets.Classifier(encoder, num_classes, rngs)

    return make
