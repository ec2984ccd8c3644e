"""Sell labels within a budget: the `LabelStore` (a database) and the `Oracle` that methods ask.

A method gets the labels of its training images only by calling `Oracle.ask`. The label store
records every label bought in a ledger, the list of purchases. SQLAlchemy takes half a second to
import, so `LabelStore` is imported when it is first used.
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
    """Import `LabelStore` at its first use and return it; raise AttributeError for other names."""
    if name == "LabelStore":
        from jaxlabel.oracle.store import LabelStore

        return LabelStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
