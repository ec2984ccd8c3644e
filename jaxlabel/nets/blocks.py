"""Rearrangements between 2x2 blocks of pixels and channels."""

from jaxtyping import Array, Float


def space_to_depth(images: Float[Array, "batch h w c"]) -> Float[Array, "batch h/2 w/2 4*c"]:
    """Move each 2x2 block of pixels into the channels: half the sides, 4 times the channels.

    The height and the width must be even.
    """
    n, h, w, c = images.shape
    blocks = images.reshape(n, h // 2, 2, w // 2, 2, c)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


def depth_to_space(images: Float[Array, "batch h w 4*c"]) -> Float[Array, "batch 2*h 2*w c"]:
    """Move the channels back into 2x2 blocks of pixels: the inverse of `space_to_depth`."""
    n, h, w, c = images.shape
    blocks = images.reshape(n, h, w, 2, 2, c // 4)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)
