"""The labelled set, and buying further labels within the budget."""

import math
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float, Int

from jaxlabel.errors import BudgetExceeded, DataError, UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle


class Labelled(NamedTuple):
    """The labelled set: the training images whose labels were bought, in order of purchase.

    Attributes:
      indices: the indices of these images among the training images.
      labels: the labels of these images, as class indices.
    """

    indices: Int[np.ndarray, "m"]
    labels: Int[np.ndarray, "m"]


NO_LABELS = Labelled(np.zeros(0, int), np.zeros(0, int))


def highest_price(left: float) -> float:
    """Return the highest price, or sum of prices, for which the rest `left` of a budget suffices.

    It is larger than `left` by 1e-9, because computed sums of prices are rounded: 0.3 - 0.1 - 0.1
    is slightly less than 0.1. The label store itself counts in millionths and is exact.
    """
    return left + 1e-9


def num_in_budget(prices: Float[np.ndarray, "m"], left: float, *, surely: bool = False) -> int:
    """Estimate how many labels the rest `left` of a budget buys, and return this number.

    Free labels count only if all are free. Labels with an infinite price, which nobody could give,
    are left out.

    Args:
      prices: the price of each label that may be bought.
      left: the rest of the budget.
      surely: True to compute with the highest price; otherwise with the mean price.
    """
    prices = prices[np.isfinite(prices)]
    if not len(prices):
        return 0
    prices = prices[prices > 0] if prices.any() else prices
    price = float(prices.max() if surely else prices.mean())
    bought = left / price + 1e-9 if price > 0 else math.inf  # 1e-9 for the rounding of the quotient
    return int(min(len(prices), bought))


def affordable(oracle: Oracle, indices: Int[np.ndarray, "m"]) -> Int[np.ndarray, "q"]:
    """Return the indices of those wanted images whose labels the remaining budget can buy.

    The images are considered in the given order. An image is skipped if its label costs more than
    what remains of the budget after the labels of the images before it. The label of an image that
    is identical to an earlier one costs nothing. Nothing is bought.

    Args:
      oracle: the object that sells labels and keeps the budget.
      indices: the indices of the wanted images, most wanted first.
    """
    left, bought = highest_price(oracle.remaining), np.zeros(len(indices), bool)
    first = oracle.first_copies(indices)
    for place, price in enumerate(oracle.cost(indices).tolist()):
        if first[place] < place:
            bought[place] = bought[first[place]]
        elif price <= left and math.isfinite(price):
            bought[place] = True
            left -= price
    return indices[bought]


def num_affordable(
    oracle: Oracle,
    num_images: int,
    asked: Int[np.ndarray, "m"] = NO_LABELS.indices,
    *,
    surely: bool = False,
) -> int:
    """Estimate how many more labels the remaining budget can buy, and return this number.

    The estimate uses the mean price of the unlabelled images whose label alone is affordable, and
    the prices that the oracle read when it was created (`Oracle.prices`). So a resumed run gets the
    same number as the interrupted one. Labels that are free (`Oracle.start_after`) count only if
    the budget buys no other, because the number would otherwise promise more paid labels than the
    budget has. Identical images count as one label, except with `surely`.

    Args:
      oracle: the object that sells labels and keeps the budget.
      num_images: the number of training images.
      asked: the indices of the labelled images.
      surely: True to return a number that is affordable whichever unlabelled images are chosen. It
        is then computed from the highest of their current prices.
    """
    everything = np.arange(num_images)
    excluded = asked if surely else np.append(asked, unavailable(oracle, everything, asked))
    left = np.setdiff1d(everything, excluded)
    if not len(left):
        return 0
    prices = oracle.cost(left) if surely else oracle.prices[left]
    return num_in_budget(prices, oracle.remaining, surely=surely)


