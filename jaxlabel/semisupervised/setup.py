"""What the semi-supervised recipes share: where they look for neighbours, and their networks."""

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
from jaxlabel.semisupervised.pretraining import STARTS, beside_components, pretrained
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
from jaxlabel.semisupervised.training import start as begin_state


@dataclasses.dataclass
class ModelSettings(RunConfig, Settings):
    """The features, the graph and the network, besides how it is trained."""

    space: str = setting(
        "pca", "where the query looks, and where the graph is",
        choices=("pixels", "pca", "graph", "autoencoder"),
    )  # fmt: skip
    components: int = setting(64, "principal components of that space", low=1)
    given: str = setting(
        "gradients", "what they are of: pixels, or oriented gradients", choices=pretext.GIVEN
    )
    contrast_steps: int = setting(
        0, "training steps of a contrastive encoder whose features lie beside those components; "
        "0: none", low=0,
    )  # fmt: skip
    code_steps: int = setting(1000, "training steps of an autoencoder, or of simclr", low=1)
    propagation: str = setting("poisson", "how a graph spreads labels", choices=PROPAGATIONS)
    neighbours: int = setting(10, "neighbours of each image in the graph", low=2)
    network: str = setting("conv", "the encoder", choices=nets.ENCODERS, own=True)
    width: int = setting(16, "channels of its first layer", low=4)
    start: str = setting("scratch", "where the encoder starts", choices=STARTS)

    def uses_graph_targets(self, num_labels: int) -> bool:
        """Whether labels spread on the graph are targets when so many are paid for."""
        few = not self.graph_targets_until or num_labels <= self.graph_targets_until
        return self.objective == "graph" or (
            self.objective in WITH_GRAPH_TARGETS and self.graph_targets > 0 and few
        )

    def check(self) -> None:
        """Refuses contrastive features where there are no components that they could lie beside."""
        if self.contrast_steps and self.space not in ("pca", "graph"):
            raise UsageError(
                f"config.contrast_steps goes with config.space=pca or graph, not {self.space}"
            )


class Spaces(NamedTuple):
    """The features of the images.

    Attributes:
      base: what the graph of neighbours is made of, where something looks at it.
      query: where the strategies look; zeros where none does.
      graph: what labels are spread on, where the objective or the guide asks.
    """

    base: Float[np.ndarray, "n d"] | None
    query: Float[np.ndarray, "n d"]
    graph: Joined | None


def spaces(
    config: ModelSettings, strategies: Iterable[str], num_labels: int,
    images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log,
) -> Spaces:  # fmt: skip
    """The features that the strategies and the graph need, and no others.

    Strategies that ask where the model is unsure look at its own features.

    Args:
      num_labels: how many labels are to be bought before the first training.
    """
    nothing = np.zeros((len(images), 1), np.float32)
    asks, uses_graph_targets = (
        any(map(looks_at_features, strategies)),
        config.uses_graph_targets(num_labels),
    )
    if not (asks or uses_graph_targets):
        return Spaces(None, nothing, None)
    base = base_features(config, images, key, log)
    looks = asks and config.space == "graph"
    if not (uses_graph_targets or looks):
        return Spaces(base, base, None)
    graph = neighbour_graph(base, config.neighbours, log)
    modes = leading_eigenvectors(graph, log) if looks or config.propagation == "diffusion" else None
    space = modes.points if looks and modes else base if asks else nothing
    joined = modes if config.propagation == "diffusion" else graph
    return Spaces(base, space, joined if uses_graph_targets else None)


def base_features(
    config: ModelSettings, images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log
) -> Float[np.ndarray, "n d"]:
    """What the graph of neighbours is made of: pixels, principal components, or codes.

    With `contrast_steps`, the components and the features of a contrastive encoder.
    """
    if config.space == "autoencoder":
        return learn_codes(
            "dense", images, key, log, code=32, width=512, num_steps=config.code_steps,
            batch_size=256, deformed=1.0,
        )  # fmt: skip
    if config.space == "pixels":
        return images.reshape(len(images), -1).astype(np.float32) / 255
    if config.contrast_steps:
        return beside_components(
            images, key, log, kind=config.kind, given=config.given, components=config.components,
            num_steps=config.contrast_steps,
        )  # fmt: skip
    return np.asarray(pretext.given_points(images, config.components, config.given))


def begin(
    config: ModelSettings,
    images: UInt8[np.ndarray, "n h w c"],
    num_classes: int,
    key: Key[Array, ""],
    log: Log,
    member: int = 0,
) -> State:
    """The state before the first step: an untrained head on the encoder of `start`.

    Args:
      member: its number among networks of one run, each with checkpoints of its own.
    """
    init_key, start_key = jax.random.split(key)
    model = train.init(make_network(config, images.shape[1:], num_classes), init_key)
    model.encoder = pretrained(
        model.encoder, config.start, images, start_key, log, network=config.network,
        width=config.width, kind=config.kind, num_steps=config.code_steps,
        name=f"_{member}" if member else "",
    )  # fmt: skip
    return begin_state(config, model, len(images), num_classes)


def propagate_labels(
    config: ModelSettings, graph: Joined | None, labelled: Labelled, num_classes: int
) -> Propagated | None:
    """A class for every image by its neighbours, where the objective or the guide asks."""
    if graph is None or not config.uses_graph_targets(len(labelled.indices)):
        return None
    prior = class_prior(config, labelled, num_classes)
    return propagate(config.propagation, graph, labelled.indices, labelled.labels, prior)


def make_graph_targets(
    config: ModelSettings, found: Propagated | None, num_images: int, num_classes: int
) -> Float[np.ndarray, "n classes"]:
    """The spread labels as targets: 1 for the class, nothing at all where it is unsure."""
    if found is None:
        return np.zeros((num_images, num_classes), np.float32)
    sure = found.certainty >= 1.0 - config.graph_targets_share
    return np.eye(num_classes, dtype=np.float32)[found.labels] * sure[:, None]


def class_prior(
    config: ModelSettings, labelled: Labelled, num_classes: int
) -> Float[np.ndarray, "classes"]:
    """How often each class is expected: alike, or as among the paid labels."""
    if config.alignment == "uniform":
        return np.full(num_classes, 1 / num_classes, np.float32)
    counts = np.bincount(labelled.labels, minlength=num_classes).astype(np.float32)
    return np.asarray(consistency.labelled_prior(jnp.asarray(counts)))


def ensemble(config: ModelSettings, models: list[Any]) -> linear.Ensemble:
    """The models' mean, on both sides of what may be mirrored."""
    return linear.Ensemble(models, config.kind in augment.MIRRORED_KINDS)


def make_network(config: ModelSettings, shape: tuple[int, ...], num_classes: int) -> Any:
    """What makes encoder and head from random number generators."""

    def make(rngs: Any) -> nets.Classifier:
        encoder = nets.make_encoder(config.network, shape, rngs, config.width)
        return nets.Classifier(encoder, num_classes, rngs)

    return make
