"""Sum the costs in a ledger (an account's list of bought labels), and format a ledger as text."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from jaxlabel.oracle.records import CORRECT, Account, LedgerRow

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore


class Spending(NamedTuple):
    """The labels that an account bought for one purpose in one query round.

    Attributes:
      purpose: what the labels were bought for, such as "train" or "certify".
      round: the number of the query round.
      labels: the number of labels bought.
      cost: the total cost of these labels.
    """

    purpose: str
    round: int
    labels: int
    cost: float


def spending(rows: Iterable[LedgerRow]) -> list[Spending]:
    """Group an account's purchases of labels by purpose and query round, and sum their costs.

    The groups are in the order of their first purchases.

    Args:
      rows: the rows of the account's ledger, one per label bought.
    """
    groups: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        groups[row.purpose, row.round].append(row.cost)
    return [
        Spending(purpose, number, len(costs), round(sum(costs), 6))
        for (purpose, number), costs in groups.items()
    ]


def split_purchases(
    rows: list[LedgerRow], own: slice
) -> tuple[list[LedgerRow], list[LedgerRow], list[LedgerRow]]:
    """Divide an account's ledger into what other runs bought before a run, its own, and after it.

    Args:
      rows: all rows of the account's ledger.
      own: the part that the run bought before its end. Corrections that a person gave on the
        labelling page afterwards are the run's own, too.
    """
    first, last, _ = own.indices(len(rows))
    later = rows[last:]
    corrections = [row for row in later if row.purpose == CORRECT]
    return rows[:first], rows[own] + corrections, [row for row in later if row.purpose != CORRECT]


def ledger_text(
    store: "LabelStore", account: str | None = None, rows: bool = False, own: slice = slice(None)
) -> str:
    """Return the labels that one account or all accounts have bought, as readable text.

    An account is a budget from which a run buys labels. Its text has a table of costs by purpose
    (such as "train") and query round, its budget, and the remaining amount.

    Args:
      store: the label store (a database).
      account: the account's name; None for all accounts.
      rows: whether to add a table with one line per label bought.
      own: the part of the ledger that one run bought. The table has one row for all labels bought
        before this part, and one for all labels bought after it, without corrections.

    Raises:
      StoreError: there is no account of this name.
    """
    entries = store.accounts() if account is None else [store.account(account)]
    if not entries:
        return f"the label store {store.place} has no account yet: no label was asked for"
    return "\n\n".join(
        _account_text(entry, store.ledger(entry.name), rows, own) for entry in entries
    )


def _account_text(account: Account, rows: list[LedgerRow], list_rows: bool, own: slice) -> str:
    earlier, mine, later = split_purchases(rows, own)
    before, after = (
        [(name, "", str(len(part)), _cell(round(sum(row.cost for row in part), 6)))] if part else []
        for name, part in (("before this run", earlier), ("after this run", later))
    )
    sums = [*before, *(tuple(map(_cell, entry)) for entry in spending(mine)), *after]
    total = ("total", "", str(len(rows)), _cell(account.spent))
    lines = [
        f"account {account.name}, labels of {account.label_set}",
        *_table([("purpose", "round", "labels", "cost"), *sums, total], "<>>>"),
        f"budget {account.budget:g}, spent {account.spent:g}, "
        f"left {account.budget - account.spent:g}",
        "peeked: the account was compared with labels that were not bought"
        if account.peeked
        else "not peeked: no label was used that was not bought",
    ]
    if list_rows and rows:
        header = ("time (UTC)", "round", "purpose", "answer", "cost", "item", "asked by")
        body = [
            (r.asked_time[:19], r.round, r.purpose, r.class_name, r.cost, r.item, r.asked_by)
            for r in rows
        ]
        lines += ["", *_table([header, *(tuple(map(_cell, row)) for row in body)], "<><<><<")]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(rows: list[tuple[str, ...]], alignments: str) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = zip(alignments, widths, strict=True)
    shape = "  ".join(f"{{:{alignment}{width}}}" for alignment, width in columns)
    return [shape.format(*row).rstrip() for row in rows]
