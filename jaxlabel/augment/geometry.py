"""Random geometric transforms: affine transforms, crops, shifts, flips, and erased squares."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from jaxlabel.nets import native

Images = Float[Array, "batch h w c"]
Transform = Callable[[Key[Array, ""], Images], Images]


def warp(
    images: Images,
    matrices: Float[Array, "batch 2 2"],
    offsets: Float[Array, "batch 2"],
    reach: tuple[int, int],
) -> Images:
    """Apply an affine transform to each image, given by one matrix and one offset per image.

    The output pixel at position p is the input at position M (p - c) + c + offset, where M is the
    image's matrix and c the image's centre. Positions are in (row, column) order. Values are
    interpolated linearly, first along rows, then along columns (Catmull & Smith 1980). Each of the
    two passes is computed as a weighted sum of shifted copies of the image. (To look up each output
    pixel by its position takes more than twice as long on a CPU: experiments/scan.md.) Output
    pixels whose position is outside the image are black.

    Args:
      matrices: the matrix M of each image. The upper left element of M must not be near 0, so
        rotations near 90 degrees do not work.
      offsets: the offset of each image, in pixels.
      reach: the largest distances, in pixels, by which any pixel moves: first the vertical one,
        then the horizontal one.
    """
    height, width = images.shape[1:3]
    rows, columns = jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2
    (a, b), (c, d) = jnp.moveaxis(matrices, 0, -1)[..., None, None]
    down, right = offsets.T[..., None, None]
    slope = c / a
    across = slope * (rows[:, None] - down) + (d - slope * b) * columns + right
    along = a * rows[:, None] + b * columns + down
    images = _shift_pixels(images, across - columns, reach[1], axis=2)
    return _shift_pixels(images, along - rows[:, None], reach[0], axis=1)


def _shift_pixels(
    images: Images, moves: Float[Array, "batch h w"], reach: int, axis: int
) -> Images:
    """Move each pixel along one axis by its own distance, with linear interpolation.

    Each output pixel is the input at a position `moves` pixels further along the axis; it is black
    if that position is outside the image.

    Args:
      moves: the distance of each pixel, in pixels, between -`reach` and `reach`.
    """
    side = images.shape[axis]
    reach = min(reach, side)
    padding = [(0, 0)] * 4
    padding[axis] = (reach, reach)
    # Without the barriers, XLA would recompute these arrays for each of their uses.
    padded, moves = lax.optimization_barrier((jnp.pad(images, padding), moves))
    total = jnp.zeros_like(images)
    for step in range(2 * reach + 1):
        weights = jnp.maximum(1 - jnp.abs(moves - (step - reach)), 0.0)
        total += weights[..., None] * lax.slice_in_dim(padded, step, step + side, axis=axis)
    return lax.optimization_barrier(total)


def deform(*, max_shift: float, max_rotation: float, max_scale: float) -> Transform:
    """Return a function of (key, images) that shifts, rotates, and scales each image at random.

    The amounts are drawn uniformly and independently for each image.

    Args:
      max_shift: the largest shift along each axis, as a fraction of the image's side.
      max_rotation: the largest rotation, in radians.
      max_scale: each axis is scaled by a factor between 1 - max_scale and 1 + max_scale.
    """

    def transform(key: Key[Array, ""], images: Images) -> Images:
        draws = jax.random.uniform(key, (len(images), 5), minval=-1.0, maxval=1.0)
        angle = draws[:, 0] * max_rotation
        rows, columns = 1 + draws[:, 1] * max_scale, 1 + draws[:, 2] * max_scale
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        top = jnp.stack([cos / rows, -sin / rows], axis=-1)
        bottom = jnp.stack([sin / columns, cos / columns], axis=-1)
        height, width = images.shape[1:3]
        side = jnp.array([height, width], jnp.float32)
        return warp(images, jnp.stack([top, bottom], axis=1), draws[:, 3:] * max_shift * side,
                    reach(height, width))  # fmt: skip

    def reach(height: int, width: int) -> tuple[int, int]:
        smallest, largest, turn = 1 - max_scale, 1 + max_scale, max_rotation
        slope = math.tan(turn) * largest / smallest
        stretch = max(1 / smallest - 1, 1 - math.cos(turn) / largest)
        squeeze = max(1 / (math.cos(turn) * smallest) - 1, 1 - 1 / largest)
        down = (stretch / 2 + max_shift) * height + math.sin(turn) / smallest * width / 2
        across = (squeeze / 2 + max_shift) * width + slope * (0.5 + max_shift) * height
        return math.ceil(down), math.ceil(across)

    return transform


def crop(smallest: float, *, max_ratio: float = 4 / 3) -> Transform:
    """Return a function of (key, images) that enlarges a random rectangle of each image.

    The rectangle is cut out and enlarged to the size of the image. As in Szegedy et al. 2015, its
    area is drawn uniformly, and the ratio of its sides log-uniformly from [1/max_ratio, max_ratio].

    Args:
      smallest: the smallest area, as a fraction of the image's area.
      max_ratio: the largest ratio of the rectangle's sides.
    """

    def transform(key: Key[Array, ""], images: Images) -> Images:
        height, width = images.shape[1:3]
        draws = jax.random.uniform(key, (len(images), 4))
        area = smallest + draws[:, 0] * (1 - smallest)
        root = jnp.exp((draws[:, 1] - 0.5) * math.log(max_ratio))
        sides = jnp.minimum(jnp.sqrt(area)[:, None] * jnp.stack([root, 1 / root], axis=1), 1.0)
        room = (1 - sides) * jnp.array([height, width], jnp.float32)
        offsets = (draws[:, 2:] - 0.5) * room
        rows = _interpolation_matrices(height, sides[:, 0], offsets[:, 0])
        columns = _interpolation_matrices(width, sides[:, 1], offsets[:, 1])
        across = jnp.einsum("nhwc,nvw->nhvc", images, columns)
        return jnp.einsum("nhvc,nuh->nuvc", across, rows)

    return transform


def _interpolation_matrices(
    side: int, scale: Float[Array, "batch"], offset: Float[Array, "batch"]
) -> Float[Array, "batch side side"]:
    """Return one matrix per image that scales and shifts a row or column of pixels.

    Multiplying the matrix by a line of `side` pixels resamples the line by linear interpolation.

    Args:
      side: the number of pixels of the line.
      scale: for each image, the distance between neighbouring output pixels, in input pixels.
      offset: for each image, the shift of the line's centre, in pixels.
    """
    centred = jnp.arange(side) - (side - 1) / 2
    sources = scale[:, None] * centred + offset[:, None] + (side - 1) / 2
    sources = jnp.clip(sources, 0.0, side - 1.0)
    return jnp.maximum(1 - jnp.abs(sources[:, :, None] - jnp.arange(side)), 0.0)


def shift(key: Key[Array, ""], images: Images, max_shift: float) -> Images:
    """Shift each image by a random whole number of pixels along each axis; fill gaps with black.

    Args:
      max_shift: the largest shift along an axis, as a fraction of the image's side.
    """
    height, width = images.shape[1:3]
    reach = (round(max_shift * height), round(max_shift * width))
    row_key, column_key = jax.random.split(key)
    rows = jax.random.randint(row_key, (len(images),), 0, 2 * reach[0] + 1)
    columns = jax.random.randint(column_key, (len(images),), 0, 2 * reach[1] + 1)
    padded = jnp.pad(images, ((0, 0), (reach[0], reach[0]), (reach[1], reach[1]), (0, 0)))

    def window(image: Float[Array, "..."], row: Array, column: Array) -> Float[Array, "h w c"]:
        return jax.lax.dynamic_slice(image, (row, column, 0), images.shape[1:])

    return jax.vmap(window)(padded, rows, columns)


def flip(key: Key[Array, ""], images: Images) -> Images:
    """Mirror each image left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(mirrored, reversed_along(images, axis=2), images)


