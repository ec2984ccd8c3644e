"""The scikit-learn digits (1,297 images of 8x8 to learn from), labelled by medoid doubling.

    jaxlabel train --config=configs/digits.py --workdir=runs/digits

98.0% test accuracy (97.2 to 98.8, 5 seeds) with 64 labels, 15 to 24 s on one CPU core.
The variant `:pixels` does without the autoencoder, which such small images do not need: 98.4%.
"""

from jaxlabel.methods import medoids


def get_config(variant: str = "") -> medoids.Config:
    """The settings: 64 labels, all of them spent."""
    if variant not in ("", "pixels"):
        raise ValueError(f"there is no variant {variant!r}: it is pixels, or none")
    return medoids.Config(
        data="digits", budget=64, target=1.0, neighbours=7, spread="cluster",
        autoencoder="none" if variant else "dense", width=256, code_steps=1000,
        classifier_steps=1000, batch_size=128,
    )  # fmt: skip
