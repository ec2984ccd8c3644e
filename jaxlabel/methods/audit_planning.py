"""Find out before a run's audits what they must certify, and whether the budget suffices.

An audit buys labels of random images to certify the accuracy.
"""

from typing import Any

from jaxlabel.certificate import Terms
from jaxlabel.errors import UsageError
from jaxlabel.methods.stopping_settings import Settings

FIRST_SHARE = 0.75  # of the allowed error: audits begin when they are likely to succeed


def check_target(settings: Any, num_images: int, budget: float) -> None:
    """Raise a UsageError if a run with these settings could not certify its target.

    The labelling page calls it before a person gives a label. The result is right only if every
    label costs 1.

    Args:
      settings: the configuration of any recipe. Nothing is checked for a recipe without audits.
      num_images: the number of training images.
      budget: the number of labels that the budget buys; may be infinite.
    """
    if isinstance(settings, Settings):
        capacity = int(min(budget, num_images))
        trains_on = settings.num_to_train(capacity)
        first = min(getattr(settings, "initial_labels", trains_on), trains_on)
        check_audit(settings, num_images, capacity, first)


def check_audit(config: Settings, num_images: int, capacity: int, first: int) -> float:
    """Return how many labels an audit takes if all predictions are right; 0 if there is no audit.

    Args:
      config: the settings of the run.
      num_images: the number of training images.
      capacity: the number of labels that the budget buys.
      first: the number of labels bought before the first audit can start.

    Raises:
      UsageError: fewer labels are left after the first `first` ones.
    """
    if not config.certifies or first >= num_images:
        return 0.0
    min_labels = audit_terms(config, num_images, first, 0).fewest_labels()
    if capacity - first < min_labels:
        raise UsageError(f"{audit_takes(config, min_labels)}; after the first {first} the budget "
                         f"buys {capacity - first}: raise config.budget or lower the target"
                         )  # fmt: skip
    return min_labels


def audit_takes(config: Settings, min_labels: float) -> str:
    """Return the first part of a message that says how many labels an audit takes."""
    return (f"config.target={config.target:g} with config.confidence={config.confidence:g} takes "
            f"{min_labels:.0f} labels to certify if every prediction is right")  # fmt: skip


def audit_terms(config: Settings, num_images: int, bought: int, audits: int) -> Terms:
    """Return the terms of a run's next audit, such as its target and its confidence level.

    Args:
      config: the settings of the run.
      num_images: the number of training images.
      bought: the number of images that are already labelled, which the audit does not draw.
      audits: the number of audits that the run has already started.
    """
    error = FIRST_SHARE * (1 - FIRST_SHARE) ** audits * (1 - config.confidence)
    return Terms(config.target, 1 - error, num_images, bought)
