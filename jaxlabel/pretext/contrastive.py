"""Contrastive pretraining (SimCLR): train an encoder to match two augmented views of an image."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, nets, train
from jaxlabel.cache import SECONDS, cached, digest, known
from jaxlabel.config import own_sources
from jaxlabel.log import Log
from jaxlabel.losses.contrastive import nt_xent
from jaxlabel.nets import devices

OPTIMIZERS = ("adamw", "sgd")
WEIGHT_DECAY = 1e-4


class Settings(NamedTuple):
    """The settings of contrastive pretraining, which trains an encoder on images without labels.

    Attributes:
      encoder: the architecture of the encoder, one of the names in `nets.ENCODERS`.
      width: the base width of the encoder; 0 for the architecture's default.
      num_steps: the number of training steps.
      batch_size: the number of images in a mini-batch. Each is used in two views (augmented
        images).
      temperature: the temperature of the contrastive loss.
      projection: the number of dimensions of the projection of the features on which the
        contrastive loss is computed.
      optimizer: the optimizer, one of the names in `OPTIMIZERS`.
      learning_rate: the peak learning rate.
    """

    encoder: str
    width: int
    num_steps: int
    batch_size: int
    temperature: float
    projection: int
    optimizer: str
    learning_rate: float


class Projected(nnx.Module):
    """An encoder with a projection head: the network that SimCLR trains.

    Chen et al. 2020, section 2.1. The projection head is a small network that maps the encoder's
    features to projections. Calling the whole network on images returns the projections, on which
    the contrastive loss is computed. After training only the encoder is used.
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
    others: Sequence[Key[Array, ""]] = (),
) -> Any:
    """Train an encoder on the images by SimCLR, without labels, and return it (Chen et al. 2020).

    The trained encoder is stored in a cache on disk, and later calls with equal arguments load it
    from there. An interrupted training resumes from the checkpoint "contrastive" in `log`, the log
    of the run. If several encoders are trained together, the checkpoint's name contains a digest of
    their random keys.

    Args:
      settings: the settings of the training.
      kind: what the images show, such as "digits" or "clothes"; it decides the augmentation.
      others: random keys of further encoders that will be needed later. Those that are not in the
        cache yet are trained together with this one and stored there; if this encoder itself is in
        the cache, nothing is trained. If the images do not fit the device, the others are trained
        later. Each encoder is trained with the same random numbers as if it were trained alone. A
        single step then gives the same result up to rounding, but over many steps the encoders may
        become different.

    Returns:
      The encoder; `encoder.features(images)` returns the features.
    """
    make = make_projected(settings, images.shape[1:])
    like = jax.eval_shape(lambda: make(nnx.Rngs(0)))

    def parts(key: Key[Array, ""]) -> list[Any]:
        # The backend is part of the key because it sets the precision (nets.compute_dtype).
        sources = own_sources(settings.encoder, kind)
        return [tuple(settings), kind, images, key, jax.default_backend(), *sources]

    def compute() -> dict[str, Any]:
        missing = [other for other in others if not known("contrastive", parts(other))]
        if not missing or not devices.fits(images):
            return _numbered(_train_contrastive(settings, kind, images, key, log))
        began = time.monotonic()
        first, *rest = _train_together(settings, kind, images, [key, *missing], log)
        seconds = {SECONDS: (time.monotonic() - began) / (1 + len(rest))}
        for other, model in zip(missing, rest, strict=True):
            cached("contrastive", parts(other), partial(dict, **_numbered(model) | seconds))
        return _numbered(first) | seconds

    saved = cached("contrastive", parts(key), compute)
    leaves, structure = jax.tree.flatten(like)
    fitted = [jnp.asarray(saved[str(i)]) for i in range(len(leaves))]
    return jax.tree.unflatten(structure, fitted).encoder


def _numbered(model: Any) -> dict[str, Any]:
    return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(model))}


def _initial_state(
    settings: Settings, shape: tuple[int, ...], key: Key[Array, ""]
) -> tuple[train.State, Key[Array, ""]]:
    """Return the training state before the first step, and the random key of the training steps.

    The state holds a network with random weights (an encoder with a projection head) and the
    initial state of its optimizer.
    """
    init_key, fit_key = jax.random.split(key)
    start = train.init(make_projected(settings, shape), init_key)
    return train.State(start, jax.jit(make_optimizer(settings).init)(start)), fit_key


def _train_contrastive(
    settings: Settings, kind: str, images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""],
    log: Log,
) -> Any:  # fmt: skip
    state, fit_key = _initial_state(settings, images.shape[1:], key)
    step = contrastive_step(settings, kind, make_optimizer(settings))
    return train.loop(
        step, state, images, fit_key, log, name="contrastive",
        num_steps=settings.num_steps,
    ).model  # fmt: skip


