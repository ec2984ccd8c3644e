"""Settings of semi-supervised training, which the settings of several training methods inherit."""

import dataclasses

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
    weight_decay: float = setting(5e-3, "weight decay of AdamW", low=0.0)
    ema: float = setting(
        0.995, "decay of the moving average of weights that is the teacher", low=0.0, high=1.0
    )
    threshold: float = setting(
        0.95, "confidence above which a prediction becomes a pseudo-label; freematch: the largest "
        "such threshold", low=0.0, high=1.0,
    )  # fmt: skip
    alignment: str = setting(
        "uniform", "distribution that the mean prediction is aligned to: none, all classes equally "
        "frequent (outside information), or the class shares in the labelled set",
        choices=ALIGNMENTS,
    )  # fmt: skip
    weight: float = setting(
        -1.0, "weight of the unlabelled loss; negative: the default of the objective", low=-1.0
    )
    ramp: float = setting(
        0.1, "share of the steps over which the weight of the unlabelled loss grows from 0 to its "
        "full value", low=0.0, high=1.0,
    )  # fmt: skip
    temperature: float = setting(
        0.5, "mixmatch: temperature that sharpens the predictions", low=0.01
    )
    radius: float = setting(2.0, "vat: length of the perturbation, for pixels in [0, 1]", low=0.0)
    graph_targets: float = setting(
        0.0, "fixmatch, flexmatch, freematch, softmatch: share of the steps over which labels "
        "propagated over the graph serve as targets, with falling weight; 0: never", low=0.0,
        high=1.0,
    )  # fmt: skip
    graph_targets_until: int = setting(
        0, "with more labels than this, graph targets are not used, as the network is then better "
        "than the graph; 0: no limit", low=0,
    )  # fmt: skip
    graph_targets_share: float = setting(
        0.6, "share of each class's propagated labels that become targets, the most certain first",
        low=0.0, high=1.0,
    )  # fmt: skip

    @property
    def unlabelled_weight(self) -> float:
        """The weight of the loss on unlabelled images, relative to that on labelled ones.

        It is the setting `weight`, or the default of the training objective if `weight` is
        negative.
        """
        return self.weight if self.weight >= 0 else WEIGHTS.get(self.objective, 1.0)
