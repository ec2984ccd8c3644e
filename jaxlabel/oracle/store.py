"""The label store: an SQL database of labels, accounts with budgets, and purchases."""

import math
import weakref
from collections.abc import Callable, Container, Sequence
from typing import Self, TypeVar

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float, Int

from jaxlabel.errors import StoreError
from jaxlabel.oracle import corrections, label_sets, named, purchase
from jaxlabel.oracle.engine import location, run_transaction
from jaxlabel.oracle.migrations import open_store
from jaxlabel.oracle.purchase import Reveal
from jaxlabel.oracle.queries import account_record, find_account, label_set_id, locked_label_set_id
from jaxlabel.oracle.records import Account, Bought, Contradiction, LedgerRow
from jaxlabel.oracle.schema import to_units

Items = Sequence[str] | np.ndarray  # item ids
Labels = Sequence[int] | Int[np.ndarray, "n"]  # indices of classes
Result = TypeVar("Result")


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
        self.engine = open_store(url)
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

    def _run(self, work: Callable[..., Result], *arguments: object, write: bool = False) -> Result:
        """Return `work(connection, *arguments)`, called in a transaction of its own.

        `write` must be True if the transaction changes the database. If the server is restarted in
        the middle, the call is repeated. This is safe: what was stored before is found, not stored
        or charged again.
        """
        return run_transaction(self.engine, work, *arguments, write=write)

    def define(self, label_set: str, names: Sequence[str]) -> None:
        """Define the classes of a label set (the classes and labels of one data set).

        `names[i]` is the name of class `i`. The label set is created if it does not exist. If it
        already has classes, `names` must agree with them position by position. Further names are
        added as new classes; a shorter list is accepted and changes nothing.

        Raises:
          StoreError: a name differs from that of the existing class, or occurs twice.
        """
        self._run(label_sets.define, label_set, _texts(names), write=True)

    def classes(self, label_set: str) -> tuple[str, ...]:
        """Return the class names of a label set (the classes and labels of one data set), by index.

        The tuple is empty if the label set does not exist.
        """
        return self._run(label_sets.names_of, label_set)

    def rename_class(self, label_set: str, old: str, new: str) -> None:
        """Give the class `old` of a label set the name `new`; its labels and votes stay.

        `label_set` is the name of the label set (the classes and labels of one data set).

        Raises:
          StoreError: there is no class `old`, or another class is called `new`.
        """
        names, (text,) = self.classes(label_set), _texts([new])
        if old not in names:
            raise StoreError(f"{label_set} has no class {old!r}")
        self._run(label_sets.rename_class, label_set, names.index(old), old, text, write=True)

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
        names = _texts(items)
        prices = None if costs is None else [to_units(cost, "cost") for cost in costs]
        values = np.asarray(given, np.int64).tolist()
        return self._run(label_sets.add_labels, label_set, names, values, prices, write=True)

    def add_named(
        self, label_set: str, items: Items, names: Sequence[str], correctable: Container[str] = ()
    ) -> named.Added:
        """Store labels of images by the names of their classes, and define the new ones.

        A class and its labels are stored in one transaction. A label stored before is kept, and so
        is its price, unless the item is in `correctable` and no account has bought the label. A new
        class is not defined if no image gets a label of it. If a correction leaves a class without
        labels, the class is removed, and the indices of the classes after it change.

        Args:
          label_set: the name of the label set (the classes and labels of one data set).
          items: the ids of the images.
          names: the class name of each image.
          correctable: the items whose stored label may be replaced.
        """
        texts = _texts(items), _texts(names)
        return self._run(named.add_named, label_set, *texts, correctable, write=True)

    def bought(self, label_set: str, items: Items | None = None) -> dict[str, int]:
        """Return a dict from item to label for those given items that any account has bought.

        An item is the id of an image; None stands for all images of the label set. An account is
        the budget from which a run buys labels.
        """
        names = None if items is None else dict.fromkeys(_texts(items))

        def find(connection: sa.Connection) -> dict[str, int]:
            key = label_set_id(connection, label_set)
            return corrections.bought_labels(connection, key, names)

        return self._run(find)

    def correct(self, label_set: str, items: Items, given: Labels) -> list[str]:
        """Replace the stored labels of images by `given`, and return the ids of the changed images.

        Images without a stored label, and images whose label any account (a run's budget) has
        bought, are not changed. A class that loses its last label is removed, unless this would
        change the index of a class of which a label was bought.
        """
        pairs = dict(zip(_texts(items), np.asarray(given, np.int64).tolist(), strict=True))

        def replace(connection: sa.Connection) -> list[str]:
            key = locked_label_set_id(connection, label_set)
            return corrections.correct_labels(connection, key, pairs)

        return self._run(replace, write=True)

    def num_labelled(self, label_set: str, items: Items) -> int:
        """Return how many of the given images have a label; repeated images count each time."""
        return self._run(label_sets.num_labelled, label_set, _texts(items))

    def is_of_other_images(self, label_set: str, items: Items) -> bool:
        """Return True if a label set has labels, but no label of any of the given images."""
        return self._run(label_sets.is_of_other_images, label_set, _texts(items))

    def costs(self, label_set: str, items: Items) -> Float[np.ndarray, "n"]:
        """Return the price of each image's label; 1 if neither a label nor a price is stored.

        The price is infinite if the image has no label and a person answered "not sure" for it.
        """
        return self._run(label_sets.costs, label_set, _texts(items), False)

    def all_costs(self, label_set: str, items: Items) -> Float[np.ndarray, "n"]:
        """Return the same as `costs`, faster if `items` are most images of the label set."""
        return self._run(label_sets.costs, label_set, _texts(items), True)

    def agreement(self, label_set: str, items: Items, given: Labels) -> float:
        """Return the share of images whose stored label equals the given label.

        The share is NaN if an image has no stored label. The database counts the matches, so that
        no label is read into this process.
        """
        values = np.asarray(given, np.int64).tolist()
        return self._run(label_sets.agreement, label_set, _texts(items), values)

    def open_account(self, account: str, label_set: str, budget: float) -> None:
        """Create an account (a budget for labels of one label set), or raise an account's budget.

        An existing account keeps its purchases; a budget that is not larger changes nothing. An
        infinite budget means no limit.

        Raises:
          StoreError: the account exists for another label set, or the budget is not valid.
        """
        units = to_units(budget, "budget")
        self._run(purchase.open_account, account, label_set, units, write=True)

    def buy(
        self,
        account: str,
        items: Items,
        *,
        purpose: str,
        round: int,
        asked_by: str,
        reveal: Reveal = lambda item, label: label,
        budget: float = math.inf,
    ) -> Bought:
        """Return the labels of images, and charge an account for those not bought before.

        An account is a budget for labels. If an error is raised, nothing is bought.

        Args:
          account: the name of the account.
          items: the ids of the images; an id may be repeated.
          purpose: what the labels are bought for, such as "train" or "certify"; recorded in the
            ledger.
          round: the number of the query round; recorded in the ledger.
          asked_by: the user and machine that buy the labels; recorded in the ledger.
          reveal: a function `reveal(item, true_label)` that returns the label to give to the buyer,
            which is also recorded in the ledger; the default gives the true label.
          budget: the budget of the run that buys, if the account's budget may be larger. No
            purchase brings the total spending of the account above it.

        Raises:
          BudgetExceeded: the new labels cost more than is left of the account's budget, or of
            `budget`.
          LabelsMissing: the store has no label yet for some of the new items.
        """
        reason = {"purpose": purpose, "round": int(round), "asked_by": asked_by}
        limit = to_units(budget, "budget")
        return self._run(purchase.buy, account, _texts(items), reveal, reason, limit, write=True)

    def accounts(self) -> list[Account]:
        """Return all accounts (budgets from which runs buy labels), the oldest first."""
        return self._run(purchase.all_accounts)

    def account(self, name: str) -> Account:
        """Return the account (budget and amount spent) of the given name.

        Raises:
          StoreError: there is no account of this name.
        """
        return account_record(self._run(find_account, name))

    def spent(self, account: str) -> float:
        """Return the total cost of the labels that an account (a run's budget) has bought."""
        return self.account(account).spent

    def budget(self, account: str) -> float:
        """Return the total amount that an account may spend, including what it has spent."""
        return self.account(account).budget

    def mark_peeked(self, account: str) -> None:
        """Record permanently that the run of an account has used labels without buying them."""
        self._run(purchase.mark_peeked, account, write=True)

    def ledger(self, account: str) -> list[LedgerRow]:
        """Return the labels that an account (a run's budget) has bought, the oldest first."""
        return self._run(purchase.ledger_rows, account)


def _texts(values: Items) -> list[str]:
    """Return the values as a list of strings.

    Raises:
      StoreError: a string has a character that a database cannot keep.
    """
    texts = [str(value) for value in np.asarray(values, object).tolist()]
    if not _can_be_stored("".join(texts)):
        bad = next(text for text in texts if not _can_be_stored(text))
        raise StoreError(f"{bad!r} is no item or name for a label store: it has a NUL character or "
                         "half of a surrogate pair")  # fmt: skip
    return texts


def _can_be_stored(text: str) -> bool:
    """Return False if a text has a NUL character, or half of a surrogate pair, which is no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
