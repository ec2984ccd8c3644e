"""A semi-supervised GAN (Salimans et al. 2016): a classifier that also tells real from generated.

The discriminator has K class logits; an image is the more real, the larger the sum of their
exponentials. It learns the classes from labels that were bought, and from all the images and the
generator's what real images are like, which pulls its features to where the data's clusters are.
The generator matches the mean of those features (section 3.1). What is deployed are the class
logits of the discriminator's moving average at the last step: no label picks a checkpoint.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int, Key, UInt8

from jaxlabel import augment, gan, pretext, query, train
from jaxlabel.config import RunConfig, setting
from jaxlabel.log import Log
from jaxlabel.nets import linear
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor, predict_all
from jaxlabel.query import Labelled


@dataclasses.dataclass
class Config(RunConfig, gan.Settings):
    """Settings of the semi-supervised GAN; configs/sgan.py has them per data set."""

    query: str = setting(
        "random", "which images are asked about", choices=query.STRATEGIES, own=True
    )
    rounds: int = setting(
        1, "how many times labels are bought; where the query needs a model, typiclust comes first",
        low=1,
    )  # fmt: skip
    components: int = setting(64, "principal components of the space of the query", low=1)
    given: str = setting(
        "pixels", "what they are of: pixels, or oriented gradients", choices=pretext.GIVEN
    )


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """The average discriminator as a classifier, after adversarial training."""
    capacity = query.plan(oracle, len(images))
    start_key, latent_key, loop_key = jax.random.split(key, 3)
    state = gan.start(config, images.shape[1:], oracle.num_classes, start_key)
    latents = jax.random.normal(latent_key, (gan.MEASURED, config.latent))
    step = gan.make_step(config, config.kind)
    labelled = query.NO_LABELS
    counts = purchases(config, capacity)
    for number, count in enumerate(counts):
        ask_key, fit_key = jax.random.split(jax.random.fold_in(loop_key, number))
        labelled = buy(config, images, state.average, labelled, count, number, oracle, ask_key, log)
        log.scalars("rounds", number, {"labels_spent": len(labelled.indices)})
        data = gan.pad(images, labelled.indices, labelled.labels, capacity, latents)
        ends = [config.steps * i // len(counts) for i in (number, number + 1)]
        state = fit(config, step, state, data, (ends[0], ends[1]), fit_key, log)
    return finish(config, images, state, labelled)


def purchases(config: Config, capacity: int) -> list[int]:
    """How many labels each round buys: even shares, after a third for the start of a model."""
    first = 0
    if query.needs_model(config.query):
        first = max(1, capacity // 3)
    edges = [first + (capacity - first) * i // config.rounds for i in range(config.rounds + 1)]
    return [b - a for a, b in zip([0, *edges], edges, strict=False) if b > a]


def buy(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    model: Any,
    labelled: Labelled,
    count: int,
    number: int,
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Labelled:
    """What was paid for before, and `count` labels more, as far as the money goes."""

    def choose() -> Int[np.ndarray, "count"]:
        strategy, probabilities = config.query, None
        if query.needs_model(strategy) and not number:
            strategy = "typiclust"
        if query.needs_model(strategy):
            predictions = predict_all(model, images, oracle.num_classes)
            features, probabilities = predictions.features, jnp.asarray(predictions.probabilities)
        elif strategy == "random":
            features = np.zeros((len(images), 1), np.float32)
        else:
            features = np.asarray(pretext.given_points(images, config.components, config.given))
        return query.select_affordable(
            oracle, strategy, key, jnp.asarray(features), count, labelled.indices, probabilities
        )

    wanted = query.chosen(log, number, count, len(images), labelled, choose)
    return query.buy(oracle, labelled, wanted, number)


def fit(
    config: Config, step: Any, state: gan.State, data: gan.Data, ends: tuple[int, int],
    key: Key[Array, ""], log: Log,
) -> gan.State:  # fmt: skip
    """The state after the steps of one round; samples of the generator go to the log on the way."""
    first, last = ends
    moments = gan.snapshot_steps(config)
    name, done = f"sgan_{first}" if first else "sgan", 0
    for moment in sorted({*moments[(moments > first) & (moments < last)].tolist(), last}):
        state = train.loop(
            step, state, data, key, log, name=name, num_steps=moment - first, first_step=done
        )
        done = moment - first
        if moment in moments:
            show(moments, int(np.searchsorted(moments, moment)), state, log)
    return state


def show(moments: Int[np.ndarray, "snapshots"], index: int, state: gan.State, log: Log) -> None:
    """Writes a snapshot to the log, and all until then to where the report finds them."""
    seen = slice(0, index + 1)
    columns = np.asarray(state.measures[seen], float).T
    measures = dict(zip(gan.Measures._fields, columns, strict=True))
    samples = np.asarray(state.samples[seen])
    log.scalars("generated", int(moments[index]), {name: v[-1] for name, v in measures.items()})
    log.images("generated", int(moments[index]), samples[-1])
    log.arrays("generated", steps=moments[seen], images=samples, **measures)


def finish(
    config: Config, images: UInt8[np.ndarray, "n h w c"], state: gan.State, labelled: Labelled
) -> Predictor:
    """The deployed classifier, a class of every image, and what became of the generator."""
    features, probabilities = predict_all(state.average, images, state.average.num_classes)
    labels = probabilities.argmax(axis=-1).astype(np.int32)
    labels[labelled.indices] = labelled.labels
    rows = np.asarray(state.measures).tolist()
    history = [dict(zip(gan.Measures._fields, row, strict=True)) for row in rows]
    summary = {**history[-1], "verdict": gan.verdict(history)}
    return Predictor(deployed(config, state.average), labels, features, "budget", summary)


def deployed(config: Config, model: Any) -> linear.Ensemble:
    """The model on both sides of what may be mirrored."""
    mirror = config.augment and config.kind in augment.MIRRORED_KINDS
    return linear.Ensemble([model], mirror)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """What makes the whole classifier from random number generators: to load it."""
    make = gan.make_discriminator(config, shape, num_classes)

    def ensemble(rngs: nnx.Rngs) -> linear.Ensemble:
        return deployed(config, make(rngs))

    return ensemble
