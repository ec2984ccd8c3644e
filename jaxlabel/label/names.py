"""The names of classes: what may be one, and which are nearly the same."""

import unicodedata
from collections.abc import Sequence

from jaxlabel.errors import UsageError
from jaxlabel.oracle.person import MAX_NAME_LENGTH


def checked_name(name: str) -> str:
    """Return a class's name without spaces around it, in Unicode's composed form.

    Raises:
      UsageError: it is empty, too long, or of several lines.
    """
    name = unicodedata.normalize("NFC", str(name)).strip()
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise UsageError(f"a class's name is one line of 1 to {MAX_NAME_LENGTH} characters")
    return name


def similar_name(name: str, names: Sequence[str]) -> str | None:
    """Return an existing name that differs only in case, Unicode form, spaces or hyphens."""
    wanted = _folded(name)
    return next((known for known in names if known != name and _folded(known) == wanted), None)


def _folded(name: str) -> str:
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in text if not c.isspace() and c not in "-_.")
