"""The labelled set, and the purchase of further labels within the budget."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle


class Labelled(NamedTuple):
    """The labelled set: indices of the training images and their labels, in order of purchase."""

    indices: Int[np.ndarray, "m"]
    labels: Int[np.ndarray, "m"]


NO_LABELS = Labelled(np.zeros(0, int), np.zeros(0, int))


def affordable(oracle: Oracle, indices: Int[np.ndarray, "m"]) -> Int[np.ndarray, "q"]:
    """Return the indices whose labels the remaining budget buys, going through them in order.

    An index whose label costs more than what is then left is skipped.
    """
    # 1e-9 here and below allows for rounding errors in sums of prices.
    left, bought = oracle.remaining + 1e-9, np.zeros(len(indices), bool)
    for place, price in enumerate(oracle.cost(indices).tolist()):
        bought[place] = price <= left
        left -= price * bought[place]
    return indices[bought]


def num_affordable(
    oracle: Oracle,
    num_images: int,
    asked: Int[np.ndarray, "m"] = NO_LABELS.indices,
    *,
    surely: bool = False,
) -> int:
    """Return the number of further labels that the remaining budget buys.

    The estimate uses the mean price of the unlabelled images whose label is affordable. Prices are
    read once (`Oracle.prices`), so that a resumed run plans the same numbers; only `surely` reads
    them again.

    Args:
      num_images: the images are those with indices below this.
      asked: indices of the labelled images.
      surely: return a number that is affordable whichever images are chosen, by using the highest
        price of all unlabelled images.
    """
    excluded = asked if surely else np.append(asked, unaffordable(oracle, num_images))
    left = np.setdiff1d(np.arange(num_images), excluded)
    if not len(left):
        return 0
    prices = oracle.cost(left) if surely else oracle.prices[left]
    price = float(prices.max() if surely else prices.mean())
    bought = oracle.remaining / price + 1e-9 if price > 0 else math.inf
    return int(min(len(left), bought))


def unaffordable(oracle: Oracle, num_images: int) -> Int[np.ndarray, "m"]:
    """Return the indices of the images whose label alone costs more than the remaining budget."""
    return np.flatnonzero(oracle.prices[:num_images] > oracle.remaining + 1e-9)


def plan(oracle: Oracle, num_images: int) -> int:
    """Return the number of labels to plan for at the start of a run: at least 1.

    It is `num_affordable` for an empty labelled set.

    Raises:
      UsageError: the budget does not buy even the cheapest label.
    """
    cheapest = float(oracle.prices[:num_images].min()) if num_images else math.inf
    if cheapest > oracle.remaining + 1e-9:
        raise UsageError(f"a budget of {oracle.remaining:g} buys no label: the cheapest costs "
                         f"{cheapest:g}")  # fmt: skip
    return max(1, num_affordable(oracle, num_images))


def chosen(
    log: Log,
    number: int,
    count: int,
    num_images: int,
    labelled: Labelled,
    choose: Callable[[], Int[np.ndarray, "count"]],
) -> Int[np.ndarray, "count"]:
    """Return the indices of up to `count` images to label in a round; a resumed run repeats them.

    The choice is kept in a checkpoint of the log. A resumed run reuses it, so that no bought label
    is wasted, even if its networks differ: another machine rounds differently, and a new class
    named by a person means that the networks are trained again. There are fewer indices if `choose`
    returns fewer.

    Args:
      number: the round's number.
      num_images: the number of training images.
      labelled: the labelled set, whose images are not chosen.
      choose: a function that returns the indices of `count` images; called only if the checkpoint
        holds too few.
    """
    before = restored_choice(log, number, num_images)
    before = before[~np.isin(before, labelled.indices)][:count]
    if len(before) == count:
        return before
    picked = np.asarray(choose(), int)
    wanted = np.append(before, picked[~np.isin(picked, before)])[:count]
    save_indices(log, _name(number), wanted, num_images)
    return wanted


def restored_choice(log: Log, number: int, num_images: int) -> Int[np.ndarray, "m"]:
    """Return the indices of the images that an interrupted run chose in a round, if any."""
    return restore_indices(log, _name(number), num_images)


def save_indices(log: Log, name: str, indices: Int[np.ndarray, "m"], num_images: int) -> None:
    """Save indices of images in a checkpoint whose shape does not depend on their number.

    A checkpoint with more indices replaces one with fewer.

    Args:
      name: the checkpoint's name.
      num_images: the number of training images.
    """
    padded = np.pad(indices, (0, num_images - len(indices)), constant_values=-1)
    log.save(name, len(indices), padded)


def restore_indices(log: Log, name: str, num_images: int) -> Int[np.ndarray, "m"]:
    """Return the indices saved by `remember` under a name; empty if there are none."""
    restored = log.restore(name, np.full(num_images, -1))
    padded = np.full(0, -1) if restored is None else np.asarray(restored[1])
    return padded[padded >= 0]


def _name(number: int) -> str:
    return f"asked_{number}"


def buy(oracle: Oracle, labelled: Labelled, wanted: Int[np.ndarray, "m"], number: int) -> Labelled:
    """Buy the labels of `wanted` images within the budget, and return the whole labelled set.

    Args:
      labelled: the labelled set before.
      wanted: the images to label, in order of preference (see `affordable`).
      number: the round's number for the ledger.

    Raises:
      BudgetExceeded: the labelled set is empty, and each of `wanted` costs more than the budget.
    """
    asked = affordable(oracle, wanted)
    if not len(asked) and not len(labelled.indices):
        asked = wanted[:1]  # unaffordable, so that the oracle raises BudgetExceeded
    answers = oracle.ask(asked, purpose="train", round=number)
    return Labelled(np.append(labelled.indices, asked), np.append(labelled.labels, answers))
