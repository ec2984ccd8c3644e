"""Features without labels: an encoder that tells an image's own views from all other images."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, nets, train
from jaxlabel.cache import cached
from jaxlabel.cluster.pca import fit_pca, project
from jaxlabel.log import Log
from jaxlabel.losses.contrastive import nt_xent

OPTIMIZERS = ("adamw", "sgd", "lars")
GIVEN = ("gradients", "pixels")  # what an image gives by itself, before anything is learned


class Settings(NamedTuple):
    """How a contrastive encoder is trained; `methods.simclr.Config` explains each."""

    encoder: str
    width: int
    num_steps: int
    batch_size: int
    temperature: float
    projection: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    strength: float
    partners: int
    partner_share: float


class Projected(nnx.Module):
    """An encoder, and the head in whose space views are compared (Chen et al. 2020, section 2.1).

    The head is thrown away after training: what is kept are the encoder's features.
    """

    def __init__(self, encoder: Any, projection: int, rngs: nnx.Rngs):
        self.encoder = encoder
        self.head = nets.Dense((encoder.num_features, 2 * projection, projection), rngs)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return self.head(self.encoder.features(images))


def contrastive_encoder(
    settings: Settings,
    kind: str,
    images: UInt8[np.ndarray, "n h w c"],
    key: Key[Array, ""],
    log: Log,
    *,
    partners: Int[np.ndarray, "n k"] | None = None,
) -> Any:
    """An encoder trained by SimCLR (Chen et al. 2020), with `.features(images)`.

    Runs of a sweep share it. A killed run goes on from its checkpoint `contrastive`.

    Args:
      kind: the data set's kind, which says what two views of an image may differ in.
      partners: images that are taken to show the same as each image. With them a pair is, with
        probability `partner_share`, a view of the image and a view of one of its partners
        (Dwibedi et al. 2021, NNCLR, find them in a queue).
    """
    init_key, fit_key = jax.random.split(key)
    start = train.init(make_projected(settings, images.shape[1:]), init_key)
    leaves, structure = jax.tree.flatten(start)

    def compute() -> dict[str, Any]:
        optimizer = make_optimizer(settings)
        state = train.loop(
            contrastive_step(settings, kind, optimizer),
            train.State(start, optimizer.init(start)),
            (images, np.arange(len(images))[:, None] if partners is None else partners),
            fit_key, log, name="contrastive", num_steps=settings.num_steps,
        )  # fmt: skip
        return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(state.model))}

    # an accelerator computes in another precision (nets.compute_dtype)
    parts = [tuple(settings), kind, images, key, partners, jax.default_backend()]
    found = cached("contrastive", parts, compute)
    fitted = [jnp.asarray(found[str(i)]) for i in range(len(leaves))]
    return jax.tree.unflatten(structure, fitted).encoder


def contrastive_step(
    settings: Settings, kind: str, optimizer: optax.GradientTransformation
) -> train.Step[train.State]:
    """The step that draws images, their partners and a view of each, and descends NT-Xent."""
    view = augment.contrastive(kind, strength=settings.strength)

    def loss(
        model: Any, views: Float[Array, "rows h w c"], shown: Int[Array, "2 batch"]
    ) -> Float[Array, ""]:
        first, second = jnp.split(model(views), 2)
        return jnp.mean(nt_xent(first, second, settings.temperature, shown))

    def step(
        state: train.State, data: tuple[Array, Array], key: Key[Array, ""]
    ) -> tuple[train.State, train.Metrics]:
        images, partners = data
        row_key, partner_key, view_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (settings.batch_size,), 0, len(images))
        others = draw_partners(partner_key, partners, rows, settings.partner_share)
        shown = jnp.stack([rows, others])  # drawn with replacement: an image may be there twice
        views = view(view_key, augment.as_float(images[shown.ravel()]))
        value, gradient = jax.value_and_grad(loss)(state.model, views, shown)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.model)
        return train.State(optax.apply_updates(state.model, updates), optimizer_state), {
            "loss": value
        }

    return step


def draw_partners(
    key: Key[Array, ""], partners: Int[Array, "n k"], rows: Int[Array, "batch"], share: float
) -> Int[Array, "batch"]:
    """For each row one of its partners, or with probability 1 - share the row itself."""
    column_key, share_key = jax.random.split(key)
    columns = jax.random.randint(column_key, rows.shape, 0, partners.shape[1])
    drawn = jax.random.bernoulli(share_key, share, rows.shape)
    return jnp.where(drawn, partners[rows, columns], rows)


def make_projected(settings: Settings, shape: tuple[int, ...]) -> Any:
    """What makes encoder and projection head from random number generators."""

    def make(rngs: nnx.Rngs) -> Projected:
        encoder = nets.make_encoder(settings.encoder, shape, rngs, settings.width or None)
        return Projected(encoder, settings.projection, rngs)

    return make


def make_optimizer(settings: Settings) -> optax.GradientTransformation:
    """The optimizer, with warm-up and cosine decay: AdamW, SGD with momentum, or LARS.

    LARS is You et al. 2017, which leaves biases and norms to plain SGD; it and SGD take learning
    rates a hundred times AdamW's.
    """
    rate, decay, num_steps = settings.learning_rate, settings.weight_decay, settings.num_steps
    if settings.optimizer == "adamw":
        return train.warmup_cosine(rate, num_steps, weight_decay=decay)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, rate, warmup_steps=max(1, num_steps // 20), decay_steps=max(2, num_steps)
    )
    if settings.optimizer == "lars":
        return optax.lars(
            schedule, weight_decay=decay, weight_decay_mask=_matrices, trust_ratio_mask=_matrices,
            momentum=0.9,
        )  # fmt: skip
    return optax.chain(optax.add_decayed_weights(decay), optax.sgd(schedule, momentum=0.9))


def _matrices(parameters: Any) -> Any:
    """True for what has more than one dimension: neither biases nor norms."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)


