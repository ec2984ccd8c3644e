"""Refinement: propagate the labels over a graph of learned features, and train on the result.

The features that a network has learned measure similarity better than the input features. While
labels are few, labels propagated over the graph of nearest neighbours in the learned features are
right more often than the network's predictions. So these labels become its training targets, and
after the training the graph is built again. (For labels bought where the network is most
uncertain, the network's predictions are the better ones: experiments/flagship.md.)
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import cluster, pretext
from jaxlabel.cluster.pca import fit_pca, project
from jaxlabel.config import setting
from jaxlabel.log import Log
from jaxlabel.predictor import predict_probabilities
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import cycles
from jaxlabel.semisupervised.objectives import REFINEMENT
from jaxlabel.semisupervised.propagation import propagate
from jaxlabel.semisupervised.settings import FEW, WITH_GRAPH_TARGETS
from jaxlabel.semisupervised.setup import (
    NEIGHBOURS,
    average_mirrored,
    class_prior,
    make_graph_targets,
)
from jaxlabel.semisupervised.training import Data, State

# The learned features' share of the squared length, if they are concatenated with base features.
SHARE = 0.7
# Principal components of the features for the neighbour search, whose time they halve. On
# Fashion-MNIST they keep 98.6 to 99.6% of the variance and 93 to 98% of the neighbours, and the
# accuracy of the propagated labels is the same within 0.05 points
# (experiments/flagship_history.md).
COMPONENTS = 128


@dataclasses.dataclass
class Settings:
    """Settings of the refinement of a trained network, for other `Config` classes to inherit.

    A refinement builds a nearest-neighbour graph from the network's own features, propagates the
    bought labels over it, and trains the network on the result.
    """

    refinements: int = setting(
        0, "number of refinements after the final training; each propagates the labels over a "
        "graph of the network's features, joined with the features before any label if the run has "
        "them, and trains the network on the result; with more than 150 labels: none. With 1 or "
        "more, or with contrast_steps, the labels after the initial ones and up to the 100th are "
        "bought where label propagation is least certain", low=0,
    )  # fmt: skip


def should_refine(config: Any, num_labels: int) -> bool:
    """Return True if a network that was trained on `num_labels` labels should be refined.

    A refinement trains it again, on labels propagated over a graph of the network's features.
    """
    return config.refinements > 0 and num_labels <= FEW


def make_cycle(config: Any, steps: int) -> cycles.Cycle:
    """Return the training cycle of a refinement: the number of steps and a compiled step.

    The only training targets are propagated labels: the classes that label propagation over a
    neighbour graph gives to images. Their weight does not fall during the training, and uncertain
    ones are used as well. Otherwise a network learns less than half of the labels that are right in
    the graph and wrong in the network's own predictions (experiments/flagship_history.md).
    """
    return cycles.make_cycle(dataclasses.replace(config, objective=REFINEMENT), steps)


def refine(
    cycle: cycles.Cycle, state: State, data: Data, base: Float[np.ndarray, "n d"] | None,
    labelled: Labelled, key: Key[Array, ""], log: Log, name: str, times: int,
    num_neighbours: int = NEIGHBOURS, *, finds_classes: bool = False,
) -> State:  # fmt: skip
    """Refine the trained network and return its new state.

    This repeats three steps, `times` times: build a neighbour graph of the network's current
    features, propagate the labels over it, and train the network on the propagated labels. A
    resumed run builds no graph for a training that it had finished.

    Args:
      cycle: the training cycle, from `refinement.make_cycle`.
      state: the state of the trained network.
      data: the data on which the network was trained; its propagated labels are replaced by those
        of each new graph.
      base: features that are joined to the network's features to build the graph, or None.
      labelled: the labels bought so far.
      name: the first part of the checkpoints' names.
      times: the number of refinements.
      num_neighbours: the number of neighbours of each image in the graph.
      finds_classes: True if the network can predict classes without a label
        (`finds_unlabelled_classes`). Then, for each such class, the image with its highest
        probability counts as labelled.
    """
    config, images, num_classes = cycle.settings, np.asarray(data.images), len(data.prior)
    first = cluster.first_copies(images)
    for number, each in enumerate(jax.random.split(key, times)):
        if cycles.is_finished(cycle, state, log, f"{name}_{number}"):
            state = cycles.train_cycle(cycle, state, data, each, log, f"{name}_{number}")
            continue
        model = average_mirrored(config, state.teacher)
        space = learned_space(model, images, base)
        found = search_neighbours(space, num_neighbours, log, first)
        prior = class_prior(config, labelled, num_classes)
        known = labelled
        if finds_classes:
            known = with_unlabelled_classes(model, images, labelled, num_classes, first)
        propagated = propagate(found.graph(), known.indices, known.labels, prior)
        graph_targets = make_graph_targets(propagated, len(images), num_classes, share=1.0)
        new_data = data._replace(graph_targets=jnp.asarray(graph_targets))
        state = cycles.train_cycle(cycle, state, new_data, each, log, f"{name}_{number}")
    return state


def finds_unlabelled_classes(config: Any) -> bool:
    """Return True if a network trained with these settings may find a class that has no label.

    It does so if all classes are known to be equally frequent (the setting `alignment="uniform"`)
    and the objective, such as FreeMatch, uses this: then the network predicts the class for images
    that fit no other class. Label propagation alone cannot find it.
    """
    return config.alignment == "uniform" and config.objective in WITH_GRAPH_TARGETS


def with_unlabelled_classes(
    model: Any, images: UInt8[np.ndarray, "n h w c"], labelled: Labelled, num_classes: int,
    first: Int[np.ndarray, "n"] | None = None,
) -> Labelled:  # fmt: skip
    """Return the labelled set and, for each class that has no label yet, one more image.

    It is the image to which the network gives the highest probability of this class, and it counts
    as labelled with it. Unless more than half of the classes have a label, the labelled set is
    returned unchanged, because such images would outvote the labels that were bought.

    Args:
      model: the trained network.
      images: all training images.
      labelled: the labels bought so far.
      num_classes: the number of known classes.
      first: the first copy of each image; None if all images are distinct. Copies of labelled
        images are not chosen.
    """
    missing = np.setdiff1d(np.arange(num_classes), labelled.labels)
    if not 0 < len(missing) < num_classes / 2:
        return labelled
    probabilities = predict_probabilities(model, images)
    first = np.arange(len(images)) if first is None else first
    probabilities[np.isin(first, first[labelled.indices])] = 0.0
    chosen: list[int] = []
    for label in missing[: len(np.setdiff1d(first, first[labelled.indices]))]:
        chosen.append(int(probabilities[:, label].argmax()))
        probabilities[first == first[chosen[-1]]] = 0.0  # no image stands for two classes
    indices = np.append(labelled.indices, np.array(chosen, int))
    return Labelled(indices, np.append(labelled.labels, missing[: len(chosen)]))


def search_neighbours(
    space: Float[np.ndarray, "n d"], num_neighbours: int, log: Log,
    first: Int[np.ndarray, "n"] | None,
) -> cluster.Neighbours:  # fmt: skip
    """Return the nearest neighbours of all images in learned features, and log the progress.

    They are not cached, because no other run has the same features.

    Args:
      space: the learned features.
      num_neighbours: the number of neighbours of each image.
      first: the first copy of each image, from `cluster.first_copies`; None if all images are
        distinct.
    """
    log.progress("neighbours", 0, 1)
    found = cluster.nearest_neighbours(space, min(num_neighbours, len(space) - 1), first=first)
    log.progress("neighbours", 1, 1)
    cluster.report_recall(found.recall, log)
    return found


def learned_space(
    model: Any,
    images: UInt8[np.ndarray, "n h w c"],
    base: Float[np.ndarray, "n d"] | None,
    share: float = SHARE,
) -> Float[np.ndarray, "n both"]:
    """Return the features from which a refinement builds the neighbour graph.

    They are the features that the trained network computes. Each row has length 1. If `base` is
    given, its features are joined to them, and the network's features have the share `share` of the
    squared length. More than `COMPONENTS` features are reduced to that number of principal
    components.

    Args:
      model: the trained network.
      images: all training images.
      base: the features to join to those of the network, or None.
      share: the share of the network's features in the squared length, if `base` is given.
    """
    learned = jnp.asarray(pretext.features_of(model, images))
    space = (
        pretext.unit_rows(learned)
        if base is None
        else pretext.concatenate_weighted(learned, jnp.asarray(base), 1 - share)
    )
    if space.shape[1] > COMPONENTS:
        space = project(fit_pca(space, COMPONENTS), space)
    return np.asarray(space)
