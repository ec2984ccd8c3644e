"""The labelled set, and buying further labels within the budget."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle


class Labelled(NamedTuple):
    """The labelled set: the training images whose labels are known, in order of purchase.

    Attributes:
      indices: the indices of these images among the training images.
      labels: the label of each of these images.
    """

    indices: Int[np.ndarray, "m"]
    labels: Int[np.ndarray, "m"]


NO_LABELS = Labelled(np.zeros(0, int), np.zeros(0, int))


def affordable(oracle: Oracle, indices: Int[np.ndarray, "m"]) -> Int[np.ndarray, "q"]:
    """Return those of the given images whose labels the remaining budget can buy together.

    The images are considered in the given order. An image is skipped if its label costs more than
    the budget that remains after buying the labels before it.

    Args:
      oracle: the labeller, which knows prices and the budget.
      indices: the indices of the wanted images, most wanted first.
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
    """Return the number of further labels that the remaining budget can buy.

    This is an estimate from the mean price of the unlabelled images whose labels are affordable. It
    uses the prices that the oracle read at its start (`Oracle.prices`), so that a resumed run plans
    the same numbers.

    Args:
      oracle: the labeller, which knows prices and the budget.
      num_images: the number of training images.
      asked: the indices of the labelled images.
      surely: whether to return a number that is affordable whichever images are chosen. It is then
        computed from the highest price of all unlabelled images, and current prices are read.
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
    """Return the indices of the images whose label alone costs more than the remaining budget.

    Args:
      oracle: the labeller, which knows prices and the budget.
      num_images: the number of training images.
    """
    return np.flatnonzero(oracle.prices[:num_images] > oracle.remaining + 1e-9)


def plan(oracle: Oracle, num_images: int) -> int:
    """Return the number of labels that a new run can expect to buy with its budget, at least 1.

    It is `num_affordable` without any labelled images.

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
    """Choose up to `count` images to label in a round, and return their indices.

    A round is one purchase of labels, followed by training. The choice is saved in a checkpoint of
    `log`, and a resumed run repeats it, so that no bought label is wasted. Otherwise the resumed
    run could choose differently, because its networks may differ: another machine rounds
    differently, and networks are trained again if a person has added a class.

    Args:
      number: the number of the round.
      num_images: the number of training images.
      labelled: the labelled set; its images are not chosen.
      choose: a function that returns the indices of `count` images, best first. It is called only
        if the checkpoint holds too few images. If it returns fewer, fewer are chosen.
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
    """Return the indices of the images that an interrupted run chose to label in a round.

    A round is one purchase of labels, followed by training. The indices are read from the run's
    checkpoint; the array is empty if there is none.

    Args:
      number: the number of the round.
      num_images: the number of training images.
    """
    return restore_indices(log, _name(number), num_images)


def save_indices(log: Log, name: str, indices: Int[np.ndarray, "m"], num_images: int) -> None:
    """Save indices of images in a checkpoint of a fixed size, which `restore_indices` reads.

    The indices are padded with -1 to `num_images`. A later checkpoint of the same name with more
    indices replaces this one.

    Args:
      name: the checkpoint's name.
      indices: the indices of the images.
      num_images: the number of training images.
    """
    padded = np.pad(indices, (0, num_images - len(indices)), constant_values=-1)
    log.save(name, len(indices), padded)


def restore_indices(log: Log, name: str, num_images: int) -> Int[np.ndarray, "m"]:
    """Return the indices that `save_indices` saved in the checkpoint `name`.

    The array is empty if there is no such checkpoint.

    Args:
      name: the checkpoint's name.
      num_images: the number of training images.
    """
    restored = log.restore(name, np.full(num_images, -1))
    padded = np.full(0, -1) if restored is None else np.asarray(restored[1])
    return padded[padded >= 0]


def _name(number: int) -> str:
    return f"asked_{number}"


def buy(oracle: Oracle, labelled: Labelled, wanted: Int[np.ndarray, "m"], number: int) -> Labelled:
    """Buy labels of the `wanted` images within the budget, and return the enlarged labelled set.

    Args:
      oracle: the labeller, from which labels are bought.
      labelled: the labelled set before the purchase.
      wanted: the indices of the images to label, most wanted first; those that the budget cannot
        buy are left out (see `affordable`).
      number: the number of the round (one purchase of labels and the training after it), for the
        ledger of purchases.

    Raises:
      BudgetExceeded: the labelled set is empty, and the budget buys none of the wanted labels.
    """
    asked = affordable(oracle, wanted)
    if not len(asked) and not len(labelled.indices):
        asked = wanted[:1]  # unaffordable, so that the oracle raises BudgetExceeded
    answers = oracle.ask(asked, purpose="train", round=number)
    return Labelled(np.append(labelled.indices, asked), np.append(labelled.labels, answers))
