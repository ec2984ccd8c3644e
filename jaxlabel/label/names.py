"""Clean the names of people, and find existing class names similar to a new one."""

from collections.abc import Sequence

from jaxlabel.oracle import names as spelling


def person_name(text: str) -> str:
    """Return the name of a person in the form in which it is stored; "" if nothing is left of it.

    Accented letters become single characters, runs of white space become one space, and characters
    other than letters, digits, "-", "_" and spaces are left out: "Ann.Lee@lab" becomes "AnnLeelab".
    A name has at most 40 characters.
    """
    kept = "".join(c for c in spelling.clean(text) if c.isalnum() or c in "-_ ")
    return kept[:40].strip()


def similar_name(name: str, names: Sequence[str]) -> str | None:
    """Return an existing name that differs from `name` only in spelling, or None.

    Differences of spelling are upper and lower case, Unicode composition, spaces, hyphens,
    underscores, full stops, and a wrong character encoding.

    Args:
      name: the name of a new class, such as "Oil_Tank".
      names: the existing names, such as ["ship", "oil tank"].
    """
    wanted = _folded(name)
    similar = (known for known in names if known != name and _folded(known) == wanted)
    return next(similar, None) or spelling.wrongly_decoded(name, names)


def _folded(name: str) -> str:
    """Return a form of the name that is equal for names that `similar_name` takes for one class."""
    return "".join(c for c in spelling.key(name) if not c.isspace() and c not in "-_.")
