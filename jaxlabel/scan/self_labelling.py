"""Self-labelling: what is confident teaches a network that sees strong views."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, train
from jaxlabel.log import Log
from jaxlabel.losses.scan import self_label


def learn_from_itself(
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
    """The model after learning what the teacher is confident of, on strong views of the images.

    Van Gansbeke et al. 2020, section 2.3, but for the teacher: it is looked up, not computed in
    each step, and is renewed by the model itself at the start of each further round. So the
    network that learns need not be the one that taught.

    Args:
      teacher: probabilities for each image.
      num_steps: in all rounds together.
    """
    view = augment.strong(kind)

    def loss(model: Any, batch: tuple[Array, Array], key: Key[Array, ""]) -> Any:
        logits = model(view(key, augment.as_float(batch[0])))
        each, confident = self_label(batch[1], logits, threshold)
        return jnp.mean(each), {"confident": jnp.mean(confident)}

    each = max(1, num_steps // num_rounds)
    for number in range(num_rounds):
        if number:
            teacher = train.apply_batched(lambda m, x: jax.nn.softmax(m(x)), model, images)
        model = train.fit(
            loss, model, (images, np.log(np.maximum(teacher, 1e-9)).astype(np.float32)),
            jax.random.fold_in(key, number), log, name=f"{name}_{number}", num_steps=each,
            batch_size=batch_size,
            optimizer=train.warmup_cosine(learning_rate, each, weight_decay=1e-2),
        )  # fmt: skip
    return model


def learn_shares(
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
    """The model after learning the shares of the classes on the views of contrastive pairs.

    Nothing is left out or weighed: labels that spread from a few are wrong in whole regions, which
    neither the classes' sizes nor the model's own confidence would tell from the others.
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
    """The shares of the classes among each image and its neighbours."""
    around = np.concatenate([np.arange(len(labels))[:, None], neighbours], axis=1)
    shares = np.zeros((len(labels), num_classes), np.float32)
    np.add.at(shares, (np.arange(len(labels))[:, None], labels[around]), 1 / around.shape[1])
    return shares
