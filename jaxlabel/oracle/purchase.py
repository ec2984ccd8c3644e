"""Open accounts (budgets for labels), buy labels for them, and list what they bought.

A purchase is one database transaction that charges the account and writes the ledger. It first
locks the label set, so that nobody changes a label while it is bought, and then the account's row,
so that only one process at a time buys for an account. An account pays for a label once: labels
that it bought before are free. All new labels are charged by a single UPDATE that changes no row if
their cost exceeds the remaining budget. The ledger, the list of purchases, has each item at most
once per account. If a process is killed during the transaction, the database rolls the transaction
back.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from jaxlabel.errors import BudgetExceeded, LabelsMissing, StoreError
from jaxlabel.oracle.engine import location
from jaxlabel.oracle.queries import (
    account_record,
    class_names,
    find_account,
    insert_missing,
    keep_label_set,
    locked_label_set_id,
    lookup,
    prices_of,
)
from jaxlabel.oracle.records import Account, Bought, LedgerRow
from jaxlabel.oracle.schema import (
    accounts,
    from_units,
    label_sets,
    labels,
    ledger,
)

Reveal = Callable[[str, int], int]  # reveal(item, true label) returns the label to sell


def open_account(connection: sa.Connection, account: str, label_set: str, budget: int) -> None:
    """Create an account for labels of one label set, or raise the budget of an existing one.

    The arguments are those of `LabelStore.open_account`, after a connection in a write transaction.
    The budget is in millionths of a label's usual price.

    Raises:
      StoreError: the account exists for another label set.
    """
    key = locked_label_set_id(connection, label_set)
    values = {"name": account, "label_set_id": key, "budget": budget}
    insert_missing(connection, accounts, [{**values, "spent": 0, "peeked": False}])
    row = find_account(connection, account, lock=True)
    if row.label_set_id != key:
        raise StoreError(
            f"account {account} of the label store {location(connection.engine)} buys labels of "
            f"{row.label_set}, not of {label_set}: name another account"
        )
    raised = sa.update(accounts).where(accounts.c.id == row.id, accounts.c.budget < budget)
    connection.execute(raised.values(budget=budget))


def mark_peeked(connection: sa.Connection, account: str) -> None:
    """Record permanently that the run of an account has used labels without buying them."""
    row = find_account(connection, account)
    connection.execute(sa.update(accounts).where(accounts.c.id == row.id).values(peeked=True))


def all_accounts(connection: sa.Connection) -> list[Account]:
    """Return all accounts, the oldest first."""
    query = sa.select(accounts, label_sets.c.name.label("label_set")).join(label_sets)
    return [account_record(row) for row in connection.execute(query.order_by(accounts.c.id))]


def ledger_rows(connection: sa.Connection, account: str) -> list[LedgerRow]:
    """Return the labels that an account has bought, in the order of the purchases.

    The order is that of the rows' keys, not of their times: a clock may be set back. A label that
    is not the index of a class gets its number as class name.
    """
    buyer = find_account(connection, account)
    names = dict(enumerate(class_names(connection, buyer.label_set_id)))
    query = sa.select(ledger).where(ledger.c.account_id == buyer.id).order_by(ledger.c.id)
    return [
        LedgerRow(
            row.item, row.label, names.get(row.label, str(row.label)), from_units(row.cost),
            row.purpose, row.round, row.asked_by, row.asked_time,
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def buy(
    connection: sa.Connection,
    account: str,
    items: Sequence[str],
    reveal: Reveal,
    reason: dict[str, Any],
    limit: int,
) -> Bought:
    """Return the labels of images, and charge an account for those that it has not bought before.

    The arguments are those of `LabelStore.buy`, after a connection in a write transaction. `reason`
    has the values of the ledger's columns "purpose", "round" and "asked_by" for the new labels, and
    `limit` is the argument `budget`, in millionths of a label's usual price.

    Raises:
      StoreError: there is no account of this name.
      BudgetExceeded: the new labels cost more than the remaining budget; nothing is bought.
      LabelsMissing: the store has no label yet for some of the new items; nothing is bought.
    """
    # without this lock, a person could take a label back after it was read and before it is bought
    keep_label_set(connection, find_account(connection, account).label_set_id)
    row = find_account(connection, account, lock=True)
    query = sa.select(ledger).where(ledger.c.account_id == row.id)
    distinct = list(dict.fromkeys(items))
    bought = {r.item: (r.label, r.cost) for r in lookup(connection, query, ledger.c.item, distinct)}
    new = [item for item in distinct if item not in bought]
    if new:
        answers = _charge(connection, row, new, limit)
        bought.update(
            {item: (reveal(item, label), cost) for item, (label, cost) in answers.items()}
        )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        common = {"account_id": row.id, "asked_time": now, **reason}
        rows = [
            {"item": item, "label": bought[item][0], "cost": bought[item][1], **common}
            for item in new
        ]
        connection.execute(sa.insert(ledger), rows)
    values = np.array([bought[item][0] for item in items], np.int32)
    return Bought(values, np.array([from_units(bought[item][1]) for item in items], np.float64))


def _charge(
    connection: sa.Connection, account: sa.Row[Any], new: list[str], limit: int
) -> dict[str, tuple[int, int]]:
    """Charge an account for the items `new`, and return a dict from item to (true label, cost).

    The cost is in millionths of a label's usual price. `limit` is the largest amount that the
    account may have spent afterwards, if its own budget is not smaller.

    Raises:
      BudgetExceeded: the items cost more than the remaining budget.
      LabelsMissing: the store has no label yet for some of the items.
    """
    allowed = min(limit, account.budget)
    query = sa.select(labels).where(labels.c.label_set_id == account.label_set_id)
    rows = lookup(connection, query, labels.c.item, new)
    answers = {row.item: (row.label, row.cost) for row in rows}
    missing = [item for item in new if item not in answers]
    # A label that the store lacks counts with its price too, so that a person is not asked for
    # labels that the budget cannot buy.
    cost = sum(price for _, price in answers.values())
    cost += sum(prices_of(connection, account.label_set_id, missing).values())
    charge = (
        sa.update(accounts)
        .where(accounts.c.id == account.id, accounts.c.spent + cost <= allowed)
        .values(spent=accounts.c.spent + cost)
    )
    # The first test keeps sums that no database can store away from the database.
    if cost > allowed - account.spent or connection.execute(charge).rowcount != 1:
        left, budget = from_units(max(0, allowed - account.spent)), from_units(allowed)
        whose = "its" if allowed == account.budget else "the run's"
        labels_cost = "1 new label costs" if len(new) == 1 else f"{len(new)} new labels cost"
        raise BudgetExceeded(
            f"{labels_cost} {from_units(cost):g}, but account {account.name} has only {left:g} "
            f"left of {whose} budget of {budget:g}, so nothing was bought",
            "Ask for fewer labels, or start a run with a larger budget",
        )
    if missing:
        raise LabelsMissing(
            f"{len(missing)} of {len(new)} new labels are not in the label store yet "
            f"(the first: {missing[0]}): nothing was charged; import answers, then start again",
            missing,
        )
    return answers
