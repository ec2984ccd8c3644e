"""Buy labels in one database transaction that charges the account and writes the ledger.

The transaction first locks the account's row, so that only one process at a time buys for an
account. Labels that the account already has are free. The others are charged by a single UPDATE
that changes no row if the cost exceeds the budget. The ledger has each item at most once per
account. If a process is killed during the transaction, the database rolls it back.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from jaxlabel.errors import BudgetExceeded, LabelsMissing
from jaxlabel.oracle.queries import find_account, lookup
from jaxlabel.oracle.records import Bought
from jaxlabel.oracle.schema import UNITS_PER_LABEL, accounts, from_units, labels, ledger

Reveal = Callable[[str, int], int]  # (item, true label) -> the label that is returned


def buy(
    connection: sa.Connection,
    account: str,
    items: Sequence[str],
    reveal: Reveal,
    reason: dict[str, Any],
) -> Bought:
    """Return the items' labels, and charge those that the account has not bought yet.

    Args:
      connection: a connection in a transaction.
      account: the account's name.
      items: the ids of the items.
      reveal: returns the label to give in place of the true label (with noise, another class);
        the ledger records it.
      reason: the ledger's columns purpose, round and asked_by.

    Raises:
      BudgetExceeded: the new labels cost more than the remaining budget.
      LabelsMissing: the store has no label yet for some of the new items.
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
    """Charge an account for new items and return their true labels and costs in units, by item."""
    query = sa.select(labels).where(labels.c.label_set_id == account.label_set_id)
    rows = lookup(connection, query, labels.c.item, new)
    answers = {row.item: (row.label, row.cost) for row in rows}
    # Labels that the store lacks count with the usual price, so that a person is not asked for
    # labels that exceed the budget.
    cost = sum(answers[item][1] if item in answers else UNITS_PER_LABEL for item in new)
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
    missing = [item for item in new if item not in answers]
    if missing:
        raise LabelsMissing(
            f"{len(missing)} of {len(new)} new labels are not in the label store yet "
            f"(the first: {missing[0]}): nothing was charged; import answers, then start again",
            missing,
        )
    return answers
