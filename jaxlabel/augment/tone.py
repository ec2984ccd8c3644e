"""How bright pixels are: from uint8 to float32, contrast, brightness, gamma, colour."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
TO_YIQ = np.array(
    [LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], np.float32
)


def as_float(images: UInt8[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
    """float32 images in [0, 1]."""
    return images.astype(jnp.float32) / 255


def tone(
    key: Key[Array, ""],
    images: Float[Array, "batch h w c"],
    *,
    contrast: float,
    brightness: float = 0.0,
    gamma: float = 0.0,
) -> Float[Array, "batch h w c"]:
    """Each image with its values stretched about its mean, moved and bent, cut off at [0, 1].

    Args:
      contrast: the stretch is drawn from 1 - contrast to 1 + contrast.
      brightness: what is added is drawn from -brightness to brightness.
      gamma: x becomes x + g x (1 - x) with g from -gamma to gamma, at most 1: the curve of a
        power without its logarithms.
    """
    draws = jax.random.uniform(key, (3, len(images), 1, 1, 1), minval=-1.0, maxval=1.0)
    bent = images + gamma * draws[0] * images * (1 - images)
    mean = jnp.mean(bent, axis=(1, 2, 3), keepdims=True)
    stretched = mean + (1 + contrast * draws[1]) * (bent - mean) + brightness * draws[2]
    return jnp.clip(stretched, 0.0, 1.0)


def jitter(
    key: Key[Array, ""],
    images: Float[Array, "batch h w 3"],
    *,
    strength: float = 0.5,
    probability: float = 0.8,
    grey: float = 0.2,
) -> Float[Array, "batch h w 3"]:
    """Colour jitter and random grey (Chen et al. 2020, SimCLR, appendix A), red, green, blue.

    Brightness, contrast and saturation vary by 0.8 `strength`, the hue by 0.2 `strength` of the
    circle: it is turned in the YIQ space, where saturation and hue are a matrix per image.
    """
    value_key, jitter_key, grey_key = jax.random.split(key, 3)
    draws = jax.random.uniform(value_key, (4, len(images)), minval=-1.0, maxval=1.0)
    jittered = jax.random.bernoulli(jitter_key, probability, (len(images),))
    draws = jnp.where(jittered, draws, 0.0)
    bright, stretch, colour = 1 + 0.8 * strength * draws[:3]
    without = jax.random.bernoulli(grey_key, grey, (len(images),))
    colour = jnp.where(without, 0.0, colour)
    angle = 2 * jnp.pi * 0.2 * strength * draws[3]
    cos, sin, none, one = jnp.cos(angle), jnp.sin(angle), 0 * angle, 1 + 0 * angle
    turn = jnp.stack([
        jnp.stack([one, none, none], axis=-1),
        jnp.stack([none, colour * cos, -colour * sin], axis=-1),
        jnp.stack([none, colour * sin, colour * cos], axis=-1),
    ], axis=1)  # fmt: skip
    mixing = bright[:, None, None] * (np.linalg.inv(TO_YIQ) @ turn @ TO_YIQ)
    mixed = jnp.einsum("nhwc,ndc->nhwd", images, mixing)
    mean = jnp.mean(mixed @ LUMA, axis=(1, 2))[:, None, None, None]
    return jnp.clip(mean + stretch[:, None, None, None] * (mixed - mean), 0.0, 1.0)