class Representation(nnx.Module):
    """An encoder's features, centred and of unit length, beside those of the image itself.

    The principal components keep where an image has what, the encoder what moved images share.

    Args:
      components: principal components of what `given` says; 0: none of them.
      share: of the squared length, what is theirs.
      given: "pixels", or "gradients": oriented and pooled (`nets.oriented_gradients`).
    """

    def __init__(
        self, encoder: Any, shape: tuple[int, ...], components: int, share: float, given: str
    ):
        self.encoder, self.given = encoder, given
        self.share = share if components else 0.0
        numbers = nets.num_gradients(shape) if given == "gradients" else math.prod(shape)
        self.centre = nnx.Param(jnp.zeros(encoder.num_features))
        self.mean = nnx.Param(jnp.zeros(numbers))
        self.components = nnx.Param(jnp.zeros((min(components, numbers), numbers)))

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        learned = self.encoder.features(images) - self.centre[...]
        given = (inputs_of(images, self.given) - self.mean[...]) @ self.components[...].T
        return beside(learned, given, self.share)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return self.features(images)


def represent(
    encoder: Any, images: UInt8[np.ndarray, "n h w c"], components: int, share: float, given: str
) -> Representation:
    """The representation whose centre and principal components are those of the images."""
    model = Representation(encoder, images.shape[1:], components, share, given)
    model.centre[...] = jnp.asarray(features_of(encoder, images).mean(axis=0))
    if components:
        inputs = train.apply_batched(lambda _, x: inputs_of(x, given), None, images)
        pca = fit_pca(jnp.asarray(inputs), len(model.components[...]))
        model.mean[...], model.components[...] = pca.mean, pca.components
    return model


def given_points(
    images: UInt8[np.ndarray, "n h w c"], components: int, given: str
) -> Float[Array, "n d"]:
    """The images along the principal components of what they give by themselves."""
    inputs = train.apply_batched(lambda _, x: inputs_of(x, given), None, images)
    points = jnp.asarray(inputs)
    return project(fit_pca(points, min(components, points.shape[1])), points)


def inputs_of(images: Float[Array, "batch h w c"], given: str) -> Float[Array, "batch d"]:
    """What the principal components are of."""
    if given == "gradients":
        return nets.oriented_gradients(images)
    return images.reshape(len(images), -1)


def features_of(model: Any, images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    """The features of the images by an encoder or a representation."""
    return train.apply_batched(train.features_of, model, images)


def beside(
    learned: Float[Array, "n d"], given: Float[Array, "n e"], share: float
) -> Float[Array, "n both"]:
    """Both at length 1, beside each other, `share` of the squared length being the given ones'."""
    return jnp.concatenate([(1 - share) ** 0.5 * unit(learned), share**0.5 * unit(given)], axis=-1)


def unit(rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The rows at length 1; one of zeros stays what it is."""
    return rows * jax.lax.rsqrt(jnp.sum(jnp.square(rows), axis=-1, keepdims=True) + 1e-12)
