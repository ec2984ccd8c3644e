"""Paid labels spread anew where the networks have learned to look, and taught to them.

What a network has learned of few labels and all images is a better measure of likeness than what
it was given. While labels are few, those that are paid for, spread over the graph of nearest
neighbours there, are right more often than the network's own classes. So they become its targets,
and the graph is made anew. (Of labels asked in the hardest places the network makes more:
experiments/flagship.md.)
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import cluster, pretext
from jaxlabel.cluster.pca import fit_pca, project
from jaxlabel.config import setting
from jaxlabel.log import Log
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import committee
from jaxlabel.semisupervised.propagation import join
from jaxlabel.semisupervised.setup import make_graph_targets, propagate_labels
from jaxlabel.semisupervised.training import Data, State

SHARE = 0.7  # of the squared length, the networks' features beside given ones
# Of the features, for the search of neighbours, which they halve: 98.6 to 99.6% of the variance on
# Fashion-MNIST, 93 to 98% of the neighbours, and labels spread there are as right within .05 points
# (experiments/flagship.md).
COMPONENTS = 128


@dataclasses.dataclass
class Settings:
    """How often and how long, which a recipe's own `Config` inherits."""

    refinements: int = setting(
        0, "how often, after `steps`, the paid labels are spread anew on a graph of what the "
        "networks have learned (beside the features that the query or the guide looked at, if "
        "any), and the networks are trained on that", low=0,
    )  # fmt: skip
    refine_steps: int = setting(500, "training steps of each of these times", low=1)
    refine_until: int = setting(
        0, "the number of paid labels above which that is left out; 0: with any number", low=0
    )


def applies(config: Any, num_labels: int) -> bool:
    """Whether the networks are refined with so many paid labels."""
    return config.refinements > 0 and not 0 < config.refine_until < num_labels


def cycle(config: Any) -> committee.Cycle:
    """A cycle of training in which the strong view of an image is to be what the graph says of it.

    To the last step: where the graph's opinion is let go, and its unsure part is left out, a
    network takes over less than half of what the graph knows better (experiments/flagship.md).
    """
    guided = dataclasses.replace(
        config,
        objective="fixmatch",
        graph_targets=math.inf,
        graph_targets_until=0,
        graph_targets_share=1.0,
        weight=-1.0,
    )
    return committee.cycle(guided, config.refine_steps)


def refine(
    cycle: committee.Cycle, state: State, data: Data, base: Float[np.ndarray, "n d"] | None,
    labelled: Labelled, key: Key[Array, ""], log: Log, name: str,
) -> State:  # fmt: skip
    """The networks after `refinements`, each a cycle on labels spread over their own features.

    Args:
      cycle: from the function of that name.
      data: what the networks were trained on; its guide is not looked at.
      base: features that lie beside the networks' in the graph, or None.
    """
    config, images, num_classes = cycle.settings, np.asarray(data.images), len(data.prior)
    for number, each in enumerate(jax.random.split(key, config.refinements)):
        space = learned_space(config, state, images, base)
        log.progress("neighbours", 0, 1)
        graph = cluster.nearest_graph(space, config.neighbours)
        log.progress("neighbours", 1, 1)
        found = propagate_labels(
            config, join(config.propagation, graph, log), labelled, num_classes
        )
        graph_targets = make_graph_targets(config, found, len(images), num_classes)
        told = data._replace(graph_targets=jnp.asarray(graph_targets))
        state = committee.learn(cycle, state, told, each, log, f"{name}_{number}")
    return state


def learned_space(
    config: Any,
    state: State,
    images: UInt8[np.ndarray, "n h w c"],
    base: Float[np.ndarray, "n d"] | None,
) -> Float[np.ndarray, "n both"]:
    """The features of all networks, of length 1, beside the base features in fixed shares.

    Of more than `COMPONENTS`, the leading principal components.
    """
    learned = jnp.asarray(pretext.features_of(committee.networks(config, state), images))
    space = (
        pretext.unit(learned)
        if base is None
        else pretext.beside(learned, jnp.asarray(base), 1 - SHARE)
    )
    if space.shape[1] > COMPONENTS:
        space = project(fit_pca(space, COMPONENTS), space)
    return np.asarray(space)
