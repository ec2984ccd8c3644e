"""Semi-supervised learning: one training step for several objectives, and label propagation."""

from jaxlabel.semisupervised.propagation import neighbour_graph, propagate
from jaxlabel.semisupervised.settings import ALIGNMENTS, NAMES, Settings
from jaxlabel.semisupervised.training import Data, State, make_step, pad, start, views_of

__all__ = [
    "ALIGNMENTS",
    "NAMES",
    "Data",
    "Settings",
    "State",
    "make_step",
    "neighbour_graph",
    "pad",
    "propagate",
    "start",
    "views_of",
]
