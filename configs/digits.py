"""The scikit-learn digits (1,297 images of 8x8 to learn from), labelled by medoid doubling.

jaxlabel train --config=configs/digits.py --workdir=runs/digits
"""

from jaxlabel.methods import medoids


def get_config() -> medoids.Config:
    """The settings."""
    return medoids.Config(data="digits", budget=64, target=1.0)
