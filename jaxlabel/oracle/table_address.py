"""Parse the address of a table with labels in the user's own database.

The address of a table is a database URL with the names of the table and of its columns:

    postgresql://USER@HOST/DATABASE?table=TABLE&id=COLUMN&label=COLUMN
    sqlite:///FILE?table=TABLE&id=COLUMN&label=COLUMN
"""

import sqlalchemy as sa

from jaxlabel.errors import UsageError
from jaxlabel.oracle.engine import kind_of

MATCHES = ("path", "stem", "number")
PARTS = ("table", "id", "label", "match")
HOW = (
    "write postgresql://USER@HOST/DATABASE?table=TABLE&id=COLUMN&label=COLUMN or "
    "sqlite:///FILE?table=TABLE&id=COLUMN&label=COLUMN"
)


def parse(address: str) -> tuple[sa.URL, dict[str, str]]:
    """Split the address of a table into the database's URL and the names in its query.

    Raises:
      UsageError: the address is not valid.
    """
    try:
        url = sa.make_url(address)
        kind = kind_of(url)
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError(f"config.labels is no address of a table: {HOW}") from None
    parts = {name: url.query.get(name, "path" if name == "match" else "") for name in PARTS}
    given = {name: part for name, part in parts.items() if isinstance(part, str) and part}
    if kind not in ("postgresql", "sqlite") or (kind == "sqlite" and not url.database):
        raise UsageError(f"config.labels is no address of a table: {HOW}")
    if missing := [name for name in PARTS if name not in given]:
        raise UsageError(f"config.labels says no {missing[0]}, or more than one: {HOW}")
    if given["match"] not in MATCHES:
        raise UsageError(f"config.labels has match={given['match']}: it takes one of "
                         f"{', '.join(MATCHES)}")  # fmt: skip
    return url.set(drivername=kind).difference_update_query(PARTS), given
