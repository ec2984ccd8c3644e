"""The training steps of jaxlabel that bench_train_step.py times.

Each function returns a step for `train.loop`, its first state, and its data.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxlabel import augment, losses, nets, scan, train
from jaxlabel.gan import training as gan
from jaxlabel.gan.settings import Settings as GanSettings
from jaxlabel.losses.contrastive import nt_xent
from jaxlabel.pretext.autoencoder import denoising_loss
from jaxlabel.semisupervised import training as semisupervised
from jaxlabel.semisupervised.settings import Settings

Task = tuple[Any, Any, Any]
NUM_CLASSES, PROJECTION, TEMPERATURE, LEARNING_RATE = 10, 64, 0.2, 1e-3
KEY = jax.random.key(0)


def supervised(width: int, first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Task:
    """Cross-entropy of the batch."""

    def loss(model: Any, batch: Any, _: Any) -> Any:
        return losses.cross_entropy(model(batch[0]), batch[1]).mean(), {}

    return fitted(loss, encoder_and_head(width, first.shape[1:], (NUM_CLASSES,)), (first, labels))


def contrastive(width: int, first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Task:
    """NT-Xent of two views of the batch."""

    def loss(model: Any, batch: Any, _: Any) -> Any:
        one, other = jnp.split(model(jnp.concatenate(batch)), 2)
        return nt_xent(one, other, TEMPERATURE).mean(), {}

    head = (2 * PROJECTION, PROJECTION)
    return fitted(loss, encoder_and_head(width, first.shape[1:], head), (first, second))


def freematch(width: int, first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Task:
    """The flagship's step for clothes: a quarter of the batch is labelled."""
    images, shape = noise(first), first.shape[1:]
    settings = Settings(batch_size=len(first) // 4)
    model = train.init(
        lambda rngs: nets.Classifier(
            nets.FineGradientConvNet(shape, rngs, width=2 * width), NUM_CLASSES, rngs
        ),
        KEY,
    )
    known, prior = np.arange(100), np.full(NUM_CLASSES, 1 / NUM_CLASSES)
    guide = np.zeros((len(images), NUM_CLASSES))
    data = semisupervised.pad(images, known, known % NUM_CLASSES, len(known), guide, prior)
    step = semisupervised.make_step(settings, semisupervised.views_of("clothes"))
    return step, semisupervised.start(settings, model, len(images), NUM_CLASSES), data


def scan_step(width: int, first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Task:
    """The clustering step for digits with 10 heads: the batch, and a neighbour of each image."""
    images = noise(first)
    neighbours = np.random.default_rng(1).integers(len(images), size=(len(images), 10))

    def make(rngs: nnx.Rngs) -> Any:
        encoder = nets.ConvNet(first.shape[1:], rngs, width=width)
        return scan.Heads(encoder, 10, NUM_CLASSES, rngs)

    model, optimizer = train.init(make, KEY), train.warmup_cosine(LEARNING_RATE, 10**6)
    step = scan.clustering_step(
        augment.contrastive("digits"), optimizer, entropy_weight=5.0, prior=None,
        batch_size=len(first),
    )  # fmt: skip
    return step, train.State(model, jax.jit(optimizer.init)(model)), (images, neighbours)


def sgan(width: int, first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Task:
    """A step of the convolutional semi-supervised GAN for digits."""
    images = noise(first)
    settings = GanSettings(network="conv", width=2 * width, batch_size=len(first))
    latents = jax.random.normal(KEY, (gan.MEASURED, settings.latent))
    known = np.arange(100)
    data = gan.pad(images, known, known % NUM_CLASSES, len(known), latents)
    start = gan.start(settings, first.shape[1:], NUM_CLASSES, KEY)
    return gan.make_step(settings, "digits"), start, data


def autoencoder(width: int, first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Task:
    """The convolutional denoising autoencoder with a code of 32 numbers."""

    def make(rngs: nnx.Rngs) -> Any:
        return nets.ConvAutoencoder(first.shape[1:], 32, rngs, width=width)

    deform = augment.deform(max_shift=0.07, max_rotation=0.25, max_scale=0.15)
    return fitted(denoising_loss(deform), make, noise(first)[: len(first)])


def noise(like: np.ndarray) -> np.ndarray:
    """Return 4,096 random uint8 images of the shape of the images `like`."""
    size = (4096, *like.shape[1:])
    return np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)


def encoder_and_head(width: int, shape: tuple[int, ...], head: tuple[int, ...]) -> Any:
    """Return a function that builds a ConvNet with dense layers of the widths `head`."""

    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.encoder = nets.ConvNet(shape, rngs, width=width)
            self.head = nets.Dense((self.encoder.num_features, *head), rngs)

        def __call__(self, images: jax.Array) -> jax.Array:
            return self.head(self.encoder.features(images))

    return Model


def fitted(loss: train.Loss, make: Callable[[nnx.Rngs], Any], batch: Any) -> Task:
    """Return a step of AdamW on a loss, always on the same batch."""
    optimizer = train.warmup_cosine(LEARNING_RATE, 10**6)

    def step(state: train.State, data: Any, key: jax.Array) -> tuple[train.State, Any]:
        (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(state.model, data, key)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.model)
        model = train.optax.apply_updates(state.model, updates)
        return train.State(model, optimizer_state), {"loss": value}

    model = train.init(make, KEY)
    return step, train.State(model, jax.jit(optimizer.init)(model)), batch


TASKS: dict[str, Callable[[int, np.ndarray, np.ndarray, np.ndarray], Task]] = {
    "supervised": supervised,
    "contrastive": contrastive,
    "freematch": freematch,
    "scan": scan_step,
    "sgan": sgan,
    "autoencoder": autoencoder,
}
