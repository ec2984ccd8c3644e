"""The Oracle: where a method asks for labels, and pays for them."""

import functools
import getpass
import hashlib
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from jaxlabel.errors import LabelsMissing, StoreError, UsageError

if TYPE_CHECKING:
    from jaxlabel.oracle.store import LabelStore


class Oracle:
    """The labels of a run's training images, one account's worth of them.

    Args:
      store: where the labels and the account are; the account is open.
      account: who pays.
      items: the id of each training image; an index is a position in it.
      num_classes: answers are in 0 ... num_classes - 1.
      asked_by: for the ledger; empty: this user on this machine.
      noise: the share of answers that are another class, chosen by `seed` and the item alone.
      allow_peek: whether `peek_accuracy` may be used.
    """

    def __init__(
        self,
        store: "LabelStore",
        account: str,
        items: Sequence[str],
        *,
        num_classes: int,
        asked_by: str = "",
        noise: float = 0.0,
        seed: int = 0,
        allow_peek: bool = False,
    ):
        if noise and num_classes < 2:
            raise UsageError("noise needs another class to answer: there is only one")
        found = store.account(account)
        self.num_classes = num_classes
        self._store, self._account, self._label_set = store, account, found.label_set
        self._items = np.asarray(items, object)
        self._budget, self._bought = found.budget, dict[str, float]()
        self._asked_by = asked_by or _this_user()
        self._noise, self._seed, self._allow_peek = noise, seed, allow_peek

    def ask(
        self, indices: Int[np.ndarray, "n"], *, purpose: str = "train", round: int = 0
    ) -> Int[np.ndarray, "n"]:
        """The labels (int32) of the images at `indices`, in that order; all are paid for, or none.

        A label that the account has bought before is free, also when this image is a copy.

        Raises:
          BudgetExceeded: the new ones cost more than is left. Nothing was charged.
          LabelsMissing: nobody has answered some of them yet; `items` says which.
          IndexError, TypeError: these are no indices.
        """
        items = self._items[self._checked(indices)]
        try:
            bought = self._store.buy(
                self._account, items, purpose=purpose, round=round, asked_by=self._asked_by,
                reveal=self._reveal,
            )  # fmt: skip
        except LabelsMissing as error:
            error.purpose = purpose
            raise
        self._bought.update(zip(items.tolist(), bought.costs.tolist(), strict=True))
        return bought.labels

    def cost(self, indices: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """The prices of the labels at `indices`, whether bought or not: reading them is free."""
        return self._store.costs(self._label_set, self._items[self._checked(indices)])

    @functools.cached_property
    def prices(self) -> Float[np.ndarray, "num_images"]:
        """What every label cost when this was read first: to plan by, where `cost` is what holds.

        A database of 60,000 items takes a quarter of a second to say so, every round.
        """
        return self.cost(np.arange(len(self._items)))

    @property
    def spent(self) -> float:
        """What the labels asked for through this object cost, each counted once.

        So a run that was killed and is replayed sees what it saw the first time, although it
        now gets them free: the truth is in the ledger.
        """
        return round(sum(self._bought.values()), 6)

    @property
    def num_bought(self) -> int:
        """How many labels were asked for through this object, those of copies counted once."""
        return len(self._bought)

    @property
    def remaining(self) -> float:
        """The account's budget, as it was when this object was made, less `spent`."""
        return round(self._budget - self.spent, 6)

    def peek_accuracy(self, labels: Int[np.ndarray, "n"]) -> float:
        """The share of all training images whose true label is the given one: not bought.

        It is for comparison with work that stopped by such a number. The store then says for
        ever that the account has peeked.

        Raises:
          UsageError: this run may not.
          LabelsMissing: the store does not know all the labels.
        """
        if not self._allow_peek:
            raise UsageError("this run pays for what it knows: only one with stop=peek may peek")
        if np.shape(labels) != self._items.shape:
            raise ValueError(f"labels have shape {np.shape(labels)}, not {self._items.shape}")
        self._store.mark_peeked(self._account)
        accuracy = self._store.agreement(self._label_set, self._items, labels)
        if np.isnan(accuracy):
            raise LabelsMissing("peeking needs all the labels, and the store lacks some", [])
        return accuracy

    def _checked(self, indices: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        array = np.asarray(indices)
        if array.size == 0:
            return np.zeros(0, np.int64)
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"indices are a list of integers, not {array.dtype} {array.shape}")
        if array.min() < 0 or array.max() >= len(self._items):
            raise IndexError(f"indices go from 0 to {len(self._items) - 1}")
        return array

    def _reveal(self, item: str, label: int) -> int:
        """What is answered: the label, or with probability `noise` one of the other classes."""
        if not 0 <= label < self.num_classes:
            raise StoreError(
                f"the label store knows class {label} of {self._label_set}, this run only "
                f"{self.num_classes} classes: start it again with all of them"
            )
        if not self._noise:
            return label
        digest = hashlib.blake2b(f"{self._seed}:{item}".encode(), digest_size=16).digest()
        draws = [int.from_bytes(half, "big") for half in (digest[:8], digest[8:])]
        if draws[0] >= self._noise * 2**64:
            return label
        return (label + 1 + draws[1] % (self.num_classes - 1)) % self.num_classes


def _this_user() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may have a user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
