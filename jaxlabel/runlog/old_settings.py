"""Settings of earlier versions that were renamed or removed since version 0.1.0."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxlabel.config import RENAMED_VALUES
from jaxlabel.errors import UsageError, did_you_mean

# the old name of a setting and its new name
RENAMED = {
    "first": "initial_labels",
    "first_query": "initial_query",
    "guide": "graph_targets",
    "guide_share": "graph_targets_share",
    "guide_until": "graph_targets_until",
    "scout_until": "sequential_until",
    "scouts": "sequential_batch",
}

# the objectives that use propagated labels, and the kinds of data sets that hold their labels
PROPAGATING = ("graph", "fixmatch", "flexmatch", "freematch", "softmatch")
RECORDED = ("digits", "idx", "tfds", "npz")


class Removed(NamedTuple):
    """A setting that was removed, and the rule that replaced it.

    Attributes:
      reason: what the recipe does today, to complete the sentence "config.NAME was removed: ...".
      same: the old values that agree with the rule; empty if the old value does not matter.
      beside: a setting that all recipes have that lost this one.
    """

    reason: str
    same: tuple[Any, ...] = ()
    beside: str = "objective"


# First settings of the flagship, and most of them of the recipe semisup as well (those with a
# setting `objective`). Then settings of simclr and scan (those with a setting `pretext_steps`).
REMOVED = {
    "members": Removed("one network is trained, as three were no more accurate", (1,)),
    "distil_steps": Removed("one network is trained, and there are no others to distil"),
    "weight": Removed("the unlabelled loss has the weight of the objective's paper", (-1.0,)),
    "ramp": Removed("the weight of the unlabelled loss grows over a tenth of the steps", (0.1,)),
    "temperature": Removed("mixmatch sharpens with the temperature 0.5", (0.5,)),
    "radius": Removed("the length of VAT's perturbation is 2", (2.0,)),
    "threshold": Removed("a prediction is a pseudo-label if its confidence is above 0.95", (0.95,)),
    "propagation": Removed("labels are propagated by Poisson learning", ("poisson",)),
    "neighbours": Removed("the graph has 10 neighbours of each image", (10,)),
    "components": Removed("there are 64 principal components", (64,)),
    "given": Removed("principal components are those of oriented gradients", ("gradients",)),
    "pool": Removed("a round chooses from 20,000 images", (20000,)),
    "space": Removed("queries and the graph work on principal components and, with "
                     "contrast_steps, contrastive features", ("pca",)),
    "start": Removed("the network starts from random weights", ("scratch",)),
    "code_steps": Removed("no autoencoder is trained"),
    "graph_targets": Removed("propagated labels are targets with at most 150 labels", (1.0,)),
    "graph_targets_until": Removed("propagated labels are targets with at most 150 labels", (150,)),
    "graph_targets_share": Removed("the most certain 60% of the propagated labels are targets",
                                   (0.6,)),
    "graph_until": Removed("config.objective says what the network learns"),
    "typical_until": Removed("with at most 15 labels the first are chosen by typiclust", (15,)),
    "initial_query": Removed("the first labels are chosen by config.query or, if that needs a "
                             "trained model, they are medoids", ("medoids",)),
    "refine_steps": Removed("a refinement has config.steps / 15 steps, but at least 400"),
    "refine_until": Removed("the network is refined with at most 150 labels", (150,)),
    "audit_share": Removed("0.4 of the budget is reserved for audits", (0.4,)),
    "population": Removed("a certificate is of the images that were not labelled", (False,)),
    "ema": Removed("the teacher's decay is 0.995, in trainings of at least 10,000 steps 0.999"),
    "growth": Removed("each round increases the number of labels by the factor 1.6", (1.6,),
                      "confidence"),
    "round_steps": Removed("a round has config.steps / 3 steps", beside="confidence"),
    "sequential_until": Removed("a run with contrast_steps or refinements asks sequential queries "
                                "up to the 100th label", beside="confidence"),
    "sequential_batch": Removed("sequential queries are asked one at a time, or 20 at a time if "
                                "somebody has to be asked for labels", beside="confidence"),
    "weight_decay": Removed("the weight decay follows from the network: 0.3 for "
                            "fine_gradient_conv, linear and hidden, 0.005 for others"),
    "pretext_decay": Removed("the encoder's weight decay is 0.0001", (1e-4,), "pretext_steps"),
    "strength": Removed("the random transforms of grey images have a fixed strength", (1.0,),
                        "pretext_steps"),
    "partners": Removed("both views show the same image", (0,), "pretext_steps"),
    "partner_share": Removed("both views show the same image", (), "pretext_steps"),
    "student": Removed("self-labelling trains the encoder itself", ("same",), "pretext_steps"),
    "student_width": Removed("self-labelling trains the encoder itself", (), "pretext_steps"),
    "unlabelled_weight": Removed("telling real from generated images has the weight 1", (1.0,),
                                 "discriminator_noise"),
    "entropy_weight": Removed("the GAN's loss has no term for the entropy of the classes", (0.0,),
                              "discriminator_noise"),
    "map": Removed("the report of this recipe has no map of the images", (), "data"),
}  # fmt: skip


def with_current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an earlier version's run with today's names and values.

    The default objective of earlier flagships was called "auto", and before that "freematch" (those
    runs have the setting `population`). Both trained by "graph" if there were few training labels,
    and by FreeMatch otherwise.
    """
    renamed = {RENAMED.get(name, name): value for name, value in settings.items()}
    earlier_flagship = "population" in renamed and renamed.get("objective") == "freematch"
    if earlier_flagship or renamed.get("objective") == "auto":
        few = _num_training_labels(renamed) <= renamed.get("graph_until", 40)
        renamed["objective"] = "graph" if few else "freematch"
    for (name, old), new in RENAMED_VALUES.items():
        if renamed.get(name) == old:
            renamed[name] = new
    return renamed


