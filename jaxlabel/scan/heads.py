"""The clustering step: heads on an encoder that put an image and its neighbours together."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, losses, train
from jaxlabel.log import Log
from jaxlabel.losses.scan import scan_loss
from jaxlabel.pretext import draw_partners


class Assigner(nnx.Module):
    """A linear head on an encoder's features, these scaled to mean 0 and variance 1 per image."""

    def __init__(self, encoder: Any, head: nnx.Linear):
        self.encoder, self.head = encoder, head

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return jax.nn.standardize(self.encoder.features(images), epsilon=1e-5)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch clusters"]:
        return self.head(self.features(images))


class Heads(nnx.Module):
    """Several heads on one encoder: calling it gives the logits of each."""

    def __init__(self, encoder: Any, num_heads: int, num_clusters: int, rngs: nnx.Rngs):
        self.encoder = encoder
        self.heads = nnx.List(
            [nnx.Linear(encoder.num_features, num_clusters, rngs=rngs) for _ in range(num_heads)]
        )

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch heads clusters"]:
        features = jax.nn.standardize(self.encoder.features(images), epsilon=1e-5)
        return jnp.stack([head(features) for head in self.heads], axis=1)

    def only(self, number: int) -> Assigner:
        """The encoder with one of the heads."""
        return Assigner(self.encoder, self.heads[number])


def by_size(
    clusters: Int[np.ndarray, "n"], prior: Float[np.ndarray, "clusters"] | None
) -> Int[np.ndarray, "n"]:
    """The clusters renumbered: the largest takes the prior's largest share, and so on down.

    Loss and guard take the prior by number, while k-means numbers as it happens.
    """
    if prior is None:
        return clusters
    sizes = np.bincount(clusters, minlength=len(prior))
    numbers = np.empty(len(prior), int)
    numbers[np.argsort(-sizes, kind="stable")] = np.argsort(-prior, kind="stable")
    return numbers[clusters]


def teach_heads(
    model: Heads,
    images: UInt8[np.ndarray, "n h w c"],
    targets: Int[np.ndarray, "n heads"],
    view: augment.Transform,
    key: Key[Array, ""],
    log: Log,
    *,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
) -> Heads:
    """The model whose heads have each learned a clustering made beforehand, as a start."""

    def loss(model: Heads, batch: tuple[Array, Array], key: Key[Array, ""]) -> Any:
        logits = model(view(key, augment.as_float(batch[0])))
        each = jax.vmap(losses.cross_entropy, in_axes=1)(logits, batch[1])
        return jnp.mean(each), {}

    return train.fit(
        loss, model, (images, targets), key, log, name="start", num_steps=num_steps,
        batch_size=batch_size, optimizer=train.warmup_cosine(learning_rate, num_steps),
    )  # fmt: skip


def fit_heads(
    model: Heads,
    images: UInt8[np.ndarray, "n h w c"],
    neighbours: Int[np.ndarray, "n k"],
    view: augment.Transform,
    key: Key[Array, ""],
    log: Log,
    *,
    entropy_weight: float,
    prior: Float[np.ndarray, "clusters"] | None,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
) -> Heads:
    """The model after training all heads, and the encoder, on SCAN's loss.

    Van Gansbeke et al. 2020, eq. 2; each head has its own loss, and the encoder their mean.
    """
    optimizer = train.warmup_cosine(learning_rate, num_steps, weight_decay=1e-4)
    wanted = None if prior is None else jnp.asarray(prior, jnp.float32)

    def loss(model: Heads, one: Array, other: Array) -> Float[Array, ""]:
        first, second = jnp.split(model(jnp.concatenate([one, other])), 2)
        return jnp.mean(_each(first, second, entropy_weight, wanted))

    def step(
        state: train.State, data: tuple[Array, Array], key: Key[Array, ""]
    ) -> tuple[train.State, train.Metrics]:
        row_key, partner_key, view_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (batch_size,), 0, len(data[0]))
        others = draw_partners(partner_key, data[1], rows, 1.0)
        both = augment.as_float(data[0][jnp.concatenate([rows, others])])
        one, other = jnp.split(view(view_key, both), 2)
        value, gradient = jax.value_and_grad(loss)(state.model, one, other)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.model)
        model = optax.apply_updates(state.model, updates)
        return train.State(model, optimizer_state), {"loss": value}

    state = train.State(model, optimizer.init(model))
    return train.loop(
        step, state, (images, neighbours), key, log, name="clusters", num_steps=num_steps
    ).model


def best_head(
    model: Heads,
    images: UInt8[np.ndarray, "n h w c"],
    neighbours: Int[np.ndarray, "n k"],
    *,
    entropy_weight: float,
    prior: Float[np.ndarray, "clusters"] | None,
) -> tuple[int, Float[np.ndarray, "heads"]]:
    """The head with the lowest loss over all images and their neighbours, and all the losses."""
    logits = jnp.asarray(train.apply_batched(lambda m, x: m(x), model, images))
    wanted = None if prior is None else jnp.asarray(prior, jnp.float32)
    total = np.zeros(logits.shape[1])
    for column in np.asarray(neighbours).T:
        total += np.asarray(jnp.mean(_each(logits, logits[column], entropy_weight, wanted), axis=1))
    found = total / np.shape(neighbours)[1]
    return int(np.argmin(found)), found


def _each(
    first: Float[Array, "n heads clusters"],
    second: Float[Array, "n heads clusters"],
    entropy_weight: float,
    prior: Float[Array, "clusters"] | None,
) -> Float[Array, "heads n"]:
    def of_head(one: Array, other: Array) -> Float[Array, "n"]:
        return scan_loss(one, other, entropy_weight=entropy_weight, prior=prior)

    return jax.vmap(of_head, in_axes=1)(first, second)
