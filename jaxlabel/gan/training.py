"""The training step of a semi-supervised GAN and the state that it updates, for `train.loop`."""

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

SHOWN = 64  # samples in the report; their latent vectors are fixed
MEASURED = 256  # samples used to measure diversity

DISCRIMINATORS = {
    "dense": nets.DenseDiscriminator,
    "gradients": nets.GradientDiscriminator,
    "conv": nets.ConvDiscriminator,
}


class Data(NamedTuple):
    """The data that a training step draws from.

    Labelled images are padded to a fixed number, so that new labels do not change the shapes.

    Attributes:
      images: all training images.
      labelled: the indices of the labelled images, padded with 0.
      labels: their labels, padded with 0.
      odds: cumulative weights for drawing labelled images; each class has the same total weight,
        and padding has none.
      latents: the latent vectors of the samples that are saved and measured.
    """

    images: UInt8[Array, "n h w c"]
    labelled: Int[Array, "capacity"]
    labels: Int[Array, "capacity"]
    odds: Float[Array, "capacity"]
    latents: Float[Array, "m latent"]


class State(NamedTuple):
    """Everything that a training step depends on except data and random key.

    Attributes:
      discriminator: the discriminator that is trained.
      generator: the generator.
      average: the moving average of the discriminator's weights; the final classifier.
      optimizers: the optimizer states of the discriminator and the generator.
      number: steps done in all rounds together, which the schedules depend on.
      samples: the samples saved at each of `snapshot_steps`, zeros for later ones.
      measures: the `watch.Measures` at each of `snapshot_steps`, zeros for later ones.
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
    """Return the data for m labelled images, padded to room for `capacity` labelled images."""
    shares = 1.0 / np.bincount(labels)[labels]
    rows, padded_labels, odds = (
        np.pad(array, (0, max(0, capacity - len(indices)))) for array in (indices, labels, shares)
    )
    cumulative = jnp.asarray(np.cumsum(odds), jnp.float32)
    return Data(
        jnp.asarray(images), jnp.asarray(rows), jnp.asarray(padded_labels), cumulative, latents
    )


def start(
    settings: Settings, shape: tuple[int, ...], num_classes: int, key: Key[Array, ""]
) -> State:
    """Return the initial training state: new networks, optimizers, and empty snapshots."""
    discriminator_key, generator_key = jax.random.split(key)
    discriminator = train.init(make_discriminator(settings, shape, num_classes), discriminator_key)
    generator = train.init(make_generator(settings, shape), generator_key)
    init_optimizer, num_snapshots = optimizer(settings).init, len(snapshot_steps(settings))
    return State(
        discriminator, generator, discriminator,
        (init_optimizer(discriminator), init_optimizer(generator)),
        jnp.zeros((), jnp.int32), jnp.zeros((num_snapshots, SHOWN, *shape), jnp.uint8),
        jnp.zeros((num_snapshots, len(watch.Measures._fields))),
    )  # fmt: skip


def make_discriminator(settings: Settings, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds the discriminator from random streams."""
    kind = DISCRIMINATORS[settings.network]
    return lambda rngs: kind(
        shape, num_classes, rngs, width=settings.width, noise=settings.discriminator_noise
    )


