"""Settings of earlier versions that were renamed or removed since version 0.1.0."""

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


class Removed(NamedTuple):
    """What holds today in place of a setting that was removed.

    Attributes:
      reason: what the recipe does today, to complete the sentence "config.NAME was removed: ...".
      same: the old values with which a run did what every run does today; empty if the old value
        does not matter.
    """

    reason: str
    same: tuple[Any, ...] = ()


# the settings of the flagship and of the recipe semisup that were removed
REMOVED = {
    "members": Removed("one network is trained, as three were no more accurate", (1,)),
    "distil_steps": Removed("one network is trained, and there are no others to distil"),
}


def with_current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run of version 0.1.0 with today's names and values."""
    renamed = {RENAMED.get(name, name): value for name, value in settings.items()}
    for (name, old), new in RENAMED_VALUES.items():
        if renamed.get(name) == old:
            renamed[name] = new
    return renamed


def without_removed(settings: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return settings without the removed ones whose value is what every run has today.

    Args:
      settings: the settings of an earlier run by name, from `with_current_names`.
      known: the names of the settings that the run's recipe has today.
    """
    known = set(known)
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
    same = REMOVED[name].same
    return not same or settings[name] in same


def unknown_setting(name: str, known: Iterable[str]) -> UsageError:
    """Return (not raise) an error for a setting that does not exist.

    If the setting was renamed, its message gives the new name. If it was removed, the message says
    what holds instead. Otherwise it suggests a similar name.

    Args:
      name: the unknown name.
      known: the names of all settings.
    """
    known, today = set(known), RENAMED.get(name, name)
    if today in REMOVED and today not in known:
        return UsageError(f"config.{name} was removed: {REMOVED[today].reason}")
    if today != name:
        return UsageError(f"config.{name} is now called config.{today}")
    return UsageError(f"there is no setting config.{name}{did_you_mean(name, known)}")
