"""SCAN's self-labelling: train on confident pseudo-labels with strongly augmented images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

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
) -> Any:
    """Train a network that assigns images to clusters on confident pseudo-labels, and return it.

    The images are strongly augmented. This is SCAN's self-labelling (Van Gansbeke et al. 2020,
    section 2.3) with one difference: the cluster probabilities that give the pseudo-labels are
    computed once before each round of training, and not in each step. In the first round they are
    `teacher`, for example the predictions of another network. In later rounds they are the
    predictions of the trained network itself.

    Args:
      model: the network to train; it returns cluster logits.
      teacher: the cluster probabilities of each image for the first round.
      images: all training images, uint8.
      kind: what the images show, such as "digits" or "clothes"; it decides the augmentation.
      threshold: an image gets its most probable cluster as pseudo-label if the probability of this
        cluster is at least `threshold`.
      num_rounds: the number of rounds of training, each with new pseudo-labels.
      num_steps: the number of training steps of all rounds together.
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
            jax.random.fold_in(key, number), log, name=f"self_labelling_{number}",
            num_steps=steps_per_round, batch_size=batch_size,
            optimizer=train.warmup_cosine(learning_rate, steps_per_round, weight_decay=1e-2),
        )  # fmt: skip
    return model
