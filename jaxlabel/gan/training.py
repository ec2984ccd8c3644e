"""The training step of a semi-supervised GAN and the state that it updates, for `train.loop`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, nets, train
from jaxlabel.gan import objectives, watch
from jaxlabel.gan.settings import Settings
from jaxlabel.losses import adversarial
from jaxlabel.nets import devices

SHOWN = 64  # samples in the report; their latent vectors are fixed
MEASURED = 256  # samples used to measure diversity

DISCRIMINATORS = {
    "dense": nets.DenseDiscriminator,
    "conv": nets.ConvDiscriminator,
    "fine_gradient_conv": nets.GradientConvDiscriminator,
}


class Data(NamedTuple):
    """The data that each training step of a semi-supervised GAN uses.

    The arrays of labelled images are padded to a fixed length, so that their shapes do not change
    when more labels are bought.

    Attributes:
      images: all training images.
      shown: training images, evenly spaced, with which the sample images are compared.
      labelled: the indices of the labelled images, padded with 0.
      labels: the labels of these images, padded with 0.
      odds: cumulative weights for choosing labelled images at random. Each class has the same total
        weight, and padding has none.
      latents: fixed latent vectors of the sample images that are saved and measured.
    """

    images: UInt8[Array | np.ndarray, "n h w c"]
    shown: UInt8[Array, "m h w c"]
    labelled: Int[Array, "capacity"]
    labels: Int[Array, "capacity"]
    odds: Float[Array, "capacity"]
    latents: Float[Array, "m latent"]


class State(NamedTuple):
    """The training state of a GAN, which a training step updates and a checkpoint stores.

    Attributes:
      discriminator: the discriminator network that is trained.
      generator: the generator network.
      average: the discriminator with moving averages of its weights, which becomes the classifier.
      optimizers: the optimizer state of the discriminator, and that of the generator.
      number: the number of training steps done so far in the whole run.
      samples: the images generated after each of the `snapshot_steps`; zeros before that step.
      measures: the quality measures of these images (`watch.Measures`); zeros before that step.
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
    """Return the data for a GAN's training steps, given the images labelled so far.

    Indices and labels are padded with 0 to length `capacity`.

    Args:
      images: all training images, uint8.
      indices: the indices of the labelled images.
      labels: the labels of these images.
      capacity: the largest number of labelled images that the run will have.
      latents: the latent vectors of the sample images that are saved and measured.
    """
    shares = 1.0 / np.bincount(labels)[labels]
    rows, padded_labels, odds = (
        np.pad(array, (0, max(0, capacity - len(indices)))) for array in (indices, labels, shares)
    )
    cumulative = jnp.asarray(np.cumsum(odds), jnp.float32)
    shown = images[:: max(1, len(images) // len(latents))][: len(latents)]
    return Data(
        images, jnp.asarray(shown), jnp.asarray(rows), jnp.asarray(padded_labels), cumulative,
        latents,
    )  # fmt: skip


def start(
    settings: Settings, shape: tuple[int, ...], num_classes: int, key: Key[Array, ""]
) -> State:
    """Return the initial training state of a GAN: new networks and optimizer states, no samples.

    The argument `shape` is the height, width, and number of channels of an image.
    """
    discriminator_key, generator_key = jax.random.split(key)
    discriminator = train.init(make_discriminator(settings, shape, num_classes), discriminator_key)
    generator = train.init(make_generator(settings, shape), generator_key)
    init_optimizer, num_snapshots = jax.jit(optimizer(settings).init), len(snapshot_steps(settings))
    return State(
        discriminator, generator, discriminator,
        (init_optimizer(discriminator), init_optimizer(generator)),
        jnp.zeros((), jnp.int32), jnp.zeros((num_snapshots, SHOWN, *shape), jnp.uint8),
        jnp.zeros((num_snapshots, len(watch.Measures._fields))),
    )  # fmt: skip


def make_discriminator(settings: Settings, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds a GAN's discriminator; its argument is a Flax `nnx.Rngs`.

    The settings of the training, `settings`, give the architecture and the width.
    """
    kind = DISCRIMINATORS[settings.network]
    return lambda rngs: kind(
        shape, num_classes, rngs, width=settings.width, noise=settings.discriminator_noise
    )


def make_generator(settings: Settings, shape: tuple[int, ...]) -> Any:
    """Return a function that builds a GAN's generator; its argument is a Flax `nnx.Rngs`.

    The settings of the training, `settings`, give the architecture and the width. Beside the
    discriminator `fine_gradient_conv` it is fully connected, with 8 times `width` units per layer.
    """
    if settings.network == "conv":
        return lambda rngs: nets.ConvGenerator(shape, settings.latent, rngs, width=settings.width)
    units = settings.width // 2 if settings.network == "dense" else 8 * settings.width
    return lambda rngs: nets.DenseGenerator(shape, settings.latent, rngs, hidden=(units, units))


def optimizer(settings: Settings) -> optax.GradientTransformation:
    """Return the optimizer for each of a GAN's two networks: Adam with a learning rate that decays.

    The rate is `settings.learning_rate` in the first half of the run and decays linearly to zero in
    the second half. The published code of Salimans et al. 2016 for MNIST keeps it constant.
    """
    half = settings.steps // 2
    rate = optax.linear_schedule(settings.learning_rate, 0.0, max(1, settings.steps - half), half)
    return optax.adam(rate, b1=0.5)


def snapshot_steps(settings: Settings) -> Int[np.ndarray, "snapshots"]:
    """Return the steps of a GAN's training after which sample images are saved and measured.

    They are evenly spaced, and the last one is the last step of the run. There are
    `settings.snapshots` of them, or one per step if the run has fewer steps.
    """
    snapshots = np.ceil(np.linspace(0, settings.steps, settings.snapshots + 1)[1:])
    return np.unique(snapshots.astype(int))


def average_decay(settings: Settings) -> float:
    """Return the decay of the moving average of the discriminator's weights.

    The average covers about the fraction `settings.average` of all steps.
    """
    return max(0.0, 1 - 1 / max(1.0, settings.average * settings.steps))


def make_step(settings: Settings, kind: str) -> train.Step[State]:
    """Return a function for `train.loop` that does one training step of a semi-supervised GAN.

    A step updates the discriminator once, then the generator once, both with the same unlabelled
    images. The published code of Salimans et al. 2016 for MNIST updates the generator with a second
    batch.

    Args:
      settings: the settings of the training.
      kind: what the images show, such as "digits" or "clothes"; it decides the augmentation.
    """
    update = optimizer(settings).update
    decay = average_decay(settings)
    snapshots = snapshot_steps(settings)
    weak, strong = augment.weak(kind), augment.strong(kind)

    def step(state: State, data: Data, key: Key[Array, ""]) -> tuple[State, train.Metrics]:
        keys = jax.random.split(key, 8)
        labelled, labels = draw_labelled(keys[0], data, settings.labelled_batch)
        unlabelled = train.draw(keys[1], data.images, settings.batch_size)
        real = devices.shard(augment.as_float(jnp.concatenate([labelled, unlabelled])))
        changed = real[len(labels) :]
        if settings.augment:
            real, changed = weak(keys[2], real), strong(keys[7], changed)
        targets = jax.nn.softmax(state.average(real[len(labels) :]))
        latents = jax.random.normal(keys[3], (settings.batch_size, settings.latent))
        # The images made here train both networks, so the generator runs forward only once.
        made, generator_gradient = jax.vjp(lambda generator: generator(latents), state.generator)
        gradient, metrics = jax.grad(objectives.discriminator_loss, has_aux=True)(
            state.discriminator, settings, real, labels, made, changed, targets, keys[4]
        )
        updates, first = update(gradient, state.optimizers[0])
        discriminator = optax.apply_updates(state.discriminator, updates)
        distance, gradient = jax.value_and_grad(objectives.generator_loss)(
            made, discriminator, real[len(labels) :], keys[5]
        )
        updates, second = update(*generator_gradient(gradient), state.optimizers[1])
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


def draw_labelled(
    key: Key[Array, ""], data: Data, count: int
) -> tuple[UInt8[Array, "count h w c"], Int[Array, "count"]]:
    """Choose `count` labelled images at random, and return the images and their labels.

    All classes that have labels are equally likely, and an image can be chosen several times.
    """
    positions = jax.random.uniform(key, (count,)) * data.odds[-1]
    rows = jnp.minimum(jnp.searchsorted(data.odds, positions, side="right"), len(data.odds) - 1)
    return data.images[data.labelled[rows]], data.labels[rows]


def record_samples(
    state: State, data: Data, snapshots: Int[np.ndarray, "snapshots"], key: Key[Array, ""]
) -> State:
    """Generate a GAN's sample images, measure them, and return the training state with both added.

    Args:
      snapshots: all steps after which samples are recorded. The place of the current step among
        them decides where the samples are stored.
      key: the random key of the noise that the discriminator adds.
    """
    index = jnp.searchsorted(jnp.asarray(snapshots), state.number)
    made = state.generator(data.latents)
    # Use the averaged discriminator without noise, whose features change least between snapshots.
    real = augment.as_float(data.shown)
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
