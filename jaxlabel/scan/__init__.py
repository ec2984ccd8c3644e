"""The steps of SCAN: mine neighbours, train cluster heads, self-label, check, and name clusters."""

from jaxlabel.scan.guard import Guard, advice, measure, worse
from jaxlabel.scan.heads import Assigner, Heads, best_head, by_size, fit_heads, teach_heads
from jaxlabel.scan.mining import Mined, mine
from jaxlabel.scan.montage import majority, show, show_asked
from jaxlabel.scan.naming import Named, ask_clusters, ask_fresh, spread_names
from jaxlabel.scan.self_labelling import learn_from_itself, learn_shares, vote

__all__ = [
    "Assigner",
    "Guard",
    "Heads",
    "Mined",
    "Named",
    "advice",
    "ask_clusters",
    "ask_fresh",
    "best_head",
    "by_size",
    "fit_heads",
    "learn_from_itself",
    "learn_shares",
    "majority",
    "measure",
    "mine",
    "show",
    "show_asked",
    "spread_names",
    "teach_heads",
    "vote",
    "worse",
]
