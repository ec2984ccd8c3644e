"""Train a network on images or feature vectors of which only some have a label."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, Key, UInt8

from jaxlabel import cluster, semisupervised, train
from jaxlabel.augment.geometry import Images
from jaxlabel.config import RunConfig
from jaxlabel.log import Log, NullLog
from jaxlabel.methods import semisup
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import setup
from jaxlabel.semisupervised.batches import Views

ROWS = 4096  # to which small sets of images are repeated
NOISE = {"weak": 0.02, "strong": 0.1}  # standard deviations, of features scaled to [0, 1]


def train_network(
    config: Any, images: UInt8[np.ndarray, "n h w c"], labelled: Labelled, num_classes: int,
    vectors: bool,
) -> Any:  # fmt: skip
    """Train a network on labelled and unlabelled images; return the moving average of its weights.

    Args:
      config: the settings of the training method "semisup".
      images: all images, labelled and unlabelled.
      labelled: the indices of the labelled images, and their labels.
      vectors: whether the images are feature vectors.
    """
    log = NullLog()
    space_key, start_key, loop_key = jax.random.split(jax.random.key(config.seed), 3)
    indices, labels = labelled
    found = None
    if config.uses_graph_targets(len(indices)):
        graph = (
            _graph_of_vectors(images, log) if vectors
            else semisup.compute_spaces(config, (), len(indices), images, space_key, log).graph
        )  # fmt: skip
        found = setup.propagate_labels(config, graph, labelled, num_classes)
    targets = setup.make_graph_targets(found, len(images), num_classes)
    rows = _repeated_indices(images)
    data = semisupervised.pad(
        images[rows], indices, labels, 1 << (len(indices) - 1).bit_length(), targets[rows],
        setup.class_prior(config, labelled, num_classes),
    )  # fmt: skip
    state = setup.initial_state(config, images[rows], num_classes, start_key)
    values = dataclasses.astuple(dataclasses.replace(config, seed=0))
    step = _shared_step(type(config), values, vectors)  # type: ignore[arg-type]
    state = train.loop(step, state, data, loop_key, log, name="fit", num_steps=config.steps)
    return setup.average_mirrored(config, state.teacher)


def _graph_of_vectors(vectors: UInt8[np.ndarray, "n 1 d 1"], log: Log) -> cluster.Graph:
    """Return the neighbour graph of feature vectors, over which labels are propagated.

    It is built from the features themselves, because their order has no meaning: gradients, from
    which the graph of images is built, are differences of neighbouring columns.
    """
    features = vectors.reshape(len(vectors), -1).astype(np.float32)
    return setup.make_graph(features, vectors, log)


def _repeated_indices(images: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, "m"]:
    """Return the indices of all images, repeated up to length `ROWS` if the images are few.

    As a result, the training step has to be compiled only once for all small sets of images, such
    as the folds of a cross-validation. A set is repeated at least 8 times, so that the images are
    drawn with nearly equal probability (the ratio is at most 9 to 8).
    """
    is_small = 8 * len(images) <= ROWS and ROWS * images[0].nbytes <= 2**26
    return np.resize(np.arange(len(images)), ROWS if is_small else len(images))


@functools.lru_cache(maxsize=4)
def _shared_step(kind: type[RunConfig], values: tuple[Any, ...], vectors: bool) -> train.Step[Any]:
    """Return the training step for a configuration; equal configurations share one step.

    So a second fit with equal settings and shapes, as in a cross-validation, need not compile
    again.

    Args:
      kind: the class of the configuration.
      values: the values of its settings, in the order of its fields.
      vectors: whether samples are feature vectors, which are augmented by noise.
    """
    config: Any = kind(*values)
    views = Views(_make_noise("weak"), _make_noise("strong")) if vectors else None
    return semisupervised.make_step(config, views or semisupervised.views_of(config.kind))


def _make_noise(view: str) -> Any:
    """Return a function that adds normally distributed noise to feature vectors.

    Args:
      view: "weak" or "strong", the strength of the noise.
    """

    def transform(key: Key[jax.Array, ""], rows: Images) -> Images:
        return rows + NOISE[view] * jax.random.normal(key, rows.shape)

    return transform