def reversed_along(images: Images, axis: int) -> Images:
    """Reverse the order of the images' pixels along an axis.

    On a CPU, XLA takes ten times longer to reverse an array than to concatenate its slices in
    reverse order, so this function concatenates slices. It uses XLA's own reversal for sides of
    more than 64 pixels, and wherever XLA's kernels are selected (see the setting `cpu_kernels`):
    there, results shall stay as they are, and slices could change the rounding of later
    computations.
    """
    side = images.shape[axis]
    if side > 64 or native.selected().name == "xla":  # more slices take longer to compile
        return lax.rev(images, (axis,))
    slices = [lax.slice_in_dim(images, i, i + 1, axis=axis) for i in range(side)]
    return lax.concatenate(slices[::-1], axis)


def turn(key: Key[Array, ""], images: Images) -> Images:
    """Apply one of the eight symmetries of the square, chosen at random, to each image.

    The symmetries are the rotations by multiples of 90 degrees and their mirror images. Images that
    are not square are only mirrored at random, left to right and upside down.
    """
    row_key, column_key, swap_key = jax.random.split(key, 3)
    upside_down = jax.random.bernoulli(row_key, shape=(len(images), 1, 1, 1))
    images = flip(column_key, jnp.where(upside_down, reversed_along(images, axis=1), images))
    if images.shape[1] != images.shape[2]:
        return images
    swapped = jax.random.bernoulli(swap_key, shape=(len(images), 1, 1, 1))
    return jnp.where(swapped, jnp.swapaxes(images, 1, 2), images)


def erase(key: Key[Array, ""], images: Images, side: float, *, fill: float = 0.0) -> Images:
    """Overwrite a square at a random position in each image with the value `fill` (cutout).

    DeVries & Taylor 2017. The square's centre is drawn uniformly from the whole image, so part of
    the square may lie outside.

    Args:
      side: the square's side, as a fraction of the image's side.
      fill: the pixel value inside the square.
    """
    height, width = images.shape[1:3]
    centres = jax.random.uniform(key, (2, len(images), 1)) * jnp.array([[[height]], [[width]]])
    rows = jnp.abs(jnp.arange(height) + 0.5 - centres[0]) < side * height / 2
    columns = jnp.abs(jnp.arange(width) + 0.5 - centres[1]) < side * width / 2
    return jnp.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, images)
