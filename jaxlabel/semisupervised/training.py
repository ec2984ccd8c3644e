"""The semi-supervised training step for `train.loop`, and the state and data that it takes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, train
from jaxlabel.losses import thresholds
from jaxlabel.nets import devices
from jaxlabel.semisupervised.batches import Batch, Memory, Views
from jaxlabel.semisupervised.objectives import objective_of
from jaxlabel.semisupervised.settings import Settings


class State(NamedTuple):
    """The training state of one network, which each training step updates.

    Attributes:
      student: the network that the optimizer trains.
      teacher: the moving average of the student's weights, which is the final model.
      optimizer: the optimizer's state.
      memory: statistics of earlier batches, on which the thresholds for confident predictions
        depend.
      number: the number of steps done in all rounds so far, on which the learning rate and the
        weight of the unlabelled loss depend.
    """

    student: Any
    teacher: Any
    optimizer: Any
    memory: Memory
    number: Int[Array, ""]


class Data(NamedTuple):
    """The training data, in arrays whose shapes do not depend on the number of labels.

    Attributes:
      labelled: the indices of the labelled images; the entries from `num_labels` on are padding.
      labels: the classes of the labelled images, padded with zeros.
      num_labels: the number of labels.
      images: all training images.
      graph_targets: for each image, the class that label propagation over the neighbour graph gave
        to it, as a one-hot row. The row is zero if there is no class or an uncertain one.
      prior: the expected share of each class.
    """

    labelled: Int[Array, "capacity"]
    labels: Int[Array, "capacity"]
    num_labels: Int[Array, ""]
    images: UInt8[Array | np.ndarray, "n h w c"]
    graph_targets: Float[Array, "n classes"]
    prior: Float[Array, "classes"]


def pad(
    images: UInt8[np.ndarray, "n h w c"],
    indices: Int[np.ndarray, "m"],
    labels: Int[np.ndarray, "m"],
    capacity: int,
    graph_targets: Float[np.ndarray, "n classes"],
    prior: Float[np.ndarray, "classes"],
) -> Data:
    """Return the training data, with the arrays of the labelled set padded to `capacity` rows.

    If there are more labels than `capacity`, nothing is padded.

    Args:
      images: all training images.
      indices: the indices of the labelled images.
      labels: the classes of the labelled images.
      capacity: the length of the padded arrays.
      graph_targets: one-hot targets from label propagation; zero rows for images without one.
      prior: the expected share of each class.
    """
    missing = max(0, capacity - len(indices))
    rows, padded_labels = (
        np.pad(np.asarray(array, np.int32), (0, missing)) for array in (indices, labels)
    )
    return Data(
        jnp.asarray(rows),
        jnp.asarray(padded_labels),
        jnp.int32(len(indices)),
        images,
        jnp.asarray(graph_targets, jnp.float32),
        jnp.asarray(prior, jnp.float32),
    )


def optimizer(settings: Settings) -> optax.GradientTransformation:
    """Return AdamW with a learning rate that first rises and then falls to 0 as a cosine.

    The schedule covers the steps of all rounds.
    """
    return train.warmup_cosine(settings.learning_rate, settings.steps, settings.weight_decay)


def start(settings: Settings, model: Any, num_images: int, num_classes: int) -> State:
    """Return the training state before the first step.

    The student (the trained network) and the teacher (its moving average) are both `model`.
    """
    memory = Memory(thresholds.initial_statistics(num_classes), jnp.full(num_images, -1, jnp.int32))
    return State(model, model, jax.jit(optimizer(settings).init)(model), memory, jnp.int32(0))


def views_of(kind: str) -> Views:
    """Return the weak and the strong random transform for a kind of images, such as "digits"."""
    return Views(augment.weak(kind), augment.strong(kind))


def make_step(settings: Settings, views: Views) -> train.Step[State]:
    """Return a function that does one training step with the objective that the settings name.

    Args:
      settings: the settings of the training, among them `objective`.
      views: the weak and the strong random transform of images.
    """
    update = optimizer(settings).update
    objective = objective_of(settings)

    def step(state: State, data: Data, key: Key[Array, ""]) -> tuple[State, train.Metrics]:
        draw_key, loss_key = jax.random.split(key)
        batch = draw_batch(settings, data, state.number, draw_key)

        def loss(student: Any) -> Any:
            outcome = objective(
                settings, views, student, state.teacher, batch, state.memory, loss_key
            )
            labelled, unlabelled = jnp.mean(outcome.labelled), jnp.mean(outcome.unlabelled)
            value = labelled + settings.unlabelled_weight * unlabelled
            metrics = {"loss": value, "labelled": labelled, "unlabelled": unlabelled}
            return value, (outcome.memory, metrics | dict(outcome.metrics))

        (_, (memory, metrics)), gradient = jax.value_and_grad(loss, has_aux=True)(state.student)
        updates, optimizer_state = update(gradient, state.optimizer, state.student)
        student = optax.apply_updates(state.student, updates)
        # in the first steps the decay is smaller, so that the untrained start is soon forgotten
        decay = jnp.minimum(settings.ema, (1.0 + state.number) / (10.0 + state.number))
        teacher = train.moving_average(state.teacher, student, decay)
        return State(student, teacher, optimizer_state, memory, state.number + 1), metrics

    return step


def draw_batch(
    settings: Settings, data: Data, number: Int[Array, ""], key: Key[Array, ""]
) -> Batch:
    """Draw a random mini-batch with replacement from the training data.

    The labelled images come from the first `data.num_labels` entries of the labelled set, so that
    no padding is drawn. The images are divided over the devices.

    Args:
      settings: the settings, which give the numbers of images in a batch and of all steps.
      data: the training data, padded.
      number: the number of steps done so far, from which the batch's `progress` is computed.
    """
    labelled_key, other_key = jax.random.split(key)
    size = settings.batch_size
    chosen = jax.random.randint(labelled_key, (size,), 0, data.num_labels)
    rows = jax.random.randint(other_key, (size * settings.mu,), 0, len(data.images))
    return Batch(
        devices.shard(augment.as_float(data.images[data.labelled[chosen]])),
        data.labels[chosen],
        devices.shard(augment.as_float(data.images[rows])), rows, data.graph_targets[rows],
        data.prior, number / settings.steps,
    )  # fmt: skip
