"""The transforms that recipes use, by the kind of the data set: weak, strong, contrastive."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jaxlabel.augment.geometry import Images, Transform, crop, deform, erase, flip, shift, turn
from jaxlabel.augment.tone import jitter, tone
from jaxlabel.config import is_own, own_part

MIRRORED_KINDS = ("clothes", "overhead", "objects")


def mirror(kind: str, key: Key[Array, ""], images: Images) -> Images:
    """The symmetries of the kind: what is seen from above has no upside, clothes have no right."""
    if kind == "overhead":
        return turn(key, images)
    return flip(key, images) if kind in MIRRORED_KINDS else images


def weak(kind: str, *, max_shift: float = 0.08) -> Transform:
    """The transform that every image of the kind survives: a small shift, and a flip where it may.

    Args:
      kind: the data set's kind, as `data.Dataset.kind`.
      max_shift: the largest shift, as a share of the side.
    """
    if is_own(kind):
        return _own(kind, "weak")

    def transform(key: Key[Array, ""], images: Images) -> Images:
        shift_key, flip_key = jax.random.split(key)
        images = shift(shift_key, images, max_shift)
        return mirror(kind, flip_key, images)

    return transform


def strong(kind: str) -> Transform:
    """The transform under which a class is to be kept (Sohn et al. 2020, FixMatch, section 2.3).

    An affine transform, a flip where it may be, contrast, brightness and gamma, in colour also
    the jitter of colours, and a square erased: in place of random choices among many operations,
    all of a few that are quick on the device.
    """
    if is_own(kind):
        return _own(kind, "strong")
    move = deform(max_shift=0.1, max_rotation=0.3, max_scale=0.15)

    def transform(key: Key[Array, ""], images: Images) -> Images:
        move_key, flip_key, tone_key, colour_key, erase_key = jax.random.split(key, 5)
        images = move(move_key, images)
        images = mirror(kind, flip_key, images)
        images = tone(tone_key, images, contrast=0.4, brightness=0.1, gamma=0.6)
        if images.shape[-1] == 3:
            images = jitter(colour_key, images, grey=0.1)
        return erase(erase_key, images, 0.4, fill=0.5 if images.shape[-1] == 3 else 0.0)

    return transform


def contrastive(kind: str, *, strength: float = 1.0) -> Transform:
    """The transform whose two outcomes are a positive pair (Chen et al. 2020, SimCLR, section 3).

    For photographs in colour it is the paper's, with crops of at least a fifth. Grey images are
    small and centred: crops would throw away the alignment in which they differ, so they are
    moved, turned and scaled a little, their contrast changes, and a square is erased.

    Args:
      strength: for grey images, how far all of this goes.
    """
    if is_own(kind):
        return _own(kind, "contrastive")
    move = deform(max_shift=0.07 * strength, max_rotation=0.15 * strength,
                  max_scale=0.12 * strength)  # fmt: skip
    part = crop(0.2)

    def transform(key: Key[Array, ""], images: Images) -> Images:
        move_key, flip_key, tone_key, erase_key = jax.random.split(key, 4)
        colour = images.shape[-1] == 3
        images = (part if colour else move)(move_key, images)
        images = mirror(kind, flip_key, images)
        if colour:
            return jitter(tone_key, images)
        images = tone(tone_key, images, contrast=0.3 * strength, gamma=0.4 * strength)
        size_key, place_key = jax.random.split(erase_key)
        erased = erase(place_key, images, 0.35 * strength)
        some = jax.random.bernoulli(size_key, 0.5, (len(images), 1, 1, 1))
        return jnp.where(some, erased, images)

    return transform


def _own(kind: str, view: str) -> Transform:
    """Return the transform of a kind `module:function`: what that function returns for the view.

    Args:
      view: "weak", "strong" or "contrastive".
    """
    transform: Transform = own_part(kind, "config.kind")(view)
    return transform
