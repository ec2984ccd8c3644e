"""The only door to labels: a store of answers, and an Oracle that buys them and keeps a ledger.

SQLAlchemy takes half a second to import, so `LabelStore` is loaded when it is first used.
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
    """The label store's class, imported now."""
    if name == "LabelStore":
        from jaxlabel.oracle.store import LabelStore

        return LabelStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