def without_removed(settings: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without the removed ones whose value is what every run has today.

    Args:
      settings: the settings of an earlier run by name, from `with_current_names`.
      wanted: the settings of a run of today by name: all that its recipe has.
    """
    known = wanted.keys()
    return {
        name: value
        for name, value in settings.items()
        if name in known or name not in REMOVED or not holds_today(name, settings)
    }


def holds_today(name: str, settings: Mapping[str, Any]) -> bool:
    """Return True if the value of a removed setting is what every run has today.

    Args:
      name: the name of the removed setting.
      settings: the settings of an earlier run by name.
    """
    value, same = settings[name], REMOVED[name].same
    steps = int(settings.get("steps", 5000))
    if name in ("refine_steps", "refine_until") and not settings.get("refinements"):
        return True  # there is no refinement, whatever its settings
    if name == "refine_steps":
        return bool(value == min(steps, max(400, steps // 15)))
    if name == "round_steps":
        return bool(value == max(1, steps // 3))
    if name == "ema":
        return bool(value == (0.995 if settings.get("steps", 0) < 10_000 else 0.999))
    if name == "graph_targets_until" and not settings.get("graph_targets"):
        return True
    if name in ("graph_targets_until", "refine_until") and not value:  # 0 stood for no limit
        return _budget(settings) <= same[0]
    if name in ("initial_query", "typical_until"):
        return _first_query(settings) == _first_query_today(settings)
    if name in ("audit_share", "population") and not _certifies(settings):
        return True
    if name == "sequential_until":
        return _sequential_until(settings, value) == _sequential_until_today(settings)
    if name == "sequential_batch":
        return not _sequential_until_today(settings) or value == _asked_together_today(settings)
    if name == "weight_decay":
        return bool(value == _weight_decay_today(settings))
    return not same or value in same


def _budget(settings: Mapping[str, Any]) -> float:
    """Return the budget of an earlier run; infinity if there is no limit (null in JSON)."""
    budget = settings.get("budget", 0)
    return math.inf if budget is None else float(budget)


def _certifies(settings: Mapping[str, Any]) -> bool:
    """Return True if an earlier run bought labels to certify its accuracy."""
    return bool(settings.get("target", 0) > 0 and settings.get("confidence", 0.95) > 0)


def _num_training_labels(settings: Mapping[str, Any]) -> float:
    """Return how many labels an earlier run bought to train on, without those of audits."""
    budget = _budget(settings)
    # the share was 0.5 by default, and has been 0.4 since before the objective was called "auto"
    share = settings.get("audit_share", 0.4 if settings.get("objective") == "auto" else 0.5)
    reserved = share * budget if _certifies(settings) else 0.0
    return max(1, math.floor(budget - reserved)) if budget < math.inf else math.inf


def _first_query(settings: Mapping[str, Any]) -> str:
    """Return the query strategy with which an earlier run of the flagship chose its first labels.

    That was the setting `initial_query`, or typiclust in place of medoids, its default, with at
    most `typical_until` training labels.
    """
    few = _num_training_labels(settings) <= settings.get("typical_until", 0)
    strategy = str(settings.get("initial_query", "medoids"))
    return "typiclust" if few and strategy == "medoids" else strategy


def _first_query_today(settings: Mapping[str, Any]) -> str:
    """Return the query strategy with which today's flagship would choose the first labels."""
    from jaxlabel.query import needs_model  # takes seconds, as it imports JAX

    strategy = str(settings.get("query", "diverse"))
    few = _num_training_labels(settings) <= REMOVED["typical_until"].same[0]
    return ("typiclust" if few else "medoids") if needs_model(strategy) else strategy


def _sequential_until(settings: Mapping[str, Any], until: float) -> float:
    """Return up to which number of labels a flagship whose limit is `until` asks sequentially.

    It is 0 if the run buys no label between the initial ones and the limit.
    """
    until = min(until, _num_training_labels(settings))
    return until if until > settings.get("initial_labels", 20) else 0


def _sequential_until_today(settings: Mapping[str, Any]) -> float:
    """Return up to which number of labels today's flagship would ask sequentially."""
    from jaxlabel.query import needs_model  # takes seconds, as it imports JAX

    learns = settings.get("contrast_steps", 0) or settings.get("refinements", 0)
    propagates = settings.get("objective", "freematch") in PROPAGATING
    if not learns or not propagates or not needs_model(str(settings.get("query", "diverse"))):
        return 0
    return _sequential_until(settings, 100)


def _asked_together_today(settings: Mapping[str, Any]) -> int:
    """Return how many sequential queries today's flagship asks at a time; 0 if it is not known."""
    source = str(settings.get("data", "digits")).partition(":")[0]
    if settings.get("labels") or settings.get("folder_labels") or source in RECORDED:
        return 1
    return 20 if source in ("folder", "zip", "tar") else 0


def _weight_decay_today(settings: Mapping[str, Any]) -> float:
    """Return the weight decay with which today's flagship trains the network of an earlier run."""
    from jaxlabel import nets  # takes seconds, as it imports JAX

    return nets.weight_decay(str(settings.get("network", "conv")))


def unknown_setting(name: str, known: Iterable[str]) -> UsageError:
    """Return (not raise) an error for a setting that does not exist.

    If the setting was renamed, its message gives the new name. If it was removed, the message says
    what holds instead. Otherwise it suggests a similar name.

    Args:
      name: the unknown name.
      known: the names of all settings.
    """
    known, today = set(known), RENAMED.get(name, name)
    if today in REMOVED and today not in known and REMOVED[today].beside in known:
        return UsageError(f"config.{name} was removed: {REMOVED[today].reason}")
    if today != name:
        return UsageError(f"config.{name} is now called config.{today}")
    return UsageError(f"there is no setting config.{name}{did_you_mean(name, known)}")