def unaffordable(oracle: Oracle, num_images: int) -> Int[np.ndarray, "m"]:
    """Return the indices of those training images whose label costs more than the remaining budget.

    An image that no person could label has an infinite price.

    Args:
      oracle: the object that sells labels and keeps the budget.
      num_images: the number of training images.
    """
    prices = oracle.prices[:num_images]
    return np.flatnonzero((prices > highest_price(oracle.remaining)) | ~np.isfinite(prices))


def unavailable(
    oracle: Oracle, rows: Int[np.ndarray, "n"], asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "u"]:
    """Return the indices of those unlabelled images that a query strategy must not choose.

    Their label costs more than the remaining budget, or they are identical to a labelled image or
    to an earlier one of `rows`: the label of a copy is known without a question.

    Args:
      oracle: the object that sells labels and keeps the budget.
      rows: the indices of the images to choose from. Of identical images, the first is available.
      asked: the indices of the labelled images.
    """
    ordered = np.append(asked, rows[~np.isin(rows, asked)])
    copies = ordered[oracle.first_copies(ordered) < np.arange(len(ordered))]
    return np.setdiff1d(np.append(unaffordable(oracle, len(oracle.prices)), copies), asked)


def num_labels_in_budget(oracle: Oracle, num_images: int) -> int:
    """Return the number of labels that a new run can expect to buy with its budget, at least 1.

    It is the estimate of `num_affordable` when no image is labelled yet.

    Args:
      oracle: the object that sells labels and keeps the budget.
      num_images: the number of training images.

    Raises:
      DataError: nobody can label any of the images.
      UsageError: the budget does not buy even the cheapest label.
    """
    prices = oracle.prices[:num_images]
    _check_somebody_can_label(prices)
    cheapest = float(prices.min())
    if cheapest > highest_price(oracle.remaining):
        raise UsageError(f"a budget of {oracle.remaining:g} buys no label: the cheapest costs "
                         f"{cheapest:g}")  # fmt: skip
    return max(1, num_affordable(oracle, num_images))


def chosen(
    oracle: Oracle,
    log: Log,
    number: int,
    count: int,
    num_images: int,
    labelled: Labelled,
    choose: Callable[[], Int[np.ndarray, "count"]],
) -> Int[np.ndarray, "count"]:
    """Choose up to `count` images to label in a round, and return their indices.

    A round is one purchase of labels and the training after it. The choice is saved in a
    checkpoint, and a resumed run chooses the same images, so that the labels bought before the
    interruption are used. Without the checkpoint it might choose others, because its networks may
    differ: another machine rounds differently, or networks were trained again after a class was
    added. Chosen images that nobody could label are replaced by others. A replacement stays, even
    if somebody labels the replaced image later.

    Args:
      oracle: the object that sells labels; an image that nobody could label has an infinite price.
      log: the run's log, which stores the checkpoint.
      number: the index of the round.
      num_images: the number of training images.
      labelled: the labelled set; its images are not chosen.
      choose: a function without arguments that returns the indices of `count` images, best first.
        It is called only if the checkpoint holds fewer than `count` images that can be labelled.
        If it returns fewer, fewer are chosen.
    """
    saved = restored_choice(log, number, num_images)
    answerable = np.isfinite(oracle.cost(saved))
    before = saved[answerable & ~np.isin(saved, labelled.indices)][:count]
    if len(before) == count:
        return before
    picked = np.asarray(choose(), int)
    picked = picked[~np.isin(picked, saved)][: count - len(before)]
    # The replaced images come last, so that a late answer does not put them back.
    ordered = np.concatenate([saved[answerable], picked, saved[~answerable]])
    save_indices(log, _name(number), ordered, num_images)
    return np.append(before, picked)


