"""Rearrangements between 2x2 blocks of pixels and channels."""

from jaxtyping import Array, Float

from jaxlabel.nets.operations import operation


@operation
def space_to_depth(images: Float[Array, "batch h w c"]) -> Float[Array, "batch h/2 w/2 4*c"]:
    """Reshape images so that each 2x2 block of pixels becomes one pixel with 4 times the channels.

    Height and width must be even. An array (batch, h, w, c) becomes (batch, h/2, w/2, 4c).
    """
    n, h, w, c = images.shape
    blocks = images.reshape(n, h // 2, 2, w // 2, 2, c)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


def depth_to_space(images: Float[Array, "batch h w 4*c"]) -> Float[Array, "batch 2*h 2*w c"]:
    """Reshape images so that each pixel becomes a 2x2 block of pixels with a quarter the channels.

    This is the inverse of `space_to_depth`: an array (batch, h, w, 4c) becomes (batch, 2h, 2w, c).
    """
    n, h, w, c = images.shape
    blocks = images.reshape(n, h, w, 2, 2, c // 4)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)
