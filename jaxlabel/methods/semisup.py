"""The semi-supervised recipe: train a classifier on few labels and on all images.

The objectives are pseudo-labels, consistency (mean teacher, VAT, MixMatch), FixMatch and its
successors, and labels propagated over a graph. The query strategy (`query`, which works in a
`space` of features) and the objective for unlabelled images (`objective`) are independent settings:
each strategy can be combined with each objective. The teacher is an exponential moving average of
the network's weights. It gives the targets, and after the last step it is the model, so no
validation labels are bought. Uncertainty strategies (`query=margin`, ...) need a trained model:
they start with `initial_labels` labels chosen by `initial_query` and train between their `rounds`.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key, UInt8

from jaxlabel import nets, query, semisupervised, train
from jaxlabel.config import setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor, predict_all, predict_probabilities
from jaxlabel.query import STRATEGIES, Labelled, looks_at_features, needs_model
from jaxlabel.semisupervised import setup
from jaxlabel.semisupervised.propagation import Propagated, leading_eigenvectors
from jaxlabel.semisupervised.setup import (
    average_mirrored,
    class_prior,
    initial_state,
    make_graph_targets,
    make_network,
    propagate_labels,
)


@dataclasses.dataclass
class Config(setup.ModelSettings):
    """Settings of semi-supervised training; configs/semisup.py has examples."""

    space: str = setting(
        "pca", "features that query strategies and the neighbour graph work on",
        choices=("pca", "graph"),
    )  # fmt: skip
    graph_targets: float = setting(
        0.0, "fixmatch, flexmatch, freematch, softmatch, with at most 150 labels: share of the "
        "steps over which labels propagated over the graph serve as targets, with falling weight; "
        "0: never", low=0.0, high=1.0,
    )  # fmt: skip
    weight_decay: float = setting(nets.WEIGHT_DECAY, "weight decay of AdamW", low=0.0)

    query: str = setting(
        "random", "query strategy: which images are labelled", choices=STRATEGIES, own=True
    )
    rounds: int = setting(1, "how many times labels are bought after the initial ones", low=1)
    initial_labels: int = setting(
        0, "labels bought before the first training; 0: all, or a third of them if `query` needs a "
        "trained model", low=0,
    )  # fmt: skip
    initial_query: str = setting(
        "typiclust", "query strategy of the initial labels, if `query` needs a trained model",
        choices=STRATEGIES,
    )  # fmt: skip

    @property
    def first_strategy(self) -> str:
        """Return the query strategy that chooses the first labels, before any model is trained."""
        return self.initial_query if needs_model(self.query) else self.query

    def check(self) -> None:
        """Raise a UsageError if the settings contradict each other.

        For example, the query strategy for the first labels must not need a trained model.
        """
        super().check()
        if self.rounds > 1 and not self.initial_labels and not needs_model(self.query):
            raise UsageError(
                f"config.rounds is {self.rounds}: set config.initial_labels, the number of labels "
                "bought before the first round"
            )
        if needs_model(self.initial_query):
            raise UsageError(f"config.initial_query is {self.initial_query}: there is no model yet")


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """Train a classifier on few labels and on all images, and return it.

    The classifier is the moving average of the network's weights after the last step.

    Raises:
      UsageError: the budget buys no label.
    """
    capacity = query.num_labels_in_budget(oracle, len(images))
    space_key, start_key, loop_key = jax.random.split(key, 3)
    counts = query.labels_per_round(config.query, capacity, config.rounds, config.initial_labels)
    strategies = (config.first_strategy, config.query)
    _, space, graph = compute_spaces(config, strategies, counts[0], images, space_key, log)
    state = initial_state(config, images, oracle.num_classes, start_key)
    step = semisupervised.make_step(config, semisupervised.views_of(config.kind))
    labelled, propagated = query.NO_LABELS, None
    for number, count in enumerate(counts):
        ask_key, fit_key = jax.random.split(jax.random.fold_in(loop_key, number))
        labelled = query.buy_by(
            config.query if number else config.first_strategy, oracle, log, ask_key, labelled,
            count, number, len(images), lambda: space,
            functools.partial(predict_all, state.teacher, images, oracle.num_classes),
        )  # fmt: skip
        propagated = propagate_labels(config, graph, labelled, oracle.num_classes)
        data = semisupervised.pad(
            images, labelled.indices, labelled.labels, capacity,
            make_graph_targets(propagated, len(images), oracle.num_classes),
            class_prior(config, labelled, oracle.num_classes),
        )  # fmt: skip
        state = train.loop(
            step, state, data, fit_key, log, name=f"semisup_{number}" if number else "semisup",
            num_steps=num_steps_of_round(config.steps, number, len(counts)),
        )  # fmt: skip
        log.scalars("rounds", number, {"labels_spent": len(labelled.indices)})
    return make_predictor(config, images, state.teacher, labelled, propagated)


def compute_spaces(
    config: Config, strategies: Iterable[str], num_labels: int,
    images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log,
) -> setup.Spaces:  # fmt: skip
    """Compute the features of all images and the neighbour graph, as far as the run needs them.

    With `space=graph`, query strategies work on the leading eigenvectors of the neighbour graph.

    Args:
      config: the settings of the run.
      strategies: the names of the run's query strategies.
      num_labels: the number of labels bought before the first training.
      images: all training images.
    """
    strategies = tuple(strategies)
    spaces = setup.compute_spaces(config, strategies, num_labels, images, key, log)
    if config.space != "graph" or not any(map(looks_at_features, strategies)):
        return spaces
    graph = spaces.graph or setup.make_graph(spaces.query, images, log)
    return spaces._replace(query=leading_eigenvectors(graph, log).points)


def num_steps_of_round(steps: int, number: int, rounds: int) -> int:
    """Return the number of training steps of round `number`, from 0.

    The `steps` training steps of a run are divided equally among its `rounds` rounds.
    """
    return steps * (number + 1) // rounds - steps * number // rounds


def make_predictor(
    config: Config, images: UInt8[np.ndarray, "n h w c"], model: Any, labelled: Labelled,
    propagated: Propagated | None,
) -> Predictor:  # fmt: skip
    """Return the result of a run: the trained model and a class for every training image.

    If mirroring does not change the class of the images (as for clothes, unlike digits), the model
    averages its predictions for an image and its mirror image. With `objective=graph`, the class of
    an image is the label propagated to it over the neighbour graph; an image that no label reaches
    gets the model's prediction.

    Args:
      model: the trained network.
      labelled: the labels bought so far.
      propagated: the propagated labels; None if none were propagated.
    """
    model = average_mirrored(config, model)
    probabilities = predict_probabilities(model, images)
    labels = probabilities.argmax(axis=-1).astype(np.int32)
    if config.objective == "graph" and propagated is not None:
        labels = np.where(propagated.certainty < 0, labels, propagated.labels)
    labels[labelled.indices] = labelled.labels
    summary = {"confidence": float(probabilities.max(axis=-1).mean())}
    return Predictor(model, labels, None, "budget", summary)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained classifier from an `nnx.Rngs`.

    To load a saved model, the caller builds a network with this function and then overwrites its
    weights with the saved ones.
    """
    make = make_network(config, shape, num_classes)
    return lambda rngs: average_mirrored(config, make(rngs))
