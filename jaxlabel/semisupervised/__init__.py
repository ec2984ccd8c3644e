"""Semi-supervised learning: one training step for several objectives, and label propagation."""

from jaxlabel.semisupervised.pretraining import STARTS, pretrained
from jaxlabel.semisupervised.propagation import METHODS as PROPAGATIONS
from jaxlabel.semisupervised.propagation import neighbour_graph, propagate, propagation_input
from jaxlabel.semisupervised.settings import ALIGNMENTS, NAMES, Settings
from jaxlabel.semisupervised.training import Data, State, make_step, pad, start, views_of

__all__ = [
    "ALIGNMENTS",
    "NAMES",
    "PROPAGATIONS",
    "STARTS",
    "Data",
    "Settings",
    "State",
    "make_step",
    "neighbour_graph",
    "pad",
    "pretrained",
    "propagate",
    "propagation_input",
    "start",
    "views_of",
]
