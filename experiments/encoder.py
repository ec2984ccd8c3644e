"""S1: classifiers on an autoencoder's encoder, with growing numbers of random labels.

    jaxlabel sweep --experiment=experiments/encoder.py --data_root=DIR --jobs=2 --publish \
        --workdir=runs/encoder

DIR contains the folder fashion_mnist with its four IDX files. S1 reports 90.13% with 5,999 labels.
The two encoders are fully connected; the input of one is the pixels, that of the other oriented
gradients (Dalal & Triggs 2005).
"""

from dataclasses import replace

from jaxlabel.methods import encoder
from jaxlabel.sweep import Arm, Experiment, Table

FASHION = "idx:DATA_ROOT/fashion_mnist"
LABELS = [1000.0, 2000.0, 4000.0, 5999.0]


def get_experiment(quick: bool = False) -> Experiment:
    """Return the experiment, with one table.

    Args:
      quick: run one seed, one number of labels and short training.
    """
    base = encoder.Config(data=FASHION)
    if quick:
        base = replace(base, code_steps=200, steps=300)
    grid = {"budget": LABELS[:1] if quick else LABELS}
    theirs = [None, None, None, 0.9013]
    seeds = range(1 if quick else 3)
    oriented = replace(base, network="gradients", code=384, steps=300 if quick else 3000)
    arms = [
        Arm("encoder of gradients and head", oriented, grid, seeds, [] if quick else theirs),
        Arm("encoder of pixels and head", base, grid, seeds, [] if quick else theirs),
        Arm("LR on the codes of gradients", replace(oriented, frozen=True), grid, seeds,
            [] if quick else theirs),
        Arm("encoder of pixels, LR on its codes", replace(base, frozen=True), grid, seeds,
            [] if quick else theirs),
    ]  # fmt: skip
    question = "How many random labels does an autoencoder's encoder take to 90%?"
    return Experiment(question, [Table("S1: an autoencoder's encoder on Fashion-MNIST", arms)])
