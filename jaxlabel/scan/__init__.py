"""The steps of SCAN (clustering images with a network) and of naming the clusters by few labels."""

from jaxlabel.scan.guard import Guard, advice, measure, reason_worse
from jaxlabel.scan.heads import (
    Assigner,
    Heads,
    best_head,
    fit_heads,
    match_to_prior,
    pretrain_heads,
)
from jaxlabel.scan.mining import Mined, mine
from jaxlabel.scan.montage import log_labelled, majority, show
from jaxlabel.scan.naming import Named, ask_clusters, label_all_by_graph, label_new_clusters
from jaxlabel.scan.self_labelling import train_on_own_assignments, train_on_probabilities, vote

__all__ = [
    "Assigner",
    "Guard",
    "Heads",
    "Mined",
    "Named",
    "advice",
    "ask_clusters",
    "best_head",
    "fit_heads",
    "label_all_by_graph",
    "label_new_clusters",
    "log_labelled",
    "majority",
    "match_to_prior",
    "measure",
    "mine",
    "pretrain_heads",
    "reason_worse",
    "show",
    "train_on_own_assignments",
    "train_on_probabilities",
    "vote",
]
