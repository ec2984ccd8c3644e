"""Small convolutional networks."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxlabel.nets.blocks import space_to_depth
from jaxlabel.nets.layers import BiasedConv, Conv, GroupNorm, GroupNormRelu, compute_dtype


class ConvClassifier(nnx.Module):
    """A small convnet: two 3x3 convolutions, each on a halved side, GroupNorm, a dense head.

    Halving by space-to-depth keeps every convolution's stride at one, which is what XLA does best
    on a CPU. `features` are the last hidden layer, (batch, hidden).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_classes: int,
        rngs: nnx.Rngs,
        width: int = 32,
        hidden: int = 128,
    ):
        height, wide, channels = shape
        self.padding = ((0, 0), (0, -height % 4), (0, -wide % 4), (0, 0))
        cells = ((height + 3) // 4) * ((wide + 3) // 4)
        init = nnx.initializers.he_normal()
        self.convolutions = nnx.List(
            [
                BiasedConv(channels * 4, width, (3, 3), kernel_init=init, rngs=rngs),
                BiasedConv(width * 4, 2 * width, (3, 3), kernel_init=init, rngs=rngs),
            ]
        )
        self.norms = nnx.List(
            [
                GroupNormRelu(width, num_groups=8, rngs=rngs),
                GroupNormRelu(2 * width, num_groups=8, rngs=rngs),
            ]
        )
        self.hidden = nnx.Linear(cells * 2 * width, hidden, kernel_init=init, rngs=rngs)
        self.head = nnx.Linear(hidden, num_classes, rngs=rngs)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        hidden = jnp.pad(images, self.padding)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = norm(convolution(space_to_depth(hidden)))
        return jax.nn.relu(self.hidden(hidden.reshape(len(hidden), -1)))

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        return self.head(self.features(images))


class ConvNet(nnx.Module):
    """An encoder of small images: six 3x3 convolutions, in pairs at a half, a quarter, an eighth.

    The first halving moves blocks of 2x2 pixels into the channels, the others take means. Twice,
    four and four times `width` channels; GroupNorm and leaky ReLU after each convolution; the mean
    over positions at the end, so that any side will do. At full resolution few channels make the
    slowest convolutions and the largest arrays of all: experiments/train_step.md has the times.
    """

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, width: int = 16):
        two, four = 2 * width, 4 * width
        channels = (4 * shape[-1], two, two, four, four, four, four)
        self.num_features = four
        self.convolutions = nnx.List([Conv(i, o, rngs) for i, o in itertools.pairwise(channels)])
        self.norms = nnx.List([GroupNorm(o) for o in channels[1:]])

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        hidden = space_to_depth(even(images.astype(compute_dtype())))
        layers = zip(self.convolutions, self.norms, strict=True)
        for number, (convolution, norm) in enumerate(layers):
            if number in (2, 4):
                hidden = halve(hidden)
            hidden = norm(convolution(hidden), negative_slope=0.1)
        return hidden.astype(jnp.float32).mean((1, 2))


def even(images: Float[Array, "batch h w c"]) -> Float[Array, "batch h+h%2 w+w%2 c"]:
    """The images with even sides: an odd last row or column is repeated."""
    _, h, w, _ = images.shape
    if h % 2 == 0 and w % 2 == 0:
        return images
    return jnp.pad(images, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge")


def halve(images: Float[Array, "batch h w c"]) -> Float[Array, "batch h/2 w/2 c"]:
    """Average blocks of 2x2 pixels, in float32: XLA pads bfloat16 arrays slowly on a CPU."""
    wide = even(images.astype(jnp.float32))
    n, h, w, c = wide.shape
    means = wide.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
    return means.astype(images.dtype)
