"""The settings of semi-supervised training, which a recipe's own `Config` inherits."""

import dataclasses

from jaxlabel.config import setting

# what an objective's unlabelled loss weighs against the labelled one, as its paper has it
WEIGHTS = {
    "supervised": 0.0, "pseudo_label": 3.0, "mean_teacher": 10.0, "vat": 1.0, "mixmatch": 75.0,
    "fixmatch": 1.0, "flexmatch": 1.0, "freematch": 1.0, "softmatch": 1.0, "graph": 1.0,
}  # fmt: skip
NAMES = tuple(WEIGHTS)
WITH_GRAPH_TARGETS = (
    "fixmatch",
    "flexmatch",
    "freematch",
    "softmatch",
)  # whose first targets may be a graph's
ALIGNMENTS = ("none", "uniform", "labelled")


@dataclasses.dataclass
class Settings:
    """How a classifier is trained on labelled and unlabelled images."""

    objective: str = setting(
        "freematch", "what is asked of unlabelled images", choices=NAMES, own=True
    )
    steps: int = setting(5000, "training steps, of all rounds together", low=1)
    batch_size: int = setting(64, "labelled images in a step", low=1)
    mu: int = setting(3, "unlabelled images in a step, as a multiple of the labelled", low=1)
    learning_rate: float = setting(2e-3, "at its peak", low=0.0)
    weight_decay: float = setting(5e-3, "AdamW's", low=0.0)
    ema: float = setting(0.995, "the teacher's decay", low=0.0, high=1.0)
    threshold: float = setting(
        0.95, "the confidence that a pseudo-label takes; freematch: at most", low=0.0, high=1.0
    )
    alignment: str = setting(
        "uniform",
        "what predictions are to average to: nothing, all classes alike (outside information), or "
        "the classes' shares among paid labels",
        choices=ALIGNMENTS,
    )
    weight: float = setting(-1.0, "of the unlabelled loss; negative: the objective's own", low=-1.0)
    ramp: float = setting(
        0.1, "the share of the steps over which the unlabelled loss gains its weight", low=0.0,
        high=1.0,
    )  # fmt: skip
    temperature: float = setting(0.5, "mixmatch: what sharpens guesses", low=0.01)
    radius: float = setting(2.0, "vat: length of the perturbation, pixels in [0, 1]", low=0.0)
    graph_targets: float = setting(
        0.0, "fixmatch and its kin: the share of the steps over which labels spread on the graph "
        "are let go as targets; 0: never used", low=0.0, high=1.0,
    )  # fmt: skip
    graph_targets_until: int = setting(
        0, "the number of paid labels above which they are not used, as the network knows more "
        "than the graph; 0: used with any number", low=0,
    )  # fmt: skip
    graph_targets_share: float = setting(
        0.6, "the surest share of each class's spread labels that is taken for a target", low=0.0,
        high=1.0,
    )  # fmt: skip

    @property
    def unlabelled_weight(self) -> float:
        """What the unlabelled loss weighs."""
        return self.weight if self.weight >= 0 else WEIGHTS.get(self.objective, 1.0)
