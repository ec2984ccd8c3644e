"""The `Oracle`: the object from which a method buys labels of training images within a budget."""

import functools
import getpass
import hashlib
import math
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from jaxlabel.errors import BudgetExceeded, LabelsMissing, NewClass, UsageError

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore


class Oracle:
    """Sells the labels of a run's training images, and charges them to the run's account.

    An account is a budget in the label store. For example, `oracle.ask([3, 7])` returns the labels
    of the training images 3 and 7 and charges the account for two labels.

    Args:
      store: the label store (a database), which has the labels and the account.
      account: the name of the account to charge; it must exist in the store.
      items: the id of each training image. Methods pass indices into this list.
      num_classes: the number of classes; labels are 0 ... num_classes - 1.
      budget: the budget of the run: the largest total that the account may have spent after a
        purchase through this object. If the account's budget is smaller, that one counts.
      asked_by: the buyer's name that the ledger records; if empty, this user on this machine.
      noise: the probability with which a label is replaced by another class, for experiments.
      seed: the seed of the noise. The noise of an item depends only on the seed and the item.
      allow_peek: whether `peek_accuracy` may be called, which uses labels that were not bought.
      answer_missing: a function that is called with the ids of images that have no label in the
        store yet. It must put their labels into the store; `ask` then buys them. If it is None,
        `ask` raises LabelsMissing for such images.
      recorded: False if somebody has to be asked for labels, who answers several questions at a
        time rather than one. None: False if there is a function `answer_missing`.

    Attributes:
      store: the label store from which this oracle takes the labels.
      account: the name of the account that is charged for the labels.
      num_classes: the number of classes.
      budget: the smaller one of the run's budget and the account's budget when this object was
        made.
      recorded: False if somebody has to be asked for labels.

    Raises:
      StoreError: there is no account of this name.
      UsageError: `noise` is positive, but there are fewer than two classes.
    """

    def __init__(
        self,
        store: "LabelStore",
        account: str,
        items: Sequence[str],
        *,
        num_classes: int,
        budget: float = math.inf,
        asked_by: str = "",
        noise: float = 0.0,
        seed: int = 0,
        allow_peek: bool = False,
        answer_missing: Callable[[list[str]], None] | None = None,
        recorded: bool | None = None,
    ):
        if noise and num_classes < 2:
            raise UsageError("noise needs at least two classes: there is only one")
        record = store.account(account)
        self.num_classes = num_classes
        self.recorded = answer_missing is None if recorded is None else recorded
        self.store, self.account, self._label_set = store, account, record.label_set
        self._items = np.asarray(items, object)
        self._limit, self.budget = budget, min(budget, record.budget)
        self._bought = dict[str, float]()
        self._asked_by = asked_by or _user_at_host()
        self._noise, self._seed, self._allow_peek = noise, seed, allow_peek
        self._answer_missing = answer_missing
        self._earlier = dict[str, float]()  # the price paid for each label bought before the run

    def start_after(self, num_purchases: int) -> None:
        """Leave the first labels that the account bought out of the run's budget and spending.

        Several runs can share an account. A label that the account bought before this run began is
        free for the run, and its price is no longer part of the run's budget.

        Args:
          num_purchases: the number of labels that the account had bought when the run began. It
            must be the same if the run is killed and started again.
        """
        rows = self.store.ledger(self.account)[:num_purchases] if num_purchases else []
        self._earlier = {row.item: row.cost for row in rows}
        self.__dict__.pop("prices", None)  # they may have been read before

    def ask(
        self, indices: Int[np.ndarray, "n"], *, purpose: str = "train", round: int = 0
    ) -> Int[np.ndarray, "n"]:
        """Buy the labels of the images at `indices`, and return them in the order of `indices`.

        The labels are charged to the run's account (its budget). A label that the account bought
        before is free, and so is the label of an identical image. If an error is raised, nothing is
        bought.

        Args:
          indices: indices of training images.
          purpose: what the labels are bought for, such as "train" or "certify". The ledger (the
            account's list of purchases) records it.
          round: the number of the query round, which the ledger records too.

        Returns:
          The labels, as int32.

        Raises:
          BudgetExceeded: the new labels cost more than the remaining budget.
          LabelsMissing: the store has no label yet for the images in the error's `items`.
          NewClass: a label is not one of this run's classes.
          IndexError: an index is out of range.
          TypeError: `indices` is not a list of integers.
        """
        items = self._items[self._check_indices(indices)]
        buy = functools.partial(
            self.store.buy, self.account, items, purpose=purpose, round=round,
            asked_by=self._asked_by, reveal=self._reveal, budget=self._limit,
        )  # fmt: skip
        try:
            try:
                bought = buy()
            except LabelsMissing as missing:
                if self._answer_missing is None:
                    raise
                self._answer_missing(missing.items)
                bought = buy()
        except LabelsMissing as missing:
            missing.purpose = purpose
            raise
        except BudgetExceeded as error:
            if self.store.spent(self.account) <= self.spent + sum(self._earlier.values()) + 1e-6:
                raise
            raise BudgetExceeded(
                f"{error.fact}. Either another run has bought labels from this account since this "
                "run began, or this run chose other images before it was started again",
                "Start a run in another workdir with this account and a larger budget: all labels "
                "bought so far are free for it",
            ) from error
        for label in set(bought.labels.tolist()):  # another run may have bought it, of a new class
            self._check_class(label)
        self._bought.update(zip(items.tolist(), bought.costs.tolist(), strict=True))
        return bought.labels

    @property
    def items(self) -> list[str]:
        """Return the ids of all training images, in the order of their indices."""
        return [str(item) for item in self._items]

    def cost(self, indices: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """Return the current price of the label of each image at `indices`, without buying it.

        The price is 0 if the label, or that of an identical image, was asked for through this
        object, or if the account bought it before the run began (see `start_after`). A label
        without a set price costs 1. The price is infinite if somebody answered "not sure" for the
        image and it has no label.
        """
        items = self._items[self._check_indices(indices)]
        prices = self._free_if_earlier(items, self.store.costs(self._label_set, items))
        return np.where([item in self._bought for item in items], 0.0, prices)

    def first_copies(self, indices: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """Return, for each image at `indices`, where in `indices` an identical image occurs first.

        Identical images are one item, whose label is charged once. For example, the result is
        [0, 1, 0] if the first and the third image are identical, and the second one is not.
        """
        numbers = self._item_numbers[self._check_indices(indices)]
        _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
        return first[which]

    @functools.cached_property
    def _item_numbers(self) -> Int[np.ndarray, "num_images"]:
        return np.unique(self._items, return_inverse=True)[1]

    @functools.cached_property
    def prices(self) -> Float[np.ndarray, "num_images"]:
        """Return the price of the label of every training image, read from the store only once.

        Later changes of prices are not seen; `cost` returns the current prices.
        """
        return self._free_if_earlier(
            self._items, self.store.all_costs(self._label_set, self._items)
        )

    def _free_if_earlier(
        self, items: Iterable[str], prices: Float[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n"]:
        """Return the prices of items, with 0 for those that were bought before the run began."""
        if not self._earlier:
            return prices
        is_free = np.array([item in self._earlier for item in items], bool)
        return np.where(is_free, 0.0, prices)

    @property
    def spent(self) -> float:
        """Return the total cost of the labels asked for through this object, each counted once.

        Labels that an earlier session of this run bought count too, at the price of that time. So a
        run that was killed and started again makes the same decisions, although these labels are
        now free. Labels that the account bought before the run began count as 0 (see
        `start_after`). The total amount charged to the account is `LabelStore.spent`.
        """
        asked = self._bought.items()
        return round(sum(cost for item, cost in asked if item not in self._earlier), 6)

    @property
    def num_bought(self) -> int:
        """Return the number of different items whose labels were asked for through this object.

        Identical images are one item.
        """
        return len(self._bought)

    @property
    def num_free(self) -> int:
        """Return how many of the `num_bought` items the account bought before the run began."""
        return len(self._bought.keys() & self._earlier.keys())

    @property
    def remaining(self) -> float:
        """Return the run's `budget` minus its `spent`.

        What the account spent before the run began is subtracted too (see `start_after`).
        """
        return round(self.budget - sum(self._earlier.values()) - self.spent, 6)

    def peek_accuracy(self, labels: Int[np.ndarray, "n"]) -> float:
        """Return the share of training images whose true label equals the given label.

        This uses labels without buying them, which is called peeking. It serves only to compare
        with published methods that stopped training by such an accuracy. The store permanently
        records that the account has peeked.

        Args:
          labels: one predicted label for each training image.

        Raises:
          UsageError: this oracle was made with `allow_peek=False`.
          ValueError: the number of labels is not the number of training images.
          LabelsMissing: the store does not have the labels of all training images.
        """
        if not self._allow_peek:
            raise UsageError(
                "this run may use only labels that it bought: only a run with stop=peek may peek"
            )
        if np.shape(labels) != self._items.shape:
            raise ValueError(f"labels have shape {np.shape(labels)}, not {self._items.shape}")
        self.store.mark_peeked(self.account)
        accuracy = self.store.agreement(self._label_set, self._items, labels)
        if np.isnan(accuracy):
            raise LabelsMissing("peeking needs all the labels, but the store lacks some", [])
        return accuracy

    def _check_indices(self, indices: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """Return `indices` as an integer array, or raise an error if they are not valid."""
        array = np.asarray(indices)
        if array.size == 0:
            return np.zeros(0, np.int64)
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"indices must be a list of integers, not {array.dtype} {array.shape}")
        if array.min() < 0 or array.max() >= len(self._items):
            raise IndexError(f"indices must be from 0 to {len(self._items) - 1}")
        return array

    def _check_class(self, label: int) -> None:
        """Raise a NewClass error if a label is not one of this run's classes."""
        if not 0 <= label < self.num_classes:
            classes = "1 class" if self.num_classes == 1 else f"{self.num_classes} classes"
            raise NewClass(
                f"the label store has class {label} of {self._label_set}, but this run began with "
                f"{classes}: start it again, so that it reads all classes from the store"
            )

    def _reveal(self, item: str, label: int) -> int:
        """Return the true label or, with probability `noise`, another class.

        The other classes are equally likely.

        Raises:
          NewClass: the true label is not one of this run's classes.
        """
        self._check_class(label)
        if not self._noise:
            return label
        digest = hashlib.blake2b(f"{self._seed}:{item}".encode(), digest_size=16).digest()
        draws = [int.from_bytes(half, "big") for half in (digest[:8], digest[8:])]
        if draws[0] >= self._noise * 2**64:
            return label
        return (label + 1 + draws[1] % (self.num_classes - 1)) % self.num_classes


def _user_at_host() -> str:
    """Return the user and the machine of this process, such as "ann@server1"."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may have a user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
