"""ResNet-18 for images of 28 to 64 pixels."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxlabel.nets.layers import Conv, GroupNorm, compute_dtype


class Block(nnx.Module):
    """A basic residual block of a ResNet (He et al. 2016, fig. 5 left), with GroupNorm.

    The shortcut connection is a 1x1 convolution if the stride is not 1 or the number of channels
    changes; otherwise it is the identity.
    """

    def __init__(self, channels: int, features: int, stride: int, rngs: nnx.Rngs):
        self.first = Conv(channels, features, rngs, stride=stride)
        self.first_norm = GroupNorm(features, num_groups=32)
        self.second = Conv(features, features, rngs)
        self.second_norm = GroupNorm(features, num_groups=32)
        identity = stride == 1 and channels == features
        self.shortcut = None if identity else Conv(channels, features, rngs, side=1, stride=stride)
        self.shortcut_norm = None if identity else GroupNorm(features, num_groups=32)

    def __call__(self, images: Float[Array, "batch h w i"]) -> Float[Array, "batch h/s w/s o"]:
        hidden = self.first_norm(self.first(images), negative_slope=0.0)
        hidden = self.second_norm(self.second(hidden))
        if self.shortcut is not None and self.shortcut_norm is not None:
            images = self.shortcut_norm(self.shortcut(images))
        return jax.nn.relu(hidden + images)


class ResNet18(nnx.Module):
    """A ResNet-18 encoder (He et al. 2016, table 1) for small images, with GroupNorm for BatchNorm.

    The first layer is a 3x3 convolution of stride 1 without max-pooling, as SimCLR uses for
    CIFAR-10 (Chen et al. 2020, appendix B.9). The four stages have 1, 2, 4, and 8 times `width`
    channels.
    """

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, width: int = 64):
        self.num_features = 8 * width
        self.stem = Conv(shape[-1], width, rngs)
        self.stem_norm = GroupNorm(width, num_groups=32)
        blocks, channels = [], width
        for stage in range(4):
            features = width * 2**stage
            blocks.append(Block(channels, features, 1 if stage == 0 else 2, rngs))
            blocks.append(Block(features, features, 1, rngs))
            channels = features
        self.blocks = nnx.List(blocks)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        hidden = self.stem_norm(self.stem(images.astype(compute_dtype())), negative_slope=0.0)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden.astype(jnp.float32).mean((1, 2))
