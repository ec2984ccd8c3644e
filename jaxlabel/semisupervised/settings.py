"""Settings of semi-supervised training, which the settings of several training methods inherit."""

import dataclasses

from jaxlabel import nets
from jaxlabel.config import setting

# the weight of each objective's unlabelled loss relative to the labelled loss, from its paper
WEIGHTS = {
    "supervised": 0.0, "pseudo_label": 3.0, "mean_teacher": 10.0, "vat": 1.0, "mixmatch": 75.0,
    "fixmatch": 1.0, "flexmatch": 1.0, "freematch": 1.0, "softmatch": 1.0, "graph": 1.0,
}  # fmt: skip
NAMES = tuple(WEIGHTS)
# objectives that can start with labels propagated over the graph as their targets
WITH_GRAPH_TARGETS = ("fixmatch", "flexmatch", "freematch", "softmatch")
ALIGNMENTS = ("none", "uniform", "labelled")
# Up to this number of labels, labels propagated over a neighbour graph are right more often than
# the network's predictions: they serve as targets, and the network is refined
# (experiments/flagship.md).
FEW = 150


@dataclasses.dataclass
class Settings:
    """Settings for training a classifier on labelled and unlabelled images."""

    objective: str = setting(
        "freematch", "training objective for unlabelled images", choices=NAMES, own=True
    )
    steps: int = setting(5000, "training steps of all rounds together", low=1)
    batch_size: int = setting(64, "labelled images in a mini-batch", low=1)
    mu: int = setting(
        3, "unlabelled images in a mini-batch, as a multiple of the labelled ones", low=1
    )
    learning_rate: float = setting(2e-3, "peak learning rate", low=0.0)
    alignment: str = setting(
        "uniform", "distribution that the mean prediction is aligned to: none, all classes equally "
        "frequent (outside information), or the class shares in the labelled set; supervised, "
        "pseudo_label, mean_teacher, vat and mixmatch ignore it",
        choices=ALIGNMENTS,
    )  # fmt: skip

    @property
    def ema(self) -> float:
        """The decay of the moving average of the network's weights, which is the teacher.

        It averages over some 200 steps, or over some 1,000 in a training of at least 10,000 steps.
        """
        return 0.995 if self.steps < 10_000 else 0.999

    @property
    def weight_decay(self) -> float:
        """The weight decay of AdamW."""
        return nets.WEIGHT_DECAY

    @property
    def graph_targets(self) -> float:
        """The share of the steps over which propagated labels serve as targets; 0: never.

        Their weight falls linearly to 0 over these steps. Propagated labels are those that label
        propagation over the neighbour graph gives to the images.
        """
        return 1.0

    @property
    def unlabelled_weight(self) -> float:
        """The weight of the loss on unlabelled images, relative to that on labelled ones."""
        return WEIGHTS.get(self.objective, 1.0)

    def uses_graph_targets(self, num_labels: int) -> bool:
        """Return True if training on `num_labels` labels also uses labels from label propagation.

        Label propagation gives every image a class over the graph of nearest neighbours.
        """
        few = self.objective in WITH_GRAPH_TARGETS and num_labels <= FEW
        return self.objective == "graph" or (few and self.graph_targets > 0)
