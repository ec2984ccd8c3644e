"""The weak, strong, and contrastive augmentations for each kind of data set."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jaxlabel.augment.geometry import Images, Transform, crop, deform, erase, flip, shift, turn
from jaxlabel.augment.tone import jitter, tone
from jaxlabel.config import is_own, own_part

MIRRORED_KINDS = ("clothes", "overhead", "objects")
# The largest rotation of the strong augmentation, in radians. Clothes and photographed objects are
# upright in pictures: half of the rotation gains a quarter of a point on clothes and a point on
# objects, and loses half a point on images seen from above (experiments/flagship.md).
ROTATION, UPRIGHT_ROTATION = 0.3, 0.15
UPRIGHT_KINDS = ("clothes", "objects")
FEATURES = "features"  # the kind of feature vectors in the place of images, (batch, 1, 1, d)


def keeps_class_mirrored(kind: str) -> bool:
    """Return True if an image of this kind keeps its class when it is mirrored left to right.

    Args:
      kind: what the images show. True for "clothes", unlike "digits".
    """
    return kind in MIRRORED_KINDS


def mirror(kind: str, key: Key[Array, ""], images: Images) -> Images:
    """Mirror or rotate each image at random in a way that does not change its class.

    Args:
      kind: what the images show, which decides how they change. "overhead" images (seen from above)
        get a random one of the eight symmetries of the square. "clothes" and "objects" are mirrored
        left to right with probability 1/2. Images of other kinds, such as "digits", are returned
        unchanged.
    """
    if kind == "overhead":
        return turn(key, images)
    return flip(key, images) if keeps_class_mirrored(kind) else images


def weak(kind: str, *, max_shift: float = 0.08) -> Transform:
    """Return the weak augmentation, a function of (key, images) that slightly changes each image.

    It shifts each image at random and, if `kind` allows it, mirrors it (see `mirror`).

    Args:
      kind: what the images show, such as "digits" or "clothes". Or "module:function", the user's
        own function: called with "weak", it returns the augmentation to use.
      max_shift: the largest shift, as a fraction of the image's side.
    """
    if is_own(kind):
        return _own_augmentation(kind, "weak")
    if kind == FEATURES:
        return perturb(noise=0.1, dropped=0.0)

    def transform(key: Key[Array, ""], images: Images) -> Images:
        shift_key, flip_key = jax.random.split(key)
        images = shift(shift_key, images, max_shift)
        return mirror(kind, flip_key, images)

    return transform


def strong(kind: str) -> Transform:
    """Return the strong augmentation for pseudo-labels, a function of (key, images).

    It changes the images on which a network is trained with pseudo-labels, as in FixMatch (Sohn et
    al. 2020, section 2.3). It applies a random affine transform, a flip if `kind` allows it (see
    `mirror`), random changes of contrast, brightness, and gamma, colour jitter on colour images,
    and an erased square. The paper draws a few operations at random from a long list; this function
    always applies all of its few, which are fast on a GPU.

    Args:
      kind: what the images show, such as "digits" or "clothes". Or "module:function", the user's
        own function: called with "strong", it returns the augmentation to use.
    """
    if is_own(kind):
        return _own_augmentation(kind, "strong")
    if kind == FEATURES:
        return perturb(noise=0.3, dropped=0.2)
    rotation = UPRIGHT_ROTATION if kind in UPRIGHT_KINDS else ROTATION
    move = deform(max_shift=0.1, max_rotation=rotation, max_scale=0.15)

    def transform(key: Key[Array, ""], images: Images) -> Images:
        move_key, flip_key, tone_key, colour_key, erase_key = jax.random.split(key, 5)
        images = move(move_key, images)
        images = mirror(kind, flip_key, images)
        images = tone(tone_key, images, contrast=0.4, brightness=0.1, gamma=0.6)
        if images.shape[-1] == 3:
            images = jitter(colour_key, images, grey=0.1)
        return erase(erase_key, images, 0.4, fill=0.5 if images.shape[-1] == 3 else 0.0)

    return transform


def perturb(*, noise: float, dropped: float) -> Transform:
    """Return the augmentation of feature vectors: added noise, and numbers set to 0 at random.

    The features must be centred, with a root mean square of 1.

    Args:
      noise: the standard deviation of the Gaussian noise that is added to each number.
      dropped: the probability that a number is set to 0.
    """

    def transform(key: Key[Array, ""], images: Images) -> Images:
        noise_key, drop_key = jax.random.split(key)
        noisy = images + noise * jax.random.normal(noise_key, images.shape)
        kept = jax.random.bernoulli(drop_key, 1 - dropped, images.shape)
        return jnp.where(kept, noisy, 0.0)

    return transform


def contrastive(kind: str) -> Transform:
    """Return the augmentation for contrastive learning, a function of (key, images).

    In SimCLR (Chen et al. 2020, section 3), two augmentations of an image are a positive pair.
    Colour images get the augmentation of the paper, with crops of at least a fifth of the area.
    Grey images are small and centred, and their classes differ in the positions of lines and edges,
    so they are not cropped. They get small random shifts, rotations, and scalings, changes of
    contrast and gamma, and with probability 1/2 an erased square.

    Args:
      kind: what the images show, such as "digits" or "clothes"; it decides whether images are
        mirrored (see `mirror`). Or "module:function", the user's own function: called with
        "contrastive", it returns the augmentation to use.
    """
    if is_own(kind):
        return _own_augmentation(kind, "contrastive")
    move = deform(max_shift=0.07, max_rotation=0.15, max_scale=0.12)
    part = crop(0.2)

    def transform(key: Key[Array, ""], images: Images) -> Images:
        move_key, flip_key, tone_key, erase_key = jax.random.split(key, 4)
        colour = images.shape[-1] == 3
        images = (part if colour else move)(move_key, images)
        images = mirror(kind, flip_key, images)
        if colour:
            return jitter(tone_key, images)
        images = tone(tone_key, images, contrast=0.3, gamma=0.4)
        size_key, place_key = jax.random.split(erase_key)
        erased = erase(place_key, images, 0.35)
        is_erased = jax.random.bernoulli(size_key, 0.5, (len(images), 1, 1, 1))
        return jnp.where(is_erased, erased, images)

    return transform


def _own_augmentation(kind: str, view: str) -> Transform:
    """Return the augmentation that the user's own function makes.

    Args:
      kind: the user's function, in the form "module:function". It gets the name of the augmentation
        and returns a function of (key, images).
      view: the name of the augmentation: "weak", "strong", or "contrastive".
    """
    transform: Transform = own_part(kind, "config.kind")(view)
    return transform
