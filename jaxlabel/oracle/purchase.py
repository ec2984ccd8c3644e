"""Buy labels in one database transaction that charges the account and writes the ledger.

The transaction first locks the account's row, so that only one process at a time buys for an
account. An account pays for a label once: labels that it bought before are free. All new labels are
charged by a single UPDATE that changes no row if their cost exceeds the remaining budget. The
ledger, the list of purchases, has each item at most once per account. If a process is killed during
the transaction, the database rolls the transaction back.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from jaxlabel.errors import BudgetExceeded, LabelsMissing
from jaxlabel.oracle.queries import find_account, lookup, prices_of
from jaxlabel.oracle.records import Bought
from jaxlabel.oracle.schema import accounts, from_units, labels, ledger

Reveal = Callable[[str, int], int]  # reveal(item, true label) returns the label to sell


def buy(
    connection: sa.Connection,
    account: str,
    items: Sequence[str],
    reveal: Reveal,
    reason: dict[str, Any],
) -> Bought:
    """Return the labels of images, and charge an account for those that it has not bought before.

    Args:
      connection: a database connection in a write transaction.
      account: the name of the account whose budget pays.
      items: the ids of the images; an id may be repeated.
      reveal: a function that is called as `reveal(item, true_label)` for each new item and returns
        the label to give to the buyer, which is also recorded in the ledger. `lambda item, label:
        label` gives the true labels; an oracle with label noise returns another class for some
        items.
      reason: the values of the ledger's columns "purpose", "round" and "asked_by" for the new
        labels, such as `{"purpose": "train", "round": 2, "asked_by": "ann@server1"}`.

    Raises:
      StoreError: there is no account of this name.
      BudgetExceeded: the new labels cost more than the remaining budget; nothing is bought.
      LabelsMissing: the store has no label yet for some of the new items; nothing is bought.
    """
    row = find_account(connection, account, lock=True)
    query = sa.select(ledger).where(ledger.c.account_id == row.id)
    distinct = list(dict.fromkeys(items))
    bought = {r.item: (r.label, r.cost) for r in lookup(connection, query, ledger.c.item, distinct)}
    new = [item for item in distinct if item not in bought]
    if new:
        answers = _charge(connection, row, new)
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
    connection: sa.Connection, account: sa.Row[Any], new: list[str]
) -> dict[str, tuple[int, int]]:
    """Charge an account for the items `new`, and return a dict from item to (true label, cost).

    The cost is in millionths of a label's usual price.

    Raises:
      BudgetExceeded: the items cost more than the remaining budget.
      LabelsMissing: the store has no label yet for some of the items.
    """
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
        .where(accounts.c.id == account.id, accounts.c.spent + cost <= accounts.c.budget)
        .values(spent=accounts.c.spent + cost)
    )
    if connection.execute(charge).rowcount != 1:
        left, budget = from_units(account.budget - account.spent), from_units(account.budget)
        raise BudgetExceeded(
            f"{len(new)} new labels cost {from_units(cost):g}, but of account {account.name}'s "
            f"budget of {budget:g} only {left:g} is left: nothing was bought; ask for fewer labels "
            "or start a run with a larger budget"
        )
    if missing:
        raise LabelsMissing(
            f"{len(missing)} of {len(new)} new labels are not in the label store yet "
            f"(the first: {missing[0]}): nothing was charged; import answers, then start again",
            missing,
        )
    return answers
