"""Self-labelling: a network learns confident pseudo-labels on strongly augmented images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, train
from jaxlabel.log import Log
from jaxlabel.losses.scan import self_label


def train_on_own_assignments(
    model: Any,
    teacher: Float[np.ndarray, "n k"],
    images: UInt8[np.ndarray, "n h w c"],
    kind: str,
    key: Key[Array, ""],
    log: Log,
    *,
    threshold: float,
    num_rounds: int,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    name: str = "self_labelling",
) -> Any:
    """Train the model on the teacher's confident clusters with strong views, and return it.

    Van Gansbeke et al. 2020, section 2.3, with a different teacher: its probabilities are computed
    once before each round and not in each step. The first round's teacher may be another network;
    in further rounds the model itself is the teacher.

    Args:
      teacher: the first round's cluster probabilities for each image.
      kind: the kind of data set, which decides the augmentation.
      threshold: the probability at which the teacher's cluster is a pseudo-label.
      num_rounds: the number of times that a teacher's probabilities are used.
      num_steps: training steps of all rounds together.
      name: prefix of the checkpoints' names.
    """
    view = augment.strong(kind)

    def loss(model: Any, batch: tuple[Array, Array], key: Key[Array, ""]) -> Any:
        logits = model(view(key, augment.as_float(batch[0])))
        per_image, confident = self_label(batch[1], logits, threshold)
        return jnp.mean(per_image), {"confident": jnp.mean(confident)}

    steps_per_round = max(1, num_steps // num_rounds)
    for number in range(num_rounds):
        if number:
            teacher = train.apply_batched(lambda m, x: jax.nn.softmax(m(x)), model, images)
        model = train.fit(
            loss, model, (images, np.log(np.maximum(teacher, 1e-9)).astype(np.float32)),
            jax.random.fold_in(key, number), log, name=f"{name}_{number}",
            num_steps=steps_per_round, batch_size=batch_size,
            optimizer=train.warmup_cosine(learning_rate, steps_per_round, weight_decay=1e-2),
        )  # fmt: skip
    return model


def train_on_probabilities(
    model: Any,
    shares: Float[np.ndarray, "n classes"],
    images: UInt8[np.ndarray, "n h w c"],
    kind: str,
    key: Key[Array, ""],
    log: Log,
    *,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
) -> Any:
    """Train the model to predict class probabilities on contrastive views, and return it.

    All images count equally. Labels propagated from few labelled images are wrong in whole regions,
    which neither class sizes nor the model's confidence would reveal, so filtering would not help.

    Args:
      shares: the target class probabilities of each image.
      kind: the kind of data set, which decides the augmentation.
    """
    view = augment.contrastive(kind)

    def loss(model: Any, batch: tuple[Array, Array], key: Key[Array, ""]) -> Any:
        logits = model(view(key, augment.as_float(batch[0])))
        return jnp.mean(optax.softmax_cross_entropy(logits, batch[1])), {}

    return train.fit(
        loss, model, (images, shares), key, log, name="names", num_steps=num_steps,
        batch_size=batch_size,
        optimizer=train.warmup_cosine(learning_rate, num_steps, weight_decay=1e-2),
    )  # fmt: skip


def vote(
    labels: Int[np.ndarray, "n"], neighbours: Int[np.ndarray, "n k"], num_classes: int
) -> Float[np.ndarray, "n classes"]:
    """Return the fraction of each class among an image and its neighbours."""
    members = np.concatenate([np.arange(len(labels))[:, None], neighbours], axis=1)
    shares = np.zeros((len(labels), num_classes), np.float32)
    np.add.at(shares, (np.arange(len(labels))[:, None], labels[members]), 1 / members.shape[1])
    return shares
