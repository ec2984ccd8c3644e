"""Changes of pixel values: uint8 to float32, contrast, brightness, gamma, and colour."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel.nets import devices

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
TO_YIQ = np.array(
    [LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], np.float32
)


def as_float(
    images: UInt8[Array, "batch h w c"] | Float[Array, "batch h w c"],
) -> Float[Array, "batch h w c"]:
    """Convert uint8 images with values from 0 to 255 to float32 images in [0, 1].

    Arrays of floats, such as feature vectors in the place of images, are returned unchanged.
    """
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images
    return images.astype(jnp.float32) / 255


def pixel_vectors(images: UInt8[np.ndarray, "n h w c"]) -> Float[Array, "n pixels"]:
    """Return all images on the device, each as a vector of its pixels in [0, 1].

    Raises:
      UsageError: the vectors do not fit the device's memory.
    """
    devices.check_room(4 * images.size, "the pixels of all images, as float32,")
    return as_float(jnp.asarray(images)).reshape(len(images), -1)


def tone(
    key: Key[Array, ""],
    images: Float[Array, "batch h w c"],
    *,
    contrast: float,
    brightness: float = 0.0,
    gamma: float = 0.0,
) -> Float[Array, "batch h w c"]:
    """Change the gamma, contrast, and brightness of each image at random; clip values to [0, 1].

    Args:
      contrast: the differences of the image's values from their mean are multiplied by a random
        factor between 1 - contrast and 1 + contrast.
      brightness: a random constant between -brightness and brightness is added to the image.
      gamma: each value x becomes x + g x (1 - x), where g is random between -gamma and gamma. This
        approximates a gamma curve without logarithms. `gamma` must be at most 1.
    """
    draws = jax.random.uniform(key, (3, len(images), 1, 1, 1), minval=-1.0, maxval=1.0)
    bent = images + gamma * draws[0] * images * (1 - images)
    mean = jnp.mean(bent, axis=(1, 2, 3), keepdims=True)
    stretched = mean + (1 + contrast * draws[1]) * (bent - mean) + brightness * draws[2]
    return jnp.clip(stretched, 0.0, 1.0)


JITTER = 0.5  # the strength of the colour changes, the paper's s for CIFAR-10


def jitter(
    key: Key[Array, ""],
    images: Float[Array, "batch h w 3"],
    *,
    probability: float = 0.8,
    grey: float = 0.2,
) -> Float[Array, "batch h w 3"]:
    """Jitter the colours of RGB images at random, and turn some images grey (SimCLR).

    Chen et al. 2020, appendix A. Brightness, contrast, and saturation are each multiplied by a
    random factor between 1 - 0.8 s and 1 + 0.8 s, where s is 0.5. The hue is rotated by a
    random fraction of the colour circle, up to 0.2 s. The computation uses the YIQ colour space,
    where one matrix per image changes both saturation and hue.

    Args:
      probability: the probability that an image's colours are jittered.
      grey: the probability that an image becomes grey.
    """
    value_key, jitter_key, grey_key = jax.random.split(key, 3)
    draws = jax.random.uniform(value_key, (4, len(images)), minval=-1.0, maxval=1.0)
    jittered = jax.random.bernoulli(jitter_key, probability, (len(images),))
    draws = jnp.where(jittered, draws, 0.0)
    bright, stretch, colour = 1 + 0.8 * JITTER * draws[:3]
    is_grey = jax.random.bernoulli(grey_key, grey, (len(images),))
    colour = jnp.where(is_grey, 0.0, colour)
    angle = 2 * jnp.pi * 0.2 * JITTER * draws[3]
    cos, sin, zero, one = jnp.cos(angle), jnp.sin(angle), 0 * angle, 1 + 0 * angle
    turn = jnp.stack([
        jnp.stack([one, zero, zero], axis=-1),
        jnp.stack([zero, colour * cos, -colour * sin], axis=-1),
        jnp.stack([zero, colour * sin, colour * cos], axis=-1),
    ], axis=1)  # fmt: skip
    mixing = bright[:, None, None] * (np.linalg.inv(TO_YIQ) @ turn @ TO_YIQ)
    mixed = jnp.einsum("nhwc,ndc->nhwd", images, mixing)
    mean = jnp.mean(mixed @ LUMA, axis=(1, 2))[:, None, None, None]
    return jnp.clip(mean + stretch[:, None, None, None] * (mixed - mean), 0.0, 1.0)
