"""A committee: several networks trained in parallel on the same labels, and distilled to one.

The parameters of all members are stacked along a new first axis (`train.stacked`).
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt8

from jaxlabel import augment, train
from jaxlabel.log import Log
from jaxlabel.losses import cross_entropy
from jaxlabel.losses.consistency import soft_cross_entropy
from jaxlabel.nets.linear import Ensemble
from jaxlabel.predictor import predict_probabilities
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import training
from jaxlabel.semisupervised.setup import begin as begin_one
from jaxlabel.semisupervised.setup import ensemble, make_network
from jaxlabel.semisupervised.training import Data, State


def begin(
    config: Any, members: int, images: UInt8[np.ndarray, "n h w c"], num_classes: int,
    key: Key[Array, ""], log: Log,
) -> State:  # fmt: skip
    """Return the stacked states of all members before the first step.

    Each member has its own random initialisation.
    """
    keys = jax.random.split(key, members)
    states = [
        begin_one(config, images, num_classes, each, log, member=number)
        for number, each in enumerate(keys)
    ]
    return train.stack(states)


class Cycle(NamedTuple):
    """A number of training steps with its own learning-rate schedule, compiled once.

    Attributes:
      settings: the configuration with the cycle's number of steps.
      step: the training step of all members.
    """

    settings: Any
    step: train.Step[State]


def cycle(config: Any, steps: int) -> Cycle:
    """Return a cycle of `steps` training steps with the objective of `config`."""
    settings = dataclasses.replace(config, steps=steps)
    step = training.make_step(settings, training.views_of(config.kind))
    return Cycle(settings, side_by_side(step, unrolled=jax.default_backend() == "cpu"))


def learn(
    cycle: Cycle, state: State, data: Data, key: Key[Array, ""], log: Log, name: str
) -> State:
    """Train the committee for one cycle, starting from the teachers, and return its state.

    This is a warm restart: the learning rate rises and falls again (Loshchilov & Hutter 2017).
    """
    restart = jax.vmap(training.optimizer(cycle.settings).init)(state.teacher)
    number = jnp.zeros_like(state.number)
    state = State(state.teacher, state.teacher, restart, state.memory, number)
    steps = cycle.settings.steps
    return train.loop(cycle.step, state, data, key, log, name=name, num_steps=steps)


def side_by_side(step: train.Step[State], *, unrolled: bool) -> train.Step[State]:
    """Return a step that trains all members, each with its own random key.

    The metrics are means over the members.

    Args:
      step: the training step of one member.
      unrolled: compute one member after another instead of all in one vectorised call.
    """
    step_all = train.joint_step(step, unrolled=unrolled)

    def split_step(state: State, data: Data, key: Key[Array, ""]) -> tuple[State, train.Metrics]:
        return step_all(state, data, jax.random.split(key, len(state.number)))

    return split_step


def networks(config: Any, state: State) -> Ensemble:
    """Return the ensemble of the members' teachers, which averages their probabilities.

    It also averages over mirrored images if the kind of images allows mirroring.
    """
    return ensemble(
        config, [train.member(state, number).teacher for number in range(len(state.number))]
    )


def distilled(
    config: Any, state: State, images: UInt8[np.ndarray, "n h w c"], labelled: Labelled,
    key: Key[Array, ""], log: Log, name: str,
) -> Ensemble:  # fmt: skip
    """Distil the committee to one network (Hinton et al. 2015) and return it.

    The network learns the committee's averaged probabilities for all images. It starts from
    scratch, so that it does not inherit what one member has memorised. Half of the images pass
    through the weak transform and half through the strong one (noisy student, Xie et al. 2020).
    Each batch holds as many labelled images as in the members' training: a student of predictions
    alone does worse on the images that were labelled because the members were uncertain
    (experiments/flagship.md). With one member, or with `distil_steps=0`, nothing is distilled and
    the ensemble itself is returned.
    """
    teachers = networks(config, state)
    if len(state.number) == 1 or not config.distil_steps:
        return teachers
    targets = predict_probabilities(teachers, images)
    views = training.views_of(config.kind)
    init_key, fit_key = jax.random.split(key)
    student = train.init(make_network(config, images.shape[1:], targets.shape[1]), init_key)
    known, labels = jnp.asarray(images[labelled.indices]), jnp.asarray(labelled.labels)

    def loss(model: Any, batch: tuple[Array, Array], key: Key[Array, ""]) -> Any:
        row_key, known_key, weak_key, strong_key = jax.random.split(key, 4)
        others, half = augment.as_float(batch[0]), len(batch[0]) // 2
        seen = [views.weak(weak_key, others[:half]), views.strong(strong_key, others[half:])]
        rows = jax.random.randint(row_key, (config.batch_size,), 0, len(known))
        seen.append(views.weak(known_key, augment.as_float(known[rows])))
        logits = model(jnp.concatenate(seen))
        fitted = jnp.mean(cross_entropy(logits[len(others) :], labels[rows]))
        agreed = jnp.mean(soft_cross_entropy(logits[: len(others)], batch[1]))
        return fitted + agreed, {"fitted": fitted, "agreed": agreed}

    student = train.fit(
        loss, student, (images, targets), fit_key, log, name=name,
        num_steps=config.distil_steps, batch_size=config.batch_size * config.mu,
        optimizer=train.warmup_cosine(
            config.learning_rate, config.distil_steps, config.weight_decay
        ),
    )  # fmt: skip
    return ensemble(config, [student])
