import jax
import numpy as np
import pytest

from jaxlabel.log import NullLog
from jaxlabel.pretext import autoencoder

SETTINGS = {"code": 3, "width": 64, "num_steps": 250, "batch_size": 32}
# Bars that differ only in position, so that one number describes an image.
PLACES = np.random.default_rng(0).integers(0, 6, 120)
IMAGES = np.zeros((120, 6, 6, 1), np.uint8)
IMAGES[np.arange(120), :, PLACES] = 255


@pytest.fixture(autouse=True)
def _learn_faster(monkeypatch):
    monkeypatch.setattr(autoencoder, "LEARNING_RATE", 1e-2)


class Pictures(NullLog):
    """A log that stores the arrays in memory."""

    def __init__(self):
        self.kept = {}

    def arrays(self, name, **arrays):
        self.kept[name] = arrays


@pytest.mark.parametrize("network", ["dense", "conv"])
def test_codes_tell_images_apart_and_decode_to_them(network):
    log = Pictures()
    codes = autoencoder.learn_codes(
        network, IMAGES, jax.random.key(0), log, deformed=0.0, **SETTINGS
    )
    assert codes.shape == (120, 3)
    same = PLACES[:, None] == PLACES
    away = np.linalg.norm(codes[:, None] - codes, axis=-1)
    assert away[same].max() < 1e-3 < 0.1 < away[~same].min()
    shown = log.kept["reconstructions"]
    np.testing.assert_array_equal(shown["originals"], IMAGES[:20])
    error = np.abs(shown["reconstructions"].astype(int) - IMAGES[:20])
    assert error.mean() < 255 * 0.12


def test_denoising_and_the_key_change_the_codes():
    one, again, moved = (
        autoencoder.learn_codes(
            "dense", IMAGES, jax.random.key(1), NullLog(), deformed=much, **SETTINGS
        )
        for much in (0.0, 0.0, 1.0)
    )
    np.testing.assert_array_equal(one, again)
    assert np.any(one != moved)
