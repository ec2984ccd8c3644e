"""Trainings and predictions whose results must not depend on the number of devices.

python tests/many_devices.py 8 results.npz    # on 8 devices, which XLA simulates on a CPU
"""

import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from logs import Memory

from jaxlabel import data, pretext, semisupervised, train
from jaxlabel.methods.semisup import Config
from jaxlabel.nets import devices, native
from jaxlabel.predictor import predict_probabilities
from jaxlabel.semisupervised.pretraining import contrastive_settings
from jaxlabel.semisupervised.setup import initial_state

IMAGES = data.load("digits").train_images[:400]
CONFIG = Config(network="dense", width=8, steps=40, batch_size=12, mu=3, kind="digits")


class Losses(Memory):
    """A log that keeps the loss of every step."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def scalars(self, phase, step, values):
        self.losses.append(values["loss"])


def labelled_data() -> semisupervised.Data:
    """Return the images with invented labels of the first 20."""
    targets, prior = np.zeros((len(IMAGES), 10)), np.full(10, 0.1)
    return semisupervised.pad(IMAGES, np.arange(20), np.arange(20) % 10, 24, targets, prior)


def results() -> dict[str, np.ndarray]:
    """Train a classifier and a contrastive encoder, and return their losses and predictions."""
    key, log, other = jax.random.key(3), Losses(), Losses()
    step = semisupervised.make_step(CONFIG, semisupervised.views_of("digits"))
    state = initial_state(CONFIG, IMAGES, 10, key)
    state = train.loop(
        step, state, labelled_data(), key, log, name="a", num_steps=40, steps_per_call=1
    )
    streamed = Losses()
    with mock.patch.object(devices, "memory", lambda: 1):  # the images stay on the host
        train.loop(
            step, initial_state(CONFIG, IMAGES, 10, key), labelled_data(), key, streamed,
            name="a", num_steps=10, steps_per_call=1,
        )  # fmt: skip
    settings = contrastive_settings("dense", 8, 20, batch_size=30)
    optimizer = pretext.make_optimizer(settings)
    model = train.init(pretext.make_projected(settings, IMAGES.shape[1:]), key)
    found = train.loop(
        pretext.contrastive_step(settings, "digits", optimizer),
        train.State(model, optimizer.init(model)), IMAGES, key, other,
        name="b", num_steps=20, steps_per_call=1,
    )  # fmt: skip
    return {
        "rows": np.asarray(jax.jit(lambda: train.draw(key, jnp.arange(400), 60))()),
        "semisup": np.array(log.losses),
        "streamed": np.array(streamed.losses),
        "contrastive": np.array(other.losses),
        "probabilities": predict_probabilities(state.teacher, IMAGES),
        "features": pretext.features_of(found.model.encoder, IMAGES),
        "teacher_devices": np.array([len(leaf.devices()) for leaf in jax.tree.leaves(state)]),
    }


if __name__ == "__main__":
    devices.select(int(sys.argv[1]))
    print(native.select("auto"))
    np.savez(sys.argv[2], **results())
