"""The steps of SCAN, which clusters images with a network."""

from jaxlabel.scan.guard import Guard, advice, measure, reason_worse
from jaxlabel.scan.heads import (
    Assigner,
    Heads,
    best_head,
    clustering_step,
    fit_heads,
    match_to_prior,
    pretrain_heads,
)
from jaxlabel.scan.mining import Mined, mine
from jaxlabel.scan.montage import log_labelled, majority, show
from jaxlabel.scan.self_labelling import train_on_own_assignments
from jaxlabel.scan.typical import typical_images

__all__ = [
    "Assigner",
    "Guard",
    "Heads",
    "Mined",
    "advice",
    "best_head",
    "clustering_step",
    "fit_heads",
    "log_labelled",
    "majority",
    "match_to_prior",
    "measure",
    "mine",
    "pretrain_heads",
    "reason_worse",
    "show",
    "train_on_own_assignments",
    "typical_images",
]