def make_generator(settings: Settings, shape: tuple[int, ...]) -> Any:
    """Return a function that builds a generator of width `settings.width` from random streams."""
    if settings.network == "conv":
        return lambda rngs: nets.ConvGenerator(shape, settings.latent, rngs, width=settings.width)
    hidden = (settings.width // 2, settings.width // 2)
    return lambda rngs: nets.DenseGenerator(shape, settings.latent, rngs, hidden=hidden)


def optimizer(settings: Settings) -> optax.GradientTransformation:
    """Return Adam with a constant learning rate for half of the run, then linear decay to zero.

    The schedule is that of Salimans et al. 2016.
    """
    half = settings.steps // 2
    rate = optax.linear_schedule(settings.learning_rate, 0.0, max(1, settings.steps - half), half)
    return optax.adam(rate, b1=0.5)


def snapshot_steps(settings: Settings) -> Int[np.ndarray, "snapshots"]:
    """Return the step numbers after which samples are saved; the last one is the run's last step.

    Numbers are unique: if the run has fewer steps than `snapshots`, there are fewer of them.
    """
    snapshots = np.ceil(np.linspace(0, settings.steps, settings.snapshots + 1)[1:])
    return np.unique(snapshots.astype(int))


def make_step(settings: Settings, kind: str) -> train.Step[State]:
    """Return the training step: one update of the discriminator, then one of the generator.

    Args:
      kind: the kind of data set, which decides the augmentation.
    """
    update = optimizer(settings).update
    decay = max(0.0, 1 - 1 / max(1.0, settings.average * settings.steps))
    snapshots = snapshot_steps(settings)
    weak = augment.weak(kind)

    def step(state: State, data: Data, key: Key[Array, ""]) -> tuple[State, train.Metrics]:
        keys = jax.random.split(key, 7)
        labelled, labels = draw_labelled(keys[0], data, settings.labelled_batch)
        unlabelled = train.draw(keys[1], data.images, settings.batch_size)
        real = augment.as_float(jnp.concatenate([labelled, unlabelled]))
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
        is_snapshot = jnp.any(state.number == snapshots)
        state = jax.lax.cond(
            is_snapshot, lambda s: record_samples(s, data, snapshots, keys[6]), lambda s: s, state
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
    """Return the discriminator's loss and, as metrics, its parts.

    Args:
      real: real images; the first ones are labelled.
      labels: the labels of the labelled images.
      made: generated images.
    """
    logits = discriminator(jnp.concatenate([real, made]), key)
    labelled, unlabelled, fake = jnp.split(logits, [len(labels), len(real)])
    parts = {
        "supervised": jnp.mean(losses.cross_entropy(labelled, labels)),
        "real": jnp.mean(adversarial.real_loss(unlabelled, 1 - settings.smoothing)),
        "generated": jnp.mean(adversarial.fake_loss(fake)),
        "entropy": jnp.mean(adversarial.conditional_entropy(unlabelled)),
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
    """Return the generator's loss: feature matching on the discriminator's last hidden layer."""
    both = jnp.concatenate([real, generator(latents)])
    features = discriminator.features(both, key)
    return adversarial.feature_matching(features[: len(real)], features[len(real) :])


def draw_labelled(
    key: Key[Array, ""], data: Data, count: int
) -> tuple[UInt8[Array, "count h w c"], Int[Array, "count"]]:
    """Draw random labelled images and their labels, uniformly over the classes that have labels."""
    positions = jax.random.uniform(key, (count,)) * data.odds[-1]
    rows = jnp.minimum(jnp.searchsorted(data.odds, positions, side="right"), len(data.odds) - 1)
    return data.images[data.labelled[rows]], data.labels[rows]


def record_samples(
    state: State, data: Data, snapshots: Int[np.ndarray, "snapshots"], key: Key[Array, ""]
) -> State:
    """Return the state with the current samples and their measures written into it."""
    index = jnp.searchsorted(jnp.asarray(snapshots), state.number)
    made = state.generator(data.latents)
    # Use the averaged discriminator without noise, whose features change least between snapshots.
    real = augment.as_float(data.images[:: max(1, len(data.images) // len(made))][: len(made)])
    both = jnp.concatenate([real, made])
    features = state.average.features(both)
    logits = state.average.classify(features)
    # The loss is with noise, as in training: without noise the discriminator is overconfident.
    noisy = state.discriminator(both, key)
    loss = jnp.mean(adversarial.real_loss(noisy[: len(real)]))
    loss += jnp.mean(adversarial.fake_loss(noisy[len(real) :]))
    measures = watch.measure_samples(
        features[: len(real)], features[len(real) :], logits[: len(real)], logits[len(real) :], loss
    )
    pixels = jnp.round(255 * made[:SHOWN]).astype(jnp.uint8)
    return state._replace(
        samples=state.samples.at[index].set(pixels),
        measures=state.measures.at[index].set(jnp.stack(measures)),
    )
