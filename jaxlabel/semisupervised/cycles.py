"""Training cycles: a fixed number of steps with one rise and fall of the learning rate."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jaxlabel import train
from jaxlabel.log import Log
from jaxlabel.semisupervised import training
from jaxlabel.semisupervised.training import Data, State


class Cycle(NamedTuple):
    """A fixed number of training steps with one rise and fall of the learning rate.

    The training step is compiled once and can be used for several trainings.

    Attributes:
      settings: the configuration of the run, with `steps` set to the number of steps.
      step: the training step.
    """

    settings: Any
    step: train.Step[State]


def make_cycle(config: Any, steps: int) -> Cycle:
    """Return a `Cycle`: `steps` training steps with the settings `config`, and a compiled step."""
    settings = dataclasses.replace(config, steps=steps)
    one_step = training.make_step(settings, training.views_of(config.kind))

    def step(state: State, data: Data, key: Key[Array, ""]) -> tuple[State, train.Metrics]:
        return one_step(state, data, first_key(key))

    return Cycle(settings, step)


def train_cycle(
    cycle: Cycle, state: State, data: Data, key: Key[Array, ""], log: Log, name: str
) -> State:
    """Train a network for the steps of one `cycle` and return its new state.

    The training starts from the teacher, the moving average of the network's weights in `state`. It
    is a warm restart: the learning rate rises and falls again (Loshchilov & Hutter 2017).

    Args:
      cycle: the number of training steps and the compiled training step.
      state: the state of the network before this training.
      data: the training data.
      name: the name under which metrics and checkpoints are logged.
    """
    state, steps = jax.jit(_restart(cycle))(state), cycle.settings.steps
    return train.loop(cycle.step, state, data, key, log, name=name, num_steps=steps)


def is_finished(cycle: Cycle, state: State, log: Log, name: str) -> bool:
    """Return True if the run's checkpoint `name` holds a network that finished its `train_cycle`.

    The call of `train_cycle` then returns this network and does not use its training data.

    Args:
      cycle: the training cycle.
      state: the state of the network before this training.
      log: the run's log, which stores the checkpoint.
      name: the name under which the training logs its checkpoint.
    """
    restored = log.restore(name, jax.eval_shape(_restart(cycle), state))
    return restored is not None and restored[0] >= cycle.settings.steps


def _restart(cycle: Cycle) -> Callable[[State], State]:
    """Return a function from the state before a training cycle to the state at its start."""
    init = training.optimizer(cycle.settings).init
    return lambda state: State(
        state.teacher, state.teacher, init(state.teacher), state.memory,
        jnp.zeros_like(state.number),
    )  # fmt: skip


def first_key(key: Key[Array, ""]) -> Key[Array, ""]:
    """Return the random key that the first of several networks got in earlier versions.

    Those versions could train several networks at once, each with a key of its own. With this key,
    published runs with one network give the same results today.
    """
    own: Key[Array, ""] = jax.random.split(key, 1)[0]
    return own
