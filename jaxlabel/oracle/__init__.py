"""Buy labels within a budget: the label store (a database) and the `Oracle` that methods ask.

Methods obtain labels only from an `Oracle`. The label store records every label bought in a ledger.
SQLAlchemy takes half a second to import, so `LabelStore` is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from jaxlabel.oracle.ledger import ledger_text, spending
from jaxlabel.oracle.oracle import Oracle
from jaxlabel.oracle.person import import_answers, write_questions
from jaxlabel.oracle.records import Account, Contradiction, LedgerRow

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore

__all__ = [
    "Account",
    "Contradiction",
    "LabelStore",
    "LedgerRow",
    "Oracle",
    "import_answers",
    "ledger_text",
    "spending",
    "write_questions",
]


def __getattr__(name: str) -> Any:
    """Import and return the class `LabelStore` when it is first used."""
    if name == "LabelStore":
        from jaxlabel.oracle.store import LabelStore

        return LabelStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
