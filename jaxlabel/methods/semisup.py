"""Few labels and all images: pseudo-labels, consistency, FixMatch and its kin, and graphs.

Who gets asked (`query`, in a `space`) and what is asked of unlabelled images (`objective`) are
chosen apart, so that any two go together. An exponential moving average of the network's weights
gives the targets, and after the last step it is the model: no validation labels are bought or
needed. Strategies that ask where the model is unsure (`query=margin`, ...) start with `first`
labels by `initial_query`, and train on between their `rounds`.
"""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import query, semisupervised, train
from jaxlabel.config import setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor, predict_all, predict_probabilities
from jaxlabel.query import STRATEGIES, Labelled, needs_model
from jaxlabel.semisupervised.propagation import Propagated
from jaxlabel.semisupervised.setup import (
    ModelSettings,
    begin,
    class_prior,
    ensemble,
    make_graph_targets,
    make_network,
    propagate_labels,
    spaces,
)


@dataclasses.dataclass
class Config(ModelSettings):
    """Settings of semi-supervised training; configs/semisup.py has them per data set."""

    query: str = setting("random", "which images are asked about", choices=STRATEGIES, own=True)
    rounds: int = setting(1, "how many times labels are bought, after `first`", low=1)
    initial_labels: int = setting(
        0, "labels bought before there is a model; 0: all, or a third if the query needs a model",
        low=0,
    )  # fmt: skip
    initial_query: str = setting(
        "typiclust", "how those are chosen, if `query` needs a model", choices=STRATEGIES
    )

    @property
    def opening(self) -> str:
        """The strategy of the first labels."""
        return self.initial_query if needs_model(self.query) else self.query

    def check(self) -> None:
        """Refuses what does not go together."""
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
    """The teacher after the last step: a classifier trained on few labels and all images."""
    capacity = query.plan(oracle, len(images))
    space_key, start_key, loop_key = jax.random.split(key, 3)
    plan = purchases(config, capacity)
    strategies = (config.opening, config.query)
    _, space, graph = spaces(config, strategies, plan[0], images, space_key, log)
    state = begin(config, images, oracle.num_classes, start_key, log)
    step = semisupervised.make_step(config, semisupervised.views_of(config.kind))
    labelled, found = query.NO_LABELS, None
    for number, count in enumerate(plan):
        ask_key, fit_key = jax.random.split(jax.random.fold_in(loop_key, number))
        labelled = buy(
            config, images, space, state.teacher, labelled, count, number, oracle, ask_key, log
        )
        found = propagate_labels(config, graph, labelled, oracle.num_classes)
        data = semisupervised.pad(
            images, labelled.indices, labelled.labels, capacity,
            make_graph_targets(config, found, len(images), oracle.num_classes),
            class_prior(config, labelled, oracle.num_classes),
        )  # fmt: skip
        state = train.loop(
            step, state, data, fit_key, log, name=f"semisup_{number}" if number else "semisup",
            num_steps=share_of(config.steps, number, len(plan)),
        )  # fmt: skip
        log.scalars("rounds", number, {"labels_spent": len(labelled.indices)})
    return finish(config, images, state.teacher, labelled, found)


def purchases(config: Config, capacity: int) -> list[int]:
    """How many labels each round buys: the first ones, then even shares of the rest."""
    first = config.initial_labels
    if not first:
        first = max(1, capacity // 3) if needs_model(config.query) else capacity
    first = min(first, capacity)
    rest, rounds = capacity - first, config.rounds
    edges = [first + rest * i // rounds for i in range(rounds + 1)]
    return [first, *(b - a for a, b in itertools.pairwise(edges) if b > a)]


def share_of(steps: int, number: int, rounds: int) -> int:
    """The steps of one round; all rounds' together are `steps`."""
    return steps * (number + 1) // rounds - steps * number // rounds


def buy(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    space: Float[np.ndarray, "n d"],
    model: Any,
    labelled: Labelled,
    count: int,
    number: int,
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Labelled:
    """What was paid for before, and `count` labels more, as far as the money goes."""

    def choose() -> Int[np.ndarray, "count"]:
        strategy = config.query if number else config.opening
        features, probabilities = jnp.asarray(space), None
        if needs_model(strategy):
            predictions = predict_all(model, images, oracle.num_classes)
            features, probabilities = (
                jnp.asarray(predictions.features),
                jnp.asarray(predictions.probabilities),
            )
        return query.select_affordable(
            oracle, strategy, key, features, count, labelled.indices, probabilities
        )

    wanted = query.chosen(log, number, count, len(images), labelled, choose)
    return query.buy(oracle, labelled, wanted, number)


def finish(
    config: Config, images: UInt8[np.ndarray, "n h w c"], model: Any, labelled: Labelled,
    found: Propagated | None,
) -> Predictor:  # fmt: skip
    """The model, mirror images averaged where they may be, and a class of every image."""
    model = ensemble(config, [model])
    probabilities = predict_probabilities(model, images)
    labels = probabilities.argmax(axis=-1).astype(np.int32)
    if config.objective == "graph" and found is not None:
        labels = np.where(found.certainty < 0, labels, found.labels)
    labels[labelled.indices] = labelled.labels
    summary = {"confidence": float(probabilities.max(axis=-1).mean())}
    return Predictor(model, labels, None, "budget", summary)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """What makes the whole classifier from random number generators: to load it."""
    make = make_network(config, shape, num_classes)
    return lambda rngs: ensemble(config, [make(rngs)])