def _train_together(
    settings: Settings, kind: str, images: UInt8[np.ndarray, "n h w c"],
    keys: Sequence[Key[Array, ""]], log: Log,
) -> list[Any]:  # fmt: skip
    """Train several encoders with projection heads in one loop, one for each random key in `keys`.

    Each network is trained with the same random numbers as if it were trained alone.

    Returns:
      The trained networks, in the order of `keys`.
    """
    begun = [_initial_state(settings, images.shape[1:], key) for key in keys]
    states, fit_keys = train.stack(begun)
    step_all = _joint_step(
        contrastive_step(settings, kind, make_optimizer(settings)),
        unrolled=not devices.is_accelerator(),
    )

    def step(
        carry: tuple[train.State, Int[Array, ""]], data: tuple[Array, Array],
        _: Key[Array, ""],
    ) -> tuple[tuple[train.State, Int[Array, ""]], train.Metrics]:  # fmt: skip
        states, number = carry
        images, fit_keys = data
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(fit_keys, number)
        states, metrics = step_all(states, images, step_keys)
        return (states, number + 1), metrics

    name = (
        f"contrastive_{len(keys)}_{digest(list(keys))[:8]}"  # a later run may miss other encoders
    )
    states, _ = train.loop(
        step, (states, jnp.zeros((), jnp.int32)), (images, fit_keys), keys[0], log,
        name=name, num_steps=settings.num_steps,
    )  # fmt: skip
    return [train.member(states.model, number) for number in range(len(keys))]


def _joint_step(
    step: train.Step[train.State], *, unrolled: bool
) -> Callable[[train.State, Any, Key[Array, "n"]], tuple[train.State, train.Metrics]]:
    """Turn a training step for one network into a step that trains several networks at once.

    The new step takes the networks' training states joined by `train.stack`, the data, and one
    random key per network. It returns the new states, joined too, and the mean of each metric.

    Args:
      unrolled: True to run the networks' steps one after the other, False to use `jax.vmap`. True
        is faster on a CPU, where convolutions with one kernel per network are slow.
    """

    def together(
        states: train.State, data: Any, keys: Key[Array, "n"]
    ) -> tuple[train.State, train.Metrics]:
        if unrolled:
            done = [step(train.member(states, i), data, key) for i, key in enumerate(keys)]
            stepped, metrics = train.stack(done)
        else:
            stepped, metrics = jax.vmap(step, (0, None, 0))(states, data, keys)
        return stepped, jax.tree.map(jnp.mean, metrics)

    return together


def contrastive_step(
    settings: Settings, kind: str, optimizer: optax.GradientTransformation
) -> train.Step[train.State]:
    """Return a function that does one training step of SimCLR, for the training loop `train.loop`.

    A step draws a mini-batch of images and makes two views of each by random augmentation. Then it
    updates the network with the gradient of the contrastive loss NT-Xent.
    """
    view = augment.contrastive(kind)

    def loss(
        model: Any, views: Float[Array, "rows h w c"], shown: Int[Array, "2 batch"]
    ) -> Float[Array, ""]:
        first, second = jnp.split(model(views), 2)
        return jnp.mean(nt_xent(first, second, settings.temperature, shown))

    def step(
        state: train.State, images: Array, key: Key[Array, ""]
    ) -> tuple[train.State, train.Metrics]:
        # the second key is not used any more: without it, published encoders would be others
        row_key, _, view_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (settings.batch_size,), 0, len(images))
        shown = jnp.stack([rows, rows])  # with replacement: images may repeat
        views = view(view_key, devices.shard(augment.as_float(images[shown.ravel()])))
        value, gradient = jax.value_and_grad(loss)(state.model, views, shown)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.model)
        return train.State(optax.apply_updates(state.model, updates), optimizer_state), {
            "loss": value
        }

    return step


def make_projected(settings: Settings, shape: tuple[int, ...]) -> Any:
    """Return a function that builds an encoder with a projection head and random weights.

    Args:
      settings: the settings of the training, with the encoder's name and width and the projection's
        size.
      shape: height, width, and channels of an image.
    """

    def make(rngs: nnx.Rngs) -> Projected:
        encoder = nets.make_encoder(settings.encoder, shape, rngs, settings.width or None)
        return Projected(encoder, settings.projection, rngs)

    return make


def make_optimizer(settings: Settings) -> optax.GradientTransformation:
    """Return the optimizer named in `settings.optimizer`: AdamW, or SGD with momentum.

    The learning rate has a linear warm-up and a cosine decay. SGD needs about a hundred times the
    learning rate of AdamW.
    """
    rate, num_steps = settings.learning_rate, settings.num_steps
    if settings.optimizer == "adamw":
        return train.warmup_cosine(rate, num_steps, weight_decay=WEIGHT_DECAY)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, rate, warmup_steps=max(1, num_steps // 20), decay_steps=max(2, num_steps)
    )
    return optax.chain(optax.add_decayed_weights(WEIGHT_DECAY), optax.sgd(schedule, momentum=0.9))
