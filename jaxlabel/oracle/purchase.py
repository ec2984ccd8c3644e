"""Buying labels: one transaction that charges, reveals and writes the ledger, or does nothing.

The account's row is locked first, so that purchases of one account follow one another; what it
already bought is then free; the rest is charged by an UPDATE that fits into the budget or changes
no row; the ledger takes an item once per account. A process killed half-way leaves no trace.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from jaxlabel.errors import BudgetExceeded, LabelsMissing
from jaxlabel.oracle.queries import find_account, lookup
from jaxlabel.oracle.records import Bought
from jaxlabel.oracle.schema import UNIT, accounts, from_units, labels, ledger

Reveal = Callable[[str, int], int]  # (item, true label) -> the answer that is given


def buy(
    connection: sa.Connection,
    account: str,
    items: Sequence[str],
    reveal: Reveal,
    reason: dict[str, Any],
) -> Bought:
    """The answers to the items, of which those that the account doesn't know are charged.

    Args:
      reveal: what is answered instead of the true label (noise); the ledger remembers it.
      reason: purpose, round and asked_by, for the ledger.

    Raises:
      BudgetExceeded: the new ones cost more than is left.
      LabelsMissing: some of the new ones have no answer yet.
    """
    row = find_account(connection, account, lock=True)
    query = sa.select(ledger).where(ledger.c.account_id == row.id)
    distinct = list(dict.fromkeys(items))
    known = {r.item: (r.label, r.cost) for r in lookup(connection, query, ledger.c.item, distinct)}
    new = [item for item in distinct if item not in known]
    if new:
        answers = _charge(connection, row, new)
        known.update({item: (reveal(item, label), cost) for item, (label, cost) in answers.items()})
        now = datetime.now(UTC).isoformat(timespec="seconds")
        common = {"account_id": row.id, "asked_time": now, **reason}
        rows = [
            {"item": item, "label": known[item][0], "cost": known[item][1], **common}
            for item in new
        ]
        connection.execute(sa.insert(ledger), rows)
    values = np.array([known[item][0] for item in items], np.int32)
    return Bought(values, np.array([from_units(known[item][1]) for item in items], np.float64))


def _charge(
    connection: sa.Connection, account: sa.Row[Any], new: list[str]
) -> dict[str, tuple[int, int]]:
    """Label and cost of the new items, after the account was charged for all of them."""
    query = sa.select(labels).where(labels.c.label_set_id == account.label_set_id)
    rows = lookup(connection, query, labels.c.item, new)
    answers = {row.item: (row.label, row.cost) for row in rows}
    # A missing answer is counted at the usual price: a person is not asked for what can't be paid
    cost = sum(answers[item][1] if item in answers else UNIT for item in new)
    charge = (
        sa.update(accounts)
        .where(accounts.c.id == account.id, accounts.c.spent + cost <= accounts.c.budget)
        .values(spent=accounts.c.spent + cost)
    )
    if connection.execute(charge).rowcount != 1:
        left, budget = from_units(account.budget - account.spent), from_units(account.budget)
        raise BudgetExceeded(
            f"{len(new)} new labels cost {from_units(cost):g}, but of account {account.name}'s "
            f"budget of {budget:g} only {left:g} is left: nothing was bought; ask for fewer or "
            "start a run with a larger budget"
        )
    missing = [item for item in new if item not in answers]
    if missing:
        raise LabelsMissing(
            f"{len(missing)} of {len(new)} new labels have no answer in the label store yet "
            f"(the first: {missing[0]}): nothing was charged; import answers, then start again",
            missing,
        )
    return answers