def chosen_first(
    oracle: Oracle, log: Log, number: int, wanted: Int[np.ndarray, "m"], num_images: int
) -> Int[np.ndarray, "m"]:
    """Return the `wanted` images, but first those that the run chose before it was interrupted.

    The first images that the budget buys are chosen. If nobody could label some of the wanted
    images, the choice is saved in a checkpoint. Otherwise a late answer about one of them would
    change the choice, and a label bought before would be wasted.

    Args:
      oracle: the object that sells labels; an image that nobody could label has an infinite price.
      log: the run's log, which stores the checkpoint.
      number: the index of the round.
      wanted: the indices of the images to label, most wanted first.
      num_images: the number of training images.
    """
    saved = restored_choice(log, number, num_images)
    wanted = np.append(saved, wanted[~np.isin(wanted, saved)])
    choice = affordable(oracle, wanted)
    if len(choice) and not np.isfinite(oracle.cost(wanted)).all():
        ordered = np.append(choice, saved[~np.isin(saved, choice)])
        save_indices(log, _name(number), ordered, num_images)
    return wanted


def restored_choice(log: Log, number: int, num_images: int) -> Int[np.ndarray, "m"]:
    """Return the indices of the images that an interrupted run had chosen to label in a round.

    They are read from the run's checkpoint. The array is empty if there is no checkpoint.

    Args:
      log: the run's log, which stores the checkpoint.
      number: the index of the round (a round is one purchase of labels and the training after it).
      num_images: the number of training images.
    """
    return restore_indices(log, _name(number), num_images)


def save_indices(log: Log, name: str, indices: Int[np.ndarray, "m"], num_images: int) -> None:
    """Save indices of images in a checkpoint, from which `restore_indices` reads them.

    The indices are padded with -1 to length `num_images`, so that the checkpoint always has the
    same size. If a checkpoint of this name exists already, the one with more indices counts.

    Args:
      log: the run's log, which stores the checkpoint.
      name: the checkpoint's name.
      indices: the indices of the images.
      num_images: the number of training images.
    """
    padded = np.full(num_images, -1)  # of one dtype, whatever that of `indices` is
    padded[: len(indices)] = indices
    log.save(name, len(indices), padded)


def restore_indices(log: Log, name: str, num_images: int) -> Int[np.ndarray, "m"]:
    """Return the image indices that `save_indices` saved in the checkpoint `name` of a run.

    The array is empty if there is no such checkpoint.

    Args:
      log: the run's log, which stores the checkpoint.
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
      oracle: the object that sells labels and keeps the budget.
      labelled: the labelled set before the purchase.
      wanted: the indices of the images to label, most wanted first; those that the budget cannot
        buy are left out (see `affordable`).
      number: the index of the round, which is recorded with the purchase (a round is one purchase
        of labels and the training after it).

    Raises:
      BudgetExceeded: `labelled` is empty, and the budget does not buy any of the wanted labels.
      DataError: `labelled` is empty, and nobody can label any of the wanted images.
    """
    asked = affordable(oracle, wanted)
    if not len(asked) and not len(labelled.indices):
        _raise_nothing_bought(oracle, wanted)
    answers = oracle.ask(asked, purpose="train", round=number)
    return Labelled(np.append(labelled.indices, asked), np.append(labelled.labels, answers))


def _raise_nothing_bought(oracle: Oracle, wanted: Int[np.ndarray, "m"]) -> NoReturn:
    """Raise the error that says why a run cannot buy any of its first labels.

    Raises:
      DataError: nobody can label any of the wanted images.
      BudgetExceeded: their labels cost more than the remaining budget.
    """
    prices = oracle.cost(wanted)
    _check_somebody_can_label(prices)
    raise BudgetExceeded(
        f"a budget of {oracle.remaining:g} buys none of the first labels: the cheapest costs "
        f"{prices.min():g}; start a run with a larger budget"
    )


def _check_somebody_can_label(prices: Float[np.ndarray, "m"]) -> None:
    """Raise a DataError if the prices of all images are infinite: nobody can label any of them."""
    if not np.isfinite(prices).any():
        raise DataError(
            "the run has no label to begin with: nobody could label any of the images; "
            "add labels, then start again in another workdir"
        )
