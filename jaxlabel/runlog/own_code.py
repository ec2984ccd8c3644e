"""Record which version of the user's own parts a run uses, and notice that a part has changed.

A setting such as `query=my_parts:choose` names a function of the user. Its name stays the same when
the user edits it, so a run also records a hash of the file that holds it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxlabel import files
from jaxlabel.cache import digest
from jaxlabel.config import OWN, is_own, own_sources

FILE = "own_code.json"  # the hashes of all versions with which the run was executed, in order
CHANGED = "the file of one of your own functions has changed since this run was last executed"


def digest_of(settings: Mapping[str, Any]) -> str:
    """Return a hash of the files that hold the user's own parts; "" if the settings name none.

    Modules that these files import are not part of the hash.

    Args:
      settings: the settings of a run by name.

    Raises:
      UsageError: a part cannot be imported.
    """
    values = [settings[name] for name in OWN if is_own(settings.get(name))]
    return digest([values, own_sources(*values)]) if values else ""


def note(workdir: Path, settings: Mapping[str, Any], is_started: bool) -> bool:
    """Record the version of the user's own parts, and return True if it is another than before.

    Args:
      workdir: the run's directory.
      settings: the settings of the run by name.
      is_started: whether the run has opened its account before. Until then it starts anew, and what
        was recorded is replaced.

    Raises:
      UsageError: a part cannot be imported.
    """
    if not (now := digest_of(settings)):
        return False
    before = _versions(workdir) if is_started else []
    is_changed = bool(before) and before[-1] != now
    if (is_changed or not before) and not (workdir / "result.json").exists():
        files.write_json(workdir / FILE, {"versions": [*before, now]})
    return is_changed


def recorded(workdir: Path) -> str | None:
    """Return the hash that a run has recorded; None if there is none, as in earlier releases.

    If the parts changed while the run was executed, the hashes of all versions are joined by "+".
    """
    return "+".join(_versions(workdir)) or None


def agrees(before: str | None, settings: Mapping[str, Any]) -> bool:
    """Return False if a result was made with another version of the user's own parts than today's.

    Args:
      before: the hash that was recorded with the result; None, if it is unknown, agrees.
      settings: the settings of the run by name.

    Raises:
      UsageError: a part cannot be imported.
    """
    return before is None or before == digest_of(settings)


def _versions(workdir: Path) -> list[str]:
    return list((files.read_json(workdir / FILE) or {}).get("versions", []))
