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
from jaxlabel.nets import devices
from jaxlabel.nets.linear import Ensemble
from jaxlabel.predictor import predict_probabilities
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import training
from jaxlabel.semisupervised.setup import ensemble, make_network
from jaxlabel.semisupervised.setup import initial_state as member_state
from jaxlabel.semisupervised.training import Data, State


def initial_state(
    config: Any, members: int, images: UInt8[np.ndarray, "n h w c"], num_classes: int,
    key: Key[Array, ""], log: Log,
) -> State:  # fmt: skip
    """Return the training state of a committee of `members` networks before the first step.

    A committee is a set of networks that are trained in parallel on the same labels. The arrays of
    all networks are stacked along a new first axis. Each network has its own random initial
    weights.
    """
    keys = jax.random.split(key, members)
    states = [
        member_state(config, images, num_classes, each, log, member=number)
        for number, each in enumerate(keys)
    ]
    return train.stack(states)


class Cycle(NamedTuple):
    """A fixed number of training steps with one rise and fall of the learning rate.

    The training step is compiled once and can be used for several trainings.

    Attributes:
      settings: the configuration of the run, with `steps` set to the number of steps.
      step: the training step, which updates all networks of the committee.
    """

    settings: Any
    step: train.Step[State]


def make_cycle(config: Any, steps: int) -> Cycle:
    """Return a `Cycle`: `steps` training steps with the settings `config`, and a compiled step."""
    settings = dataclasses.replace(config, steps=steps)
    step = training.make_step(settings, training.views_of(config.kind))
    return Cycle(settings, make_committee_step(step, unrolled=not devices.is_accelerator()))


def train_cycle(
    cycle: Cycle, state: State, data: Data, key: Key[Array, ""], log: Log, name: str
) -> State:
    """Train the networks of a committee for the steps of one `cycle` and return their new state.

    The training starts from the teachers, the moving averages of the networks' weights in `state`.
    It is a warm restart: the learning rate rises and falls again (Loshchilov & Hutter 2017).

    Args:
      cycle: the number of training steps and the compiled training step.
      state: the state of the networks before this training.
      data: the training data.
      name: the name under which metrics and checkpoints are logged.
    """
    restart = jax.vmap(training.optimizer(cycle.settings).init)(state.teacher)
    number = jnp.zeros_like(state.number)
    state = State(state.teacher, state.teacher, restart, state.memory, number)
    steps = cycle.settings.steps
    return train.loop(cycle.step, state, data, key, log, name=name, num_steps=steps)


def make_committee_step(step: train.Step[State], *, unrolled: bool) -> train.Step[State]:
    """Return a training step that updates all networks of a committee.

    A committee is a set of networks that are trained in parallel on the same labels. Each network
    gets its own random key. The metrics that the step returns are means over the networks.

    Args:
      step: the training step of one network.
      unrolled: whether to compute one network after another, instead of all in one vectorised call.
    """
    step_all = train.joint_step(step, unrolled=unrolled)

    def split_step(state: State, data: Data, key: Key[Array, ""]) -> tuple[State, train.Metrics]:
        return step_all(state, data, jax.random.split(key, len(state.number)))

    return split_step


def teacher_ensemble(config: Any, state: State) -> Ensemble:
    """Return an ensemble that averages the class probabilities of the teachers of all networks.

    A teacher is the moving average of a network's weights. If mirroring does not change the class
    of the images (as for clothes, unlike digits), the ensemble also averages the predictions for an
    image and its mirror image.
    """
    return ensemble(
        config, [train.member(state, number).teacher for number in range(len(state.number))]
    )


def distil(
    config: Any, state: State, images: UInt8[np.ndarray, "n h w c"], labelled: Labelled,
    key: Key[Array, ""], log: Log, name: str,
) -> Ensemble:  # fmt: skip
    """Train one new network to imitate a committee of networks (Hinton et al. 2015) and return it.

    The new network learns the averaged class probabilities of the committee for all images. It
    starts from random weights, so that it does not inherit what one network of the committee has
    memorised. Half of the images in a batch pass through the weak random transform and half through
    the strong one (noisy student, Xie et al. 2020). Each batch also contains labelled images, as
    many as a batch of the committee's training. Without them, the network does worse on the images
    that were labelled because the committee was uncertain (experiments/flagship.md). If the
    committee has a single network, or if the setting `distil_steps` is 0, nothing is trained and
    the committee is returned as an ensemble.
    """
    teachers = teacher_ensemble(config, state)
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
