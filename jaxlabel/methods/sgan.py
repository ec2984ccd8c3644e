"""The semi-supervised GAN recipe (Salimans et al. 2016).

The discriminator is a classifier with K class logits. It rates an image as real if the sum of the
logits' exponentials is large. It learns the classes from the labelled set, and to tell real from
generated images from all images, which moves its features towards the clusters of the data. For a
strongly transformed unlabelled image it must predict the class that the moving average of its
weights predicts with confidence for a weakly transformed one (FixMatch, Sohn et al. 2020). The
generator is trained to match the mean of these features (section 3.1). The final model is the
moving average of the discriminator's weights at the last step, so no labels are needed to select a
checkpoint.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, gan, pretext, query, train
from jaxlabel.config import MapConfig, setting
from jaxlabel.log import Log
from jaxlabel.nets import linear
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor, predict_all
from jaxlabel.query import Labelled


@dataclasses.dataclass
class Config(MapConfig, gan.Settings):
    """Settings of the semi-supervised GAN; configs/sgan.py has examples."""

    query: str = setting(
        "random", "query strategy: which images are labelled", choices=query.STRATEGIES, own=True
    )
    rounds: int = setting(
        1, "how many times labels are bought; if the query needs a trained model, a first round "
        "with typiclust is added", low=1,
    )  # fmt: skip
    components: int = setting(
        64, "number of principal components that query strategies work on", low=1
    )
    given: str = setting(
        "pixels", "input of the principal components: pixels, or oriented gradients",
        choices=pretext.COMPONENT_INPUTS,
    )  # fmt: skip


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """Train a semi-supervised GAN, buy labels in rounds, and return the GAN's classifier.

    The GAN's discriminator is this classifier.

    Raises:
      UsageError: the budget buys no label.
    """
    capacity = query.num_labels_in_budget(oracle, len(images))
    start_key, latent_key, loop_key = jax.random.split(key, 3)
    state = gan.start(config, images.shape[1:], oracle.num_classes, start_key)
    latents = jax.random.normal(latent_key, (gan.MEASURED, config.latent))
    step = gan.make_step(config, config.kind)
    labelled = query.NO_LABELS
    counts = query.labels_per_round(config.query, capacity, config.rounds)
    for number, count in enumerate(counts):
        ask_key, fit_key = jax.random.split(jax.random.fold_in(loop_key, number))
        is_first = query.needs_model(config.query) and not number
        strategy = "typiclust" if is_first else config.query
        labelled = query.buy_by(
            strategy, oracle, log, ask_key, labelled, count, number, len(images),
            functools.partial(query_features, config, strategy, images),
            functools.partial(predict_all, state.average, images, oracle.num_classes),
        )  # fmt: skip
        log.scalars("rounds", number, {"labels_spent": len(labelled.indices)})
        data = gan.pad(images, labelled.indices, labelled.labels, capacity, latents)
        ends = [config.steps * i // len(counts) for i in (number, number + 1)]
        state = train_round(config, step, state, data, (ends[0], ends[1]), fit_key, log)
    return make_predictor(config, images, state, labelled)


def query_features(
    config: Config, strategy: str, images: UInt8[np.ndarray, "n h w c"]
) -> Float[np.ndarray, "n d"]:
    """Return the features by which a query strategy without a model chooses images to label.

    They are principal components of the images; zeros for random queries, which look at none.
    """
    if strategy == "random":
        return np.zeros((len(images), 1), np.float32)
    return np.asarray(pretext.input_components(images, config.components, config.given))


def train_round(
    config: Config, step: Any, state: gan.State, data: gan.Data, ends: tuple[int, int],
    key: Key[Array, ""], log: Log,
) -> gan.State:  # fmt: skip
    """Train the GAN for one round, log generated images on the way, and return the GAN's new state.

    Args:
      step: the function that does one training step.
      state: the state of the GAN before the round.
      data: the training images and the labels bought so far.
      ends: the step at which the round starts and the step at which it ends, counted from the start
        of the run.
    """
    first, last = ends
    snapshots = gan.snapshot_steps(config)
    name, done = f"sgan_{first}" if first else "sgan", 0
    for end in sorted({*snapshots[(snapshots > first) & (snapshots < last)].tolist(), last}):
        state = train.loop(
            step, state, data, key, log, name=name, num_steps=end - first, first_step=done
        )
        done = end - first
        if end in snapshots:
            log_snapshot(snapshots, int(np.searchsorted(snapshots, end)), state, log)
    return state


def log_snapshot(
    snapshots: Int[np.ndarray, "snapshots"], index: int, state: gan.State, log: Log
) -> None:
    """Generate images with the current state of the GAN, and log them with their measured quality.

    The images and quality measures of this and all earlier snapshots are also saved in a file, from
    which the report draws a figure.

    Args:
      snapshots: the training steps at which snapshots are made.
      index: the position of this snapshot in `snapshots`.
      state: the state of the GAN.
    """
    until_now = slice(0, index + 1)
    columns = np.asarray(state.measures[until_now], float).T
    measures = dict(zip(gan.Measures._fields, columns, strict=True))
    samples = np.asarray(state.samples[until_now])
    log.scalars("generated", int(snapshots[index]), {name: v[-1] for name, v in measures.items()})
    log.images("generated", int(snapshots[index]), samples[-1])
    log.arrays("generated", steps=snapshots[until_now], images=samples, **measures)


def make_predictor(
    config: Config, images: UInt8[np.ndarray, "n h w c"], state: gan.State, labelled: Labelled
) -> Predictor:
    """Return the result of a run: classifier, class of every image, quality of generated images.

    The class of a labelled image is its label; the class of any other image is the one that the
    classifier predicts.
    """
    mirror = config.augment and augment.keeps_class_mirrored(config.kind)
    model = linear.Ensemble([state.average], mirror)
    features, probabilities = predict_all(model, images, state.average.num_classes)
    labels = probabilities.argmax(axis=-1).astype(np.int32)
    labels[labelled.indices] = labelled.labels
    rows = np.asarray(state.measures).tolist()
    history = [dict(zip(gan.Measures._fields, row, strict=True)) for row in rows]
    summary = {**history[-1], "verdict": gan.verdict(history)}
    return Predictor(model, labels, features, "budget", summary)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained classifier from an `nnx.Rngs`.

    To load a saved model, the caller builds a network with this function and then overwrites its
    weights with the saved ones.
    """
    make = gan.make_discriminator(config, shape, num_classes)
    mirror = config.augment and augment.keeps_class_mirrored(config.kind)
    return lambda rngs: linear.Ensemble([make(rngs)], mirror)
