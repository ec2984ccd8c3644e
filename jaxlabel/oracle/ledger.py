"""What was spent on what: sums over a ledger, and its table as text."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from jaxlabel.oracle.records import Account, LedgerRow

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore


class Spending(NamedTuple):
    """How many labels were bought for a purpose in a round, and what they cost."""

    purpose: str
    round: int
    labels: int
    cost: float


def spending(rows: Iterable[LedgerRow]) -> list[Spending]:
    """The rows' number and cost by purpose and round, in the order of the first purchases."""
    groups: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        groups[row.purpose, row.round].append(row.cost)
    return [
        Spending(purpose, number, len(costs), round(sum(costs), 6))
        for (purpose, number), costs in groups.items()
    ]


def ledger_text(store: "LabelStore", account: str | None = None, rows: bool = False) -> str:
    """Tables of what an account, or each of them, bought; `rows` adds a line for each label.

    Raises:
      StoreError: there is no such account.
    """
    found = store.accounts() if account is None else [store.account(account)]
    if not found:
        return f"the label store {store.place} has no account yet: no label was asked for"
    return "\n\n".join(_text(one, store.ledger(one.name), rows) for one in found)


def _text(account: Account, rows: list[LedgerRow], each: bool) -> str:
    sums = [tuple(map(_cell, entry)) for entry in spending(rows)]
    total = ("total", "", str(len(rows)), _cell(account.spent))
    lines = [
        f"account {account.name}, labels of {account.label_set}",
        *_table([("purpose", "round", "labels", "cost"), *sums, total], "<>>>"),
        f"budget {account.budget:g}, spent {account.spent:g}, "
        f"left {account.budget - account.spent:g}",
        "peeked: labels that were not bought were looked at"
        if account.peeked
        else "not peeked: every label that was looked at was bought",
    ]
    if each and rows:
        header = ("time (UTC)", "round", "purpose", "answer", "cost", "item", "asked by")
        body = [
            (r.asked_time[:19], r.round, r.purpose, r.class_name, r.cost, r.item, r.asked_by)
            for r in rows
        ]
        lines += ["", *_table([header, *(tuple(map(_cell, row)) for row in body)], "<><<><<")]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(rows: list[tuple[str, ...]], sides: str) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shape = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return [shape.format(*row).rstrip() for row in rows]
