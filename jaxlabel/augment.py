"""Random image transforms on the device, and the one place where uint8 becomes float32.

A transform takes `(key, images)` with float32 images (batch, height, width, channels) in [0, 1]
and returns images of the same shape. Which transforms keep the label is a matter of the kind of
data set: clothes may be mirrored, digits never.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

Transform = Callable[[Key[Array, ""], Float[Array, "batch h w c"]], Float[Array, "batch h w c"]]

MIRRORED_KINDS = ("clothes", "overhead", "objects")


def as_float(images: UInt8[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
    """float32 images in [0, 1]."""
    return images.astype(jnp.float32) / 255


def weak(kind: str, *, max_shift: float = 0.08) -> Transform:
    """The transform that every image of the kind survives: a small shift, and a flip where it may.

    Args:
      kind: the data set's kind, as `data.Dataset.kind`.
      max_shift: the largest shift, as a share of the side.
    """

    def transform(
        key: Key[Array, ""], images: Float[Array, "batch h w c"]
    ) -> Float[Array, "batch h w c"]:
        shift_key, flip_key = jax.random.split(key)
        images = shift(shift_key, images, max_shift)
        return flip(flip_key, images) if kind in MIRRORED_KINDS else images

    return transform


def deform(*, max_shift: float, max_rotation: float, max_scale: float) -> Transform:
    """A random affine transform per image: shift (share of the side), rotation (radians), scale.

    The scale is drawn from [1 - max_scale, 1 + max_scale] for each axis on its own.
    """

    def transform(
        key: Key[Array, ""], images: Float[Array, "batch h w c"]
    ) -> Float[Array, "batch h w c"]:
        draws = jax.random.uniform(key, (len(images), 5), minval=-1.0, maxval=1.0)
        angle = draws[:, 0] * max_rotation
        rows, columns = 1 + draws[:, 1] * max_scale, 1 + draws[:, 2] * max_scale
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        top = jnp.stack([cos / rows, -sin / rows], axis=-1)
        bottom = jnp.stack([sin / columns, cos / columns], axis=-1)
        side = jnp.array(images.shape[1:3], jnp.float32)
        return jax.vmap(resample)(
            images, jnp.stack([top, bottom], axis=1), draws[:, 3:] * max_shift * side
        )

    return transform


def resample(
    image: Float[Array, "h w c"], matrix: Float[Array, "2 2"], offset: Float[Array, "2"]
) -> Float[Array, "h w c"]:
    """The image whose pixel p is the input at `matrix @ (p - centre) + centre + offset`.

    Bilinear; outside the image is black.
    """
    height, width = image.shape[:2]
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"), axis=-1)
    source = (grid - centre) @ matrix.T + centre + offset
    low = jnp.floor(source)
    part = source - low
    total = jnp.zeros_like(image)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at = low.astype(jnp.int32) + jnp.array(corner)
        weight = jnp.prod(jnp.where(jnp.array(corner) == 1, part, 1 - part), axis=-1)
        inside = jnp.all((at >= 0) & (at < jnp.array([height, width])), axis=-1)
        row, column = jnp.clip(at[..., 0], 0, height - 1), jnp.clip(at[..., 1], 0, width - 1)
        total += (weight * inside)[..., None] * image[row, column]
    return total


def shift(
    key: Key[Array, ""], images: Float[Array, "batch h w c"], max_shift: float
) -> Float[Array, "batch h w c"]:
    """Each image moved by whole pixels, at most `max_shift` of its side, black moving in."""
    height, width = images.shape[1:3]
    reach = (round(max_shift * height), round(max_shift * width))
    row_key, column_key = jax.random.split(key)
    rows = jax.random.randint(row_key, (len(images),), 0, 2 * reach[0] + 1)
    columns = jax.random.randint(column_key, (len(images),), 0, 2 * reach[1] + 1)
    padded = jnp.pad(images, ((0, 0), (reach[0], reach[0]), (reach[1], reach[1]), (0, 0)))

    def window(image: Float[Array, "..."], row: Array, column: Array) -> Float[Array, "h w c"]:
        return jax.lax.dynamic_slice(image, (row, column, 0), images.shape[1:])

    return jax.vmap(window)(padded, rows, columns)


def flip(key: Key[Array, ""], images: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
    """Each image mirrored left to right with probability one half."""
    mirrored = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)
