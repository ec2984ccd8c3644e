"""One step of both networks, and the state that it carries: for `train.loop`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, losses, nets, train
from jaxlabel.gan import watch
from jaxlabel.gan.settings import Settings
from jaxlabel.losses import adversarial

SHOWN = 64  # samples in the report, always of the same latents
MEASURED = 256  # samples whose diversity is measured

DISCRIMINATORS = {
    "dense": nets.DenseDiscriminator,
    "gradients": nets.GradientDiscriminator,
    "conv": nets.ConvDiscriminator,
}


class Data(NamedTuple):
    """What a step draws from; labelled images are padded, so that more of them are no new shapes.

    Attributes:
      odds: cumulative; each class has the same share of the draws, padding none.
      latents: of the samples that are looked at.
    """

    images: UInt8[Array, "n h w c"]
    labelled: Int[Array, "capacity"]
    labels: Int[Array, "capacity"]
    odds: Float[Array, "capacity"]
    latents: Float[Array, "m latent"]


class State(NamedTuple):
    """All that a step depends on but data and key; the average is the model to be used.

    Attributes:
      average: the discriminator's moving average.
      optimizers: the discriminator's and the generator's.
      number: steps done, over all rounds: the schedules follow it.
      samples, measures: what `snapshot_steps` saw so far, zeros for what is to come.
    """

    discriminator: Any
    generator: Any
    average: Any
    optimizers: tuple[Any, Any]
    number: Int[Array, ""]
    samples: UInt8[Array, "snapshots m h w c"]
    measures: Float[Array, "snapshots measures"]


def pad(
    images: UInt8[np.ndarray, "n h w c"],
    indices: Int[np.ndarray, "m"],
    labels: Int[np.ndarray, "m"],
    capacity: int,
    latents: Float[Array, "k latent"],
) -> Data:
    """What steps draw from when m labels are known, with room for `capacity`."""
    shares = 1.0 / np.bincount(labels)[labels]
    rows, known, odds = (
        np.pad(array, (0, max(0, capacity - len(indices)))) for array in (indices, labels, shares)
    )
    cumulative = jnp.asarray(np.cumsum(odds), jnp.float32)
    return Data(jnp.asarray(images), jnp.asarray(rows), jnp.asarray(known), cumulative, latents)


def start(
    settings: Settings, shape: tuple[int, ...], num_classes: int, key: Key[Array, ""]
) -> State:
    """The state before the first step."""
    discriminator_key, generator_key = jax.random.split(key)
    discriminator = train.init(make_discriminator(settings, shape, num_classes), discriminator_key)
    generator = train.init(make_generator(settings, shape), generator_key)
    begin, looks = optimizer(settings).init, len(snapshot_steps(settings))
    return State(
        discriminator, generator, discriminator, (begin(discriminator), begin(generator)),
        jnp.zeros((), jnp.int32), jnp.zeros((looks, SHOWN, *shape), jnp.uint8),
        jnp.zeros((looks, len(watch.Measures._fields))),
    )  # fmt: skip


def make_discriminator(settings: Settings, shape: tuple[int, ...], num_classes: int) -> Any:
    """What makes the discriminator from random number generators."""
    kind = DISCRIMINATORS[settings.network]
    return lambda rngs: kind(
        shape, num_classes, rngs, width=settings.width, noise=settings.discriminator_noise
    )


def make_generator(settings: Settings, shape: tuple[int, ...]) -> Any:
    """What makes the generator from random number generators; its width goes with the other's."""
    if settings.network == "conv":
        return lambda rngs: nets.ConvGenerator(shape, settings.latent, rngs, width=settings.width)
    hidden = (settings.width // 2, settings.width // 2)
    return lambda rngs: nets.DenseGenerator(shape, settings.latent, rngs, hidden=hidden)


def optimizer(settings: Settings) -> optax.GradientTransformation:
    """Adam with the rate constant for half of the run, then linearly to zero (Salimans et al.)."""
    half = settings.steps // 2
    rate = optax.linear_schedule(settings.learning_rate, 0.0, max(1, settings.steps - half), half)
    return optax.adam(rate, b1=0.5)


def snapshot_steps(settings: Settings) -> Int[np.ndarray, "snapshots"]:
    """The numbers of steps after which samples are looked at; the last one is the run's last.

    No step comes twice: of fewer steps than `snapshots` there are fewer.
    """
    moments = np.ceil(np.linspace(0, settings.steps, settings.snapshots + 1)[1:])
    return np.unique(moments.astype(int))


def make_step(settings: Settings, kind: str) -> train.Step[State]:
    """One step of both networks on images of a kind: the discriminator, then the generator."""
    update = optimizer(settings).update
    decay = max(0.0, 1 - 1 / max(1.0, settings.average * settings.steps))
    moments = snapshot_steps(settings)
    weak = augment.weak(kind)

    def step(state: State, data: Data, key: Key[Array, ""]) -> tuple[State, train.Metrics]:
        keys = jax.random.split(key, 7)
        known, labels = draw_labelled(keys[0], data, settings.labelled_batch)
        unknown = train.draw(keys[1], data.images, settings.batch_size)
        real = augment.as_float(jnp.concatenate([known, unknown]))
        real = weak(keys[2], real) if settings.augment else real
        latents = jax.random.normal(keys[3], (settings.batch_size, settings.latent))
        gradient, metrics = jax.grad(discriminator_loss, has_aux=True)(
            state.discriminator, settings, real, labels, state.generator(latents), keys[4]
        )
        updates, first = update(gradient, state.optimizers[0])
        discriminator = optax.apply_updates(state.discriminator, updates)
        distance, gradient = jax.value_and_grad(generator_loss)(
            state.generator, discriminator, real[len(labels) :], latents, keys[5]
        )
        updates, second = update(gradient, state.optimizers[1])
        generator = optax.apply_updates(state.generator, updates)
        state = state._replace(
            discriminator=discriminator, generator=generator, optimizers=(first, second),
            average=train.moving_average(state.average, discriminator, decay),
            number=state.number + 1,
        )  # fmt: skip
        now = jnp.any(state.number == moments)
        state = jax.lax.cond(
            now, lambda s: record_samples(s, data, moments, keys[6]), lambda s: s, state
        )
        return state, {**metrics, "matching": distance}

    return step


def discriminator_loss(
    discriminator: Any,
    settings: Settings,
    real: Float[Array, "labelled+batch h w c"],
    labels: Int[Array, "labelled"],
    made: Float[Array, "batch h w c"],
    key: Key[Array, ""],
) -> tuple[Float[Array, ""], train.Metrics]:
    """The discriminator's loss, and its parts; the labelled images are the first of the real."""
    logits = discriminator(jnp.concatenate([real, made]), key)
    known, unknown, fake = jnp.split(logits, [len(labels), len(real)])
    parts = {
        "supervised": jnp.mean(losses.cross_entropy(known, labels)),
        "real": jnp.mean(adversarial.real_loss(unknown, 1 - settings.smoothing)),
        "generated": jnp.mean(adversarial.fake_loss(fake)),
        "entropy": jnp.mean(adversarial.conditional_entropy(unknown)),
    }
    loss = parts["supervised"] + settings.entropy_weight * parts["entropy"]
    loss += settings.unlabelled_weight * 0.5 * (parts["real"] + parts["generated"])
    return loss, {"loss": loss, **parts}


def generator_loss(
    generator: Any,
    discriminator: Any,
    real: Float[Array, "batch h w c"],
    latents: Float[Array, "batch latent"],
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """Feature matching on the discriminator's last hidden layer."""
    both = jnp.concatenate([real, generator(latents)])
    features = discriminator.features(both, key)
    return adversarial.feature_matching(features[: len(real)], features[len(real) :])


def draw_labelled(
    key: Key[Array, ""], data: Data, count: int
) -> tuple[UInt8[Array, "count h w c"], Int[Array, "count"]]:
    """Random labelled images and their labels, every class that has any alike likely."""
    at = jax.random.uniform(key, (count,)) * data.odds[-1]
    rows = jnp.minimum(jnp.searchsorted(data.odds, at, side="right"), len(data.odds) - 1)
    return data.images[data.labelled[rows]], data.labels[rows]


def record_samples(
    state: State, data: Data, moments: Int[np.ndarray, "snapshots"], key: Key[Array, ""]
) -> State:
    """The state with this step's samples and their measures written into it."""
    index = jnp.searchsorted(jnp.asarray(moments), state.number)
    made = state.generator(data.latents)
    # the average discriminator, without noise: its features change least from look to look
    real = augment.as_float(data.images[:: max(1, len(data.images) // len(made))][: len(made)])
    both = jnp.concatenate([real, made])
    features = state.average.features(both)
    logits = state.average.classify(features)
    noisy = state.discriminator(both, key)  # as it is trained: without noise it is too sure
    loss = jnp.mean(adversarial.real_loss(noisy[: len(real)]))
    loss += jnp.mean(adversarial.fake_loss(noisy[len(real) :]))
    measures = watch.measure(
        features[: len(real)], features[len(real) :], logits[: len(real)], logits[len(real) :], loss
    )
    pixels = jnp.round(255 * made[:SHOWN]).astype(jnp.uint8)
    return state._replace(
        samples=state.samples.at[index].set(pixels),
        measures=state.measures.at[index].set(jnp.stack(measures)),
    )
