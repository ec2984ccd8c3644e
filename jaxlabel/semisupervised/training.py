"""One step for all objectives, and the state that it carries: for `train.loop`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, train
from jaxlabel.losses import thresholds
from jaxlabel.semisupervised.objectives import Batch, Memory, Views, objective_of
from jaxlabel.semisupervised.settings import Settings


class State(NamedTuple):
    """All that a step depends on but data and key; the teacher is the model to be used.

    Attributes:
      number: steps done, over all rounds: the schedules follow it.
    """

    student: Any
    teacher: Any
    optimizer: Any
    memory: Memory
    number: Int[Array, ""]


class Data(NamedTuple):
    """The images, and the labels so far, padded: more labels are no other shapes.

    Attributes:
      labelled: the first `num_labels` are labelled, the others are whatever pads them.
      guide: the class that the graph spread to an image, one-hot; zeros where it is unsure, or
        where there is none.
      prior: how often each class is expected.
    """

    labelled: UInt8[Array, "capacity h w c"]
    labels: Int[Array, "capacity"]
    num_labels: Int[Array, ""]
    images: UInt8[Array, "n h w c"]
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
    """The data of a training on m labels, with room for `capacity`."""
    rows = np.zeros(max(capacity, len(indices)), np.int64)
    rows[: len(indices)] = indices
    known = np.zeros(len(rows), np.int32)
    known[: len(labels)] = labels
    return Data(
        jnp.asarray(images[rows]),
        jnp.asarray(known),
        jnp.int32(len(indices)),
        jnp.asarray(images),
        jnp.asarray(graph_targets, jnp.float32),
        jnp.asarray(prior, jnp.float32),
    )


def optimizer(settings: Settings) -> optax.GradientTransformation:
    """AdamW with warm-up and cosine decay over the steps of all rounds."""
    return train.warmup_cosine(settings.learning_rate, settings.steps, settings.weight_decay)


def start(settings: Settings, model: Any, num_images: int, num_classes: int) -> State:
    """The state before the first step."""
    memory = Memory(thresholds.unsure(num_classes), jnp.full(num_images, -1, jnp.int32))
    return State(model, model, optimizer(settings).init(model), memory, jnp.int32(0))


def views_of(kind: str) -> Views:
    """The weak and the strong view of images of a kind."""
    return Views(augment.weak(kind), augment.strong(kind))


def make_step(settings: Settings, views: Views) -> train.Step[State]:
    """The step of the settings' objective."""
    update = optimizer(settings).update
    objective = objective_of(settings)

    def step(state: State, data: Data, key: Key[Array, ""]) -> tuple[State, train.Metrics]:
        draw_key, loss_key = jax.random.split(key)
        batch = draw(settings, data, state.number, draw_key)

        def loss(student: Any) -> Any:
            found = objective(
                settings, views, student, state.teacher, batch, state.memory, loss_key
            )
            labelled, unlabelled = jnp.mean(found.labelled), jnp.mean(found.unlabelled)
            value = labelled + settings.unlabelled_weight * unlabelled
            metrics = {"loss": value, "labelled": labelled, "unlabelled": unlabelled}
            return value, (found.memory, metrics | dict(found.metrics))

        (_, (memory, metrics)), gradient = jax.value_and_grad(loss, has_aux=True)(state.student)
        updates, optimizer_state = update(gradient, state.optimizer, state.student)
        student = optax.apply_updates(state.student, updates)
        # the start is forgotten soon: a mean over the steps so far, until the decay is reached
        decay = jnp.minimum(settings.ema, (1.0 + state.number) / (10.0 + state.number))
        teacher = train.moving_average(state.teacher, student, decay)
        return State(student, teacher, optimizer_state, memory, state.number + 1), metrics

    return step


def draw(settings: Settings, data: Data, number: Int[Array, ""], key: Key[Array, ""]) -> Batch:
    """A random batch, with replacement: labelled images among the first `num_labels`."""
    labelled_key, other_key = jax.random.split(key)
    size = settings.batch_size
    chosen = jax.random.randint(labelled_key, (size,), 0, data.num_labels)
    rows = jax.random.randint(other_key, (size * settings.mu,), 0, len(data.images))
    return Batch(
        augment.as_float(data.labelled[chosen]), data.labels[chosen],
        augment.as_float(data.images[rows]), rows, data.graph_targets[rows], data.prior,
        number / settings.steps,
    )  # fmt: skip
