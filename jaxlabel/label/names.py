"""The names of classes: what may be one, and which are nearly the same."""

from collections.abc import Sequence

from jaxlabel.errors import UsageError
from jaxlabel.oracle import names as spelling
from jaxlabel.oracle.person import MAX_NAME_LENGTH


def checked_name(name: str) -> str:
    """Return a class's name as the label store writes it: composed, with single spaces.

    Raises:
      UsageError: it is empty, too long, or of several lines.
    """
    num_lines = len(str(name).strip().splitlines())
    name = spelling.clean(str(name))
    if num_lines != 1 or not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise UsageError(f"a class's name is one line of 1 to {MAX_NAME_LENGTH} characters")
    return name


def similar_name(name: str, names: Sequence[str]) -> str | None:
    """Return an existing name that differs from `name` only in spelling, or None.

    Spelling is case, Unicode form, spaces, hyphens, underscores and full stops. A wrongly decoded
    name counts as the name that it stands for.
    """
    wanted = _folded(name)
    similar = (known for known in names if known != name and _folded(known) == wanted)
    return next(similar, None) or spelling.wrongly_decoded(name, names)


def _folded(name: str) -> str:
    return "".join(c for c in spelling.key(name) if not c.isspace() and c not in "-_.")
