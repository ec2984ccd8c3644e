"""The label store: an SQL database of labels, accounts with budgets, and purchases."""

import math
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float, Int

from jaxlabel.errors import StoreError
from jaxlabel.oracle import corrections, purchase
from jaxlabel.oracle.engine import location, open_engine, transaction
from jaxlabel.oracle.purchase import Reveal
from jaxlabel.oracle.queries import (
    account_record,
    class_names,
    count_matches,
    find_account,
    insert_missing,
    label_set_id,
    ledger_record,
    locked_label_set_id,
    lookup,
    prices_of,
    refusals,
    stored_costs,
)
from jaxlabel.oracle.records import Account, Bought, Contradiction, LedgerRow
from jaxlabel.oracle.schema import (
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
    """A database of labels, accounts with budgets, and a ledger of every label bought.

    An item is the id of an image: the hash of its pixels. A label is the index of a class. A label
    set is the classes and labels of one data set, with a name such as "mnist". An account is a
    budget for labels of one label set; each run buys from an account. Any number of processes may
    use a store at the same time. An account is charged once per label, its budget is never
    exceeded, and purchases are atomic.

    Args:
      url: `sqlite:///FILE.db`, or `postgresql://USER:PASSWORD@HOST/DATABASE`.

    Attributes:
      engine: the SQLAlchemy engine of the database.
      place: the place of the database for messages: its file, or its server without a password.

    Raises:
      StoreError: the database cannot be used. Every method may raise this error too.
    """

    def __init__(self, url: str):
        self.engine = open_engine(url)
        self.place = location(self.engine)
        # A store in memory keeps one connection open, also when nobody calls close()
        self._dispose = weakref.finalize(self, self.engine.dispose)

    def close(self) -> None:
        """Close the database; only a store in memory needs this, and loses its content.

        A store that nobody closes is closed when it is no longer referenced.
        """
        self._dispose()

    def __enter__(self) -> Self:
        """Return the store, which is closed at the end of the `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def define(self, label_set: str, names: Sequence[str]) -> None:
        """Define the classes of a label set (the classes and labels of one data set).

        `names[i]` is the name of class `i`. The label set is created if it does not exist. If it
        already has classes, `names` must agree with them position by position. Further names are
        added as new classes; a shorter list is accepted and changes nothing.

        Raises:
          StoreError: a name differs from that of the existing class, or occurs twice.
        """
        new_names = _texts(names)
        for name, count in Counter(new_names).items():
            if count > 1:
                raise StoreError(f"{label_set} has {count} classes called {name!r}: rename them")
        with transaction(self.engine, write=True) as connection:
            key = locked_label_set_id(connection, label_set)
            old_names = class_names(connection, key)
            for label, (old, new) in enumerate(zip(old_names, new_names, strict=False)):
                if old != new:
                    raise StoreError(
                        f"the label store {self.place} calls class {label} of {label_set} "
                        f"{old!r}, not {new!r}: name another store, or correct the classes"
                    )
            rows = [
                {"label_set_id": key, "label": label, "name": new_names[label]}
                for label in range(len(old_names), len(new_names))
            ]
            if rows:
                connection.execute(sa.insert(classes), rows)

    def classes(self, label_set: str) -> tuple[str, ...]:
        """Return the class names of a label set (the classes and labels of one data set), by index.

        The tuple is empty if the label set does not exist.
        """
        with transaction(self.engine) as connection:
            return class_names(connection, label_set_id(connection, label_set))

    def add_labels(
        self,
        label_set: str,
        items: Items,
        given: Labels,
        costs: Sequence[float] | None = None,
    ) -> list[Contradiction]:
        """Store labels of images, and return those that contradict a label stored before.

        The first label and price of an image are kept; a contradicting label is not stored.

        Args:
          label_set: the name of the label set (the classes and labels of one data set).
          items: the ids of the images; an id may be repeated.
          given: the label (index of a class) of each image.
          costs: the price of each label; None for the prices that `jaxlabel.oracle.prices` has
            stored, or else 1.

        Raises:
          StoreError: the lengths differ, or a label is not the index of a defined class.
        """
        names, values = _texts(items), np.asarray(given, np.int64).tolist()
        units = None if costs is None else [to_units(cost, "cost") for cost in costs]
        num_costs = len(names) if units is None else len(units)
        if not len(names) == len(values) == num_costs:
            raise StoreError(f"{len(names)} items have {len(values)} labels, {num_costs} costs")
        with transaction(self.engine, write=True) as connection:
            key = locked_label_set_id(connection, label_set)
            num_classes = len(class_names(connection, key))
            for label in set(values):
                if not 0 <= label < num_classes:
                    raise StoreError(f"label {label} is none of the {num_classes} classes of "
                                     f"{label_set}: define its class first")  # fmt: skip
            query = sa.select(labels.c.item, labels.c.label).where(labels.c.label_set_id == key)
            rows = lookup(connection, query, labels.c.item, dict.fromkeys(names))
            kept = {row.item: row.label for row in rows}
            new, contradictions = [], []
            if units is None:
                known_prices = prices_of(connection, key, names)
                units = [known_prices[name] for name in names]
            for item, label, price in zip(names, values, units, strict=True):
                if item not in kept:
                    kept[item] = label
                    row = {"label_set_id": key, "item": item, "label": label, "cost": price}
                    new.append(row)
                elif kept[item] != label:
                    contradictions.append(Contradiction(item, kept[item], label))
            if new:
                connection.execute(sa.insert(labels), new)
        return contradictions

    def bought(self, label_set: str, items: Items) -> dict[str, int]:
        """Return a dict from item to label for those given items that any account has bought.

        An item is the id of an image. An account is the budget from which a run buys labels.
        """
        with transaction(self.engine) as connection:
            key = label_set_id(connection, label_set)
            return corrections.bought_labels(connection, key, dict.fromkeys(_texts(items)))

    def correct(self, label_set: str, items: Items, given: Labels) -> list[str]:
        """Replace the stored labels of images by `given`, and return the ids of the changed images.

        Images without a stored label, and images whose label any account (a run's budget) has
        bought, are not changed. A class that loses its last label is removed, unless this would
        change the index of a class of which a label was bought.
        """
        pairs = zip(_texts(items), np.asarray(given, np.int64).tolist(), strict=True)
        with transaction(self.engine, write=True) as connection:
            key = locked_label_set_id(connection, label_set)
            return corrections.correct_labels(connection, key, dict(pairs))

    def num_labelled(self, label_set: str, items: Items) -> int:
        """Return how many of the given images have a label; repeated images count each time."""
        counts = Counter(_texts(items))
        with transaction(self.engine) as connection:
            key = label_set_id(connection, label_set)
            query = sa.select(labels.c.item).where(labels.c.label_set_id == key)
            rows = lookup(connection, query, labels.c.item, counts)
        return sum(counts[row.item] for row in rows)

    def costs(self, label_set: str, items: Items) -> Float[np.ndarray, "n"]:
        """Return the price of each image's label; 1 if neither a label nor a price is stored.

        The price is infinite if the image has no label and a person answered "not sure" for it.
        """
        names = _texts(items)
        with transaction(self.engine) as connection:
            key = label_set_id(connection, label_set)
            stored = stored_costs(connection, key, names)
            refused = set(refusals(connection, key))
        return np.array(
            [math.inf if item in refused else from_units(stored[item]) for item in names],
            np.float64,
        )

    def agreement(self, label_set: str, items: Items, given: Labels) -> float:
        """Return the share of images whose stored label equals the given label.

        The share is NaN if an image has no stored label. The database counts the matches, so that
        no label is read into this process.
        """
        names = _texts(items)
        if not names or self.num_labelled(label_set, names) < len(names):
            return float("nan")
        pairs = zip(names, np.asarray(given, np.int64).tolist(), strict=True)
        with transaction(self.engine) as connection:
            key = label_set_id(connection, label_set)
            num_correct = count_matches(connection, key, pairs)
        return num_correct / len(names)

    def open_account(self, account: str, label_set: str, budget: float) -> None:
        """Create an account (a budget for labels of one label set), or raise an account's budget.

        An existing account keeps its purchases; a budget that is not larger changes nothing. An
        infinite budget means no limit.

        Raises:
          StoreError: the account exists for another label set, or the budget is not valid.
        """
        units = to_units(budget, "budget")
        with transaction(self.engine, write=True) as connection:
            key = locked_label_set_id(connection, label_set)
            values = {"name": account, "label_set_id": key, "budget": units}
            insert_missing(connection, accounts, [{**values, "spent": 0, "peeked": False}])
            row = find_account(connection, account, lock=True)
            if row.label_set_id != key:
                raise StoreError(
                    f"account {account} of the label store {self.place} buys labels of "
                    f"{row.label_set}, not of {label_set}: name another account"
                )
            raised = sa.update(accounts).where(accounts.c.id == row.id)
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
        """Return the labels of images, and charge an account for those not bought before.

        An account is a budget for labels. If an error is raised, nothing is bought.

        Args:
          account: the name of the account.
          items: the ids of the images.
          purpose: what the labels are bought for, such as "train" or "certify"; recorded in the
            ledger.
          round: the number of the query round; recorded in the ledger.
          asked_by: the user and machine that buy the labels; recorded in the ledger.
          reveal: a function `reveal(item, true_label)` that returns the label to give to the buyer,
            which is also recorded in the ledger; the default gives the true label.

        Raises:
          BudgetExceeded: the new labels cost more than the remaining budget.
          LabelsMissing: the store has no label yet for some of the new items.
        """
        reason = {"purpose": purpose, "round": int(round), "asked_by": asked_by}
        with transaction(self.engine, write=True) as connection:
            return purchase.buy(connection, account, _texts(items), reveal, reason)

    def accounts(self) -> list[Account]:
        """Return all accounts (budgets from which runs buy labels), the oldest first."""
        query = sa.select(accounts, label_sets.c.name.label("label_set")).join(label_sets)
        with transaction(self.engine) as connection:
            return [
                account_record(row) for row in connection.execute(query.order_by(accounts.c.id))
            ]

    def account(self, name: str) -> Account:
        """Return the account (budget and amount spent) of the given name.

        Raises:
          StoreError: there is no account of this name.
        """
        with transaction(self.engine) as connection:
            return account_record(find_account(connection, name))

    def spent(self, account: str) -> float:
        """Return the total cost of the labels that an account (a run's budget) has bought."""
        return self.account(account).spent

    def budget(self, account: str) -> float:
        """Return the total amount that an account may spend, including what it has spent."""
        return self.account(account).budget

    def mark_peeked(self, account: str) -> None:
        """Record permanently that the run of an account has used labels without buying them."""
        with transaction(self.engine, write=True) as connection:
            row = find_account(connection, account)
            peeked = sa.update(accounts).where(accounts.c.id == row.id).values(peeked=True)
            connection.execute(peeked)

    def ledger(self, account: str) -> list[LedgerRow]:
        """Return the labels that an account (a run's budget) has bought, the oldest first."""
        with transaction(self.engine) as connection:
            buyer = find_account(connection, account)
            names = class_names(connection, buyer.label_set_id)
            query = sa.select(ledger).where(ledger.c.account_id == buyer.id).order_by(ledger.c.id)
            return [ledger_record(row, names) for row in connection.execute(query)]


def _texts(values: Items) -> list[str]:
    """Return the values as a list of strings."""
    return [str(value) for value in np.asarray(values, object).tolist()]
