"""The autoencoder recipe: pretrain an encoder on all images, then use few labels.

The encoder is a convolutional network, or a fully connected one on pixels or on oriented gradients
(which are not learned). Without labels, it learns to reconstruct the clean image from a deformed
one. A classification head is then added, and encoder and head are trained on the labels of random
images, with small deformations, and mirrored if the kind of images allows it. With `frozen=True`
the encoder stays fixed and the head is a logistic regression of its codes. To find how many labels
an accuracy takes, run a grid over `budget`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Key, UInt8

from jaxlabel import augment, nets, query, train
from jaxlabel.cache import cached
from jaxlabel.config import RunConfig, setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.nets import linear
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor
from jaxlabel.pretext.autoencoder import denoising_loss


@dataclasses.dataclass
class Config(RunConfig):
    """Settings of pretraining by an autoencoder, followed by training on few labels."""

    network: str = setting(
        "dense", "encoder network: dense on pixels, convolutional, or dense on oriented gradients",
        choices=("dense", "conv", "gradients"),
    )  # fmt: skip
    width: int = setting(
        32, "network=conv: channels of the first layer; the second has twice as many", low=8
    )
    code: int = setting(
        128, "dimensions of the code; network=gradients needs a multiple of 8", low=1
    )
    code_steps: int = setting(1000, "training steps of the autoencoder; 0: none", low=0)
    frozen: bool = setting(
        False, "keep the encoder fixed and fit a logistic regression of its codes"
    )
    strength: float = setting(
        1.0, "frozen=True: inverse weight of the logistic regression's L2 penalty", low=1e-9
    )
    augment: bool = setting(
        True, "deform the labelled images, and mirror them if their kind allows it"
    )
    smoothing: float = setting(
        0.1, "label smoothing: share of each label that is spread over all classes", low=0.0,
        high=1.0,
    )  # fmt: skip
    steps: int = setting(2000, "training steps on labels", low=1)
    batch_size: int = setting(128, "images in a mini-batch", low=1)
    learning_rate: float = setting(2e-3, "peak learning rate of the training on labels", low=0.0)
    weight_decay: float = setting(0.05, "weight decay of AdamW in the training on labels", low=0.0)

    def check(self) -> None:
        """Raise a UsageError if the chosen network cannot encode an image as `code` numbers.

        The number `code` is a setting.
        """
        if self.network == "gradients" and self.code % 8:
            raise UsageError(f"config.code is {self.code}: network=gradients needs a multiple of 8")


class Autoencoder(nnx.Module):
    """An autoencoder whose encoder is a classifier without its last layer.

    The code is the input of the classifier's last layer. The decoder is fully connected.
    """

    def __init__(self, classifier: Any, shape: tuple[int, ...], code: int, rngs: nnx.Rngs):
        self.classifier = classifier
        self.shape = tuple(shape)
        self.decoder = nets.Dense((code, 512, int(np.prod(shape))), rngs)

    def __call__(self, images: Array) -> Array:
        return self.decoder(self.classifier.features(images)).reshape(len(images), *self.shape)


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """Label random images, as many as the budget buys, train a classifier on them, and return it.

    Raises:
      DataError: nobody can label any of the images.
      UsageError: the budget buys no label.
    """
    choose_key, code_key, fit_key = jax.random.split(key, 3)
    query.num_labels_in_budget(oracle, len(images))  # raises an error if it buys no label
    wanted = np.asarray(jax.random.permutation(choose_key, len(images)))
    wanted = query.chosen_first(oracle, log, 0, wanted, len(images))
    asked, labels = query.buy(oracle, query.NO_LABELS, wanted, 0)
    model = pretrain_encoder(config, images, oracle.num_classes, code_key, log)
    learn = fit_head if config.frozen else fine_tune
    model = learn(config, model, images[asked], labels, fit_key, log)
    mirror = config.augment and augment.keeps_class_mirrored(config.kind)
    return Predictor(linear.Ensemble([model], mirror), None, None, "budget", {})


def pretrain_encoder(
    config: Config, images: UInt8[np.ndarray, "n h w c"], num_classes: int, key: Key[Array, ""],
    log: Log,
) -> Any:  # fmt: skip
    """Train an autoencoder on all images; return its encoder with an untrained head for classes."""
    init_key, fit_key = jax.random.split(key)
    make = make_network(config, images.shape[1:], num_classes)

    def make_both(rngs: nnx.Rngs) -> Autoencoder:
        return Autoencoder(make(rngs), images.shape[1:], config.code, rngs)

    deform = augment.deform(max_shift=0.07, max_rotation=0.15, max_scale=0.1)
    start = train.init(make_both, init_key)
    if not config.code_steps:
        return start.classifier
    leaves, structure = jax.tree.flatten(start)

    def compute() -> dict[str, Any]:
        model = train.fit(
            denoising_loss(deform), start, images, fit_key, log, name="autoencoder",
            num_steps=config.code_steps, batch_size=config.batch_size,
            optimizer=train.warmup_cosine(1e-3, config.code_steps),
        )  # fmt: skip
        return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(model))}

    parts = [config.network, config.width, config.code, config.code_steps, config.batch_size,
             num_classes, key, images]  # fmt: skip
    arrays = cached("encoder", parts, compute)
    fitted = [jnp.asarray(arrays[str(i)]) for i in range(len(leaves))]
    model = jax.tree.unflatten(structure, fitted)
    originals = images[:20]
    outputs = train.apply_batched(lambda m, x: jax.nn.sigmoid(m(x)), model, originals)
    reconstructions = np.round(255 * outputs).astype(np.uint8)
    log.arrays("reconstructions", originals=originals, reconstructions=reconstructions)
    return model.classifier


def fit_head(
    config: Config, model: Any, images: UInt8[np.ndarray, "m h w c"], labels: Any,
    key: Key[Array, ""], log: Log,
) -> Any:  # fmt: skip
    """Fit the classification head of `model` by logistic regression and return the model.

    The inputs of the regression are the codes of the labelled images. The encoder is not trained.
    """
    codes = train.apply_batched(train.features_of, model, images)
    weights, biases = linear.fit_logistic(
        codes, labels, model.head.out_features, strength=config.strength, max_iterations=100
    )
    model.head.kernel[...], model.head.bias[...] = jnp.asarray(weights), jnp.asarray(biases)
    return model


def fine_tune(
    config: Config, model: Any, images: UInt8[np.ndarray, "m h w c"], labels: Any,
    key: Key[Array, ""], log: Log,
) -> Any:  # fmt: skip
    """Train the encoder and the head of `model` on the labelled images and return the model."""
    deform = augment.weak(config.kind)
    num_classes = model.head.out_features

    def loss(model: Any, batch: tuple[Array, Array], key: Key[Array, ""]) -> Any:
        inputs = augment.as_float(batch[0])
        logits = model(deform(key, inputs) if config.augment else inputs)
        smooth = optax.smooth_labels(jax.nn.one_hot(batch[1], num_classes), config.smoothing)
        wrong = jnp.argmax(logits, axis=-1) != batch[1]
        return jnp.mean(optax.softmax_cross_entropy(logits, smooth)), {"error": jnp.mean(wrong)}

    return train.fit(
        loss, model, (images, labels), key, log, name="classifier", num_steps=config.steps,
        batch_size=config.batch_size,
        optimizer=train.warmup_cosine(
            config.learning_rate, config.steps, weight_decay=config.weight_decay
        ),
    )  # fmt: skip


def make_network(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained encoder with a classification head.

    The argument of this function is an `nnx.Rngs`, which gives the random initial weights.
    """
    if config.network == "conv":
        return lambda rngs: nets.ConvClassifier(
            shape, num_classes, rngs, width=config.width, hidden=config.code
        )
    if config.network == "gradients":
        return lambda rngs: nets.Classifier(
            nets.GradientNet(shape, rngs, width=config.code // 8), num_classes, rngs
        )
    hidden = (512, 256, config.code)
    return lambda rngs: nets.DenseClassifier(shape, num_classes, rngs, hidden=hidden)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained classifier from an `nnx.Rngs`.

    To load a saved model, the caller builds a network with this function and then overwrites its
    weights with the saved ones.
    """
    make = make_network(config, shape, num_classes)
    mirror = config.augment and augment.keeps_class_mirrored(config.kind)
    return lambda rngs: linear.Ensemble([make(rngs)], mirror)
