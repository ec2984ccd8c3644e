"""The label store: an SQL database that knows the labels, the budgets, and who bought what."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float, Int

from jaxlabel.errors import StoreError
from jaxlabel.oracle import corrections, purchase
from jaxlabel.oracle.engine import open_engine, place, transaction
from jaxlabel.oracle.purchase import Reveal
from jaxlabel.oracle.queries import (
    class_names,
    find_account,
    insert_missing,
    label_set_id,
    locked_label_set_id,
    lookup,
    refusals,
)
from jaxlabel.oracle.records import Account, Bought, Contradiction, LedgerRow
from jaxlabel.oracle.schema import (
    UNIT,
    accounts,
    classes,
    from_units,
    label_sets,
    labels,
    ledger,
    to_units,
)

Items = Sequence[str] | np.ndarray  # item ids
Labels = Sequence[int] | Int[np.ndarray, "n"]  # indices of classes


class LabelStore:
    """Labels by item, accounts with a budget, and the ledger of every label bought.

    Any number of processes may use one store at once: what is bought is charged exactly once,
    never beyond the budget, and all or nothing.

    Args:
      url: `sqlite:///FILE.db`, or `postgresql://USER:PASSWORD@HOST/DATABASE`.

    Raises:
      StoreError: from here and every method, in one line, when the database cannot be used.
    """

    def __init__(self, url: str):
        self.engine = open_engine(url)
        self.place = place(self.engine)

    def close(self) -> None:
        """Closes what is open: nothing, but for a store in memory."""
        self.engine.dispose()

    def define(self, label_set: str, names: Sequence[str]) -> None:
        """Names the classes of a label set; the same again, or their first few, changes nothing.

        More classes than are there are added after those.

        Raises:
          StoreError: a name differs from the one that is there, or occurs twice.
        """
        wanted = _texts(names)
        for name, count in Counter(wanted).items():
            if count > 1:
                raise StoreError(f"{label_set} has {count} classes called {name!r}: rename them")
        with transaction(self.engine, write=True) as connection:
            key = locked_label_set_id(connection, label_set)
            known = class_names(connection, key)
            for label, (old, new) in enumerate(zip(known, wanted, strict=False)):
                if old != new:
                    raise StoreError(
                        f"the label store {self.place} calls class {label} of {label_set} "
                        f"{old!r}, not {new!r}: name another store, or correct the classes"
                    )
            rows = [
                {"label_set_id": key, "label": label, "name": wanted[label]}
                for label in range(len(known), len(wanted))
            ]
            if rows:
                connection.execute(sa.insert(classes), rows)

    def classes(self, label_set: str) -> tuple[str, ...]:
        """The names of a label set's classes by index; () when it is not defined."""
        with transaction(self.engine) as connection:
            return class_names(connection, label_set_id(connection, label_set))

    def add_labels(
        self,
        label_set: str,
        items: Items,
        given: Labels,
        costs: Sequence[float] | None = None,
    ) -> list[Contradiction]:
        """The answers that contradict an earlier one for the same item; all others are stored.

        An item's first answer and price stay. A label costs 1 unless `costs` says otherwise.

        Raises:
          StoreError: the lengths differ, or a label is not the index of a defined class.
        """
        names, values = _texts(items), np.asarray(given, np.int64).tolist()
        prices = [UNIT] * len(names) if costs is None else [to_units(c, "cost") for c in costs]
        if not len(names) == len(values) == len(prices):
            raise StoreError(f"{len(names)} items have {len(values)} labels, {len(prices)} costs")
        with transaction(self.engine, write=True) as connection:
            key = locked_label_set_id(connection, label_set)
            num_classes = len(class_names(connection, key))
            for label in set(values):
                if not 0 <= label < num_classes:
                    raise StoreError(f"{label} is none of {label_set}'s {num_classes} classes")
            query = sa.select(labels.c.item, labels.c.label).where(labels.c.label_set_id == key)
            rows = lookup(connection, query, labels.c.item, dict.fromkeys(names))
            kept = {row.item: row.label for row in rows}
            new, refused = [], []
            for item, label, price in zip(names, values, prices, strict=True):
                if item not in kept:
                    kept[item] = label
                    row = {"label_set_id": key, "item": item, "label": label, "cost": price}
                    new.append(row)
                elif kept[item] != label:
                    refused.append(Contradiction(item, kept[item], label))
            if new:
                connection.execute(sa.insert(labels), new)
        return refused

    def bought(self, label_set: str, items: Items) -> dict[str, int]:
        """The labels of those of the items that some account has paid for."""
        with transaction(self.engine) as connection:
            key = label_set_id(connection, label_set)
            return corrections.bought(connection, key, dict.fromkeys(_texts(items)))

    def correct(self, label_set: str, items: Items, given: Labels) -> list[str]:
        """The items whose label was another one, and is the given one now.

        It is for a person's answers that nobody has paid for yet; what was paid for stays. A class
        that this leaves empty goes, if no label that was paid for would change its number.
        """
        pairs = zip(_texts(items), np.asarray(given, np.int64).tolist(), strict=True)
        with transaction(self.engine, write=True) as connection:
            key = locked_label_set_id(connection, label_set)
            return corrections.correct(connection, key, dict(pairs))

    def num_labelled(self, label_set: str, items: Items) -> int:
        """How many of the items, repeats counted, have a label."""
        counts = Counter(_texts(items))
        with transaction(self.engine) as connection:
            key = label_set_id(connection, label_set)
            query = sa.select(labels.c.item).where(labels.c.label_set_id == key)
            found = lookup(connection, query, labels.c.item, counts)
        return sum(counts[row.item] for row in found)

    def costs(self, label_set: str, items: Items) -> Float[np.ndarray, "n"]:
        """The price of each item's label: 1 where the store doesn't know the item.

        The price is infinite where a person was asked and is not sure.
        """
        names = _texts(items)
        with transaction(self.engine) as connection:
            key = label_set_id(connection, label_set)
            query = sa.select(labels.c.item, labels.c.cost).where(labels.c.label_set_id == key)
            rows = lookup(connection, query, labels.c.item, dict.fromkeys(names))
            prices = {row.item: from_units(row.cost) for row in rows}
            prices = dict.fromkeys(refusals(connection, key), math.inf) | prices
        return np.array([prices.get(item, 1.0) for item in names], np.float64)

    def agreement(self, label_set: str, items: Items, given: Labels) -> float:
        """The share of items whose stored label is the given one; nan if any has no label.

        The database counts: no label leaves it.
        """
        names = _texts(items)
        if not names or self.num_labelled(label_set, names) < len(names):
            return float("nan")
        pairs = Counter(zip(names, np.asarray(given, np.int64).tolist(), strict=True))
        groups: dict[tuple[int, int], list[str]] = defaultdict(list)
        for (item, label), repeats in pairs.items():
            groups[label, repeats].append(item)
        right = 0
        with transaction(self.engine) as connection:
            query = sa.select(sa.func.count()).where(
                labels.c.label_set_id == label_set_id(connection, label_set),
                labels.c.label == sa.bindparam("given"),
            )
            for (label, repeats), members in groups.items():
                counts = lookup(connection, query, labels.c.item, members, given=label)
                right += repeats * sum(row[0] for row in counts)
        return right / len(names)

    def open_account(self, account: str, label_set: str, budget: float) -> None:
        """Makes an account; one that is there keeps its ledger, and a larger budget raises its.

        Raises:
          StoreError: the account is there for another label set.
        """
        units = to_units(budget, "budget")
        with transaction(self.engine, write=True) as connection:
            key = locked_label_set_id(connection, label_set)
            row = {"name": account, "label_set_id": key, "budget": units}
            insert_missing(connection, accounts, [{**row, "spent": 0, "peeked": False}])
            found = find_account(connection, account, lock=True)
            if found.label_set_id != key:
                raise StoreError(
                    f"account {account} of the label store {self.place} buys labels of "
                    f"{found.label_set}, not of {label_set}: name another account"
                )
            raised = sa.update(accounts).where(accounts.c.id == found.id)
            connection.execute(raised.where(accounts.c.budget < units).values(budget=units))

    def buy(
        self,
        account: str,
        items: Items,
        *,
        purpose: str,
        round: int,
        asked_by: str,
        reveal: Reveal = lambda item, label: label,
    ) -> Bought:
        """The answers, in the items' order; those the account doesn't have yet are charged.

        Args:
          reveal: (item, true label) -> what is answered instead; the ledger remembers it.

        Raises:
          BudgetExceeded: the new ones cost more than is left; nothing was bought.
          LabelsMissing: some of the new ones have no answer yet; nothing was bought.
        """
        reason = {"purpose": purpose, "round": int(round), "asked_by": asked_by}
        with transaction(self.engine, write=True) as connection:
            return purchase.buy(connection, account, _texts(items), reveal, reason)

    def accounts(self) -> list[Account]:
        """All accounts, the oldest first."""
        query = sa.select(accounts, label_sets.c.name.label("label_set")).join(label_sets)
        with transaction(self.engine) as connection:
            return [_account(row) for row in connection.execute(query.order_by(accounts.c.id))]

    def account(self, name: str) -> Account:
        """An account by its name.

        Raises:
          StoreError: there is no such account.
        """
        with transaction(self.engine) as connection:
            return _account(find_account(connection, name))

    def spent(self, account: str) -> float:
        """What the account's labels have cost so far."""
        return self.account(account).spent

    def budget(self, account: str) -> float:
        """What the account may spend in all."""
        return self.account(account).budget

    def mark_peeked(self, account: str) -> None:
        """Records for ever that the account has looked at labels it did not buy."""
        with transaction(self.engine, write=True) as connection:
            found = find_account(connection, account)
            peeked = sa.update(accounts).where(accounts.c.id == found.id).values(peeked=True)
            connection.execute(peeked)

    def ledger(self, account: str) -> list[LedgerRow]:
        """Every label that the account bought, in the order in which it did."""
        with transaction(self.engine) as connection:
            found = find_account(connection, account)
            names = class_names(connection, found.label_set_id)
            query = sa.select(ledger).where(ledger.c.account_id == found.id).order_by(ledger.c.id)
            return [_ledger_row(row, names) for row in connection.execute(query)]


def _texts(values: Items) -> list[str]:
    return [str(value) for value in np.asarray(values, object).tolist()]


def _account(row: sa.Row) -> Account:
    amounts = from_units(row.budget), from_units(row.spent)
    return Account(row.name, row.label_set, *amounts, bool(row.peeked))


def _ledger_row(row: sa.Row, names: tuple[str, ...]) -> LedgerRow:
    name = names[row.label] if 0 <= row.label < len(names) else str(row.label)
    return LedgerRow(
        row.item, row.label, name, from_units(row.cost),
        row.purpose, row.round, row.asked_by, row.asked_time,
    )  # fmt: skip
