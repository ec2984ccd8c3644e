"""What was paid for, and how more is bought: as much of what is wanted as the money allows."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle


class Labelled(NamedTuple):
    """The images asked about so far, in that order, and their labels."""

    indices: Int[np.ndarray, "m"]
    labels: Int[np.ndarray, "m"]


NO_LABELS = Labelled(np.zeros(0, int), np.zeros(0, int))


def affordable(oracle: Oracle, indices: Int[np.ndarray, "m"]) -> Int[np.ndarray, "q"]:
    """As many of `indices` as what is left buys, each in its turn: what is too dear is left out."""
    left, bought = oracle.remaining + 1e-9, np.zeros(len(indices), bool)
    for place, price in enumerate(oracle.cost(indices).tolist()):
        bought[place] = price <= left and math.isfinite(price)
        price = price if bought[place] else 0.0
        left -= price
    return indices[bought]


def num_affordable(
    oracle: Oracle,
    num_images: int,
    asked: Int[np.ndarray, "m"] = NO_LABELS.indices,
    *,
    surely: bool = False,
) -> int:
    """How many more labels the money buys, at the mean price of those left that it can buy at all.

    So that a run that is started again plans the same, prices stay as they are while it lasts; they
    are read once (`Oracle.prices`), or again where it has to be sure.

    Args:
      num_images: the images are those below it.
      surely: whichever they are: at the price of the dearest.
    """
    excluded = asked if surely else np.append(asked, unaffordable(oracle, num_images))
    left = np.setdiff1d(np.arange(num_images), excluded)
    if not len(left):
        return 0
    prices = oracle.cost(left) if surely else oracle.prices[left]
    prices = prices[np.isfinite(prices)]  # nobody can answer the others: see `LabelStore.costs`
    if not len(prices):
        return 0
    price = float(prices.max() if surely else prices.mean())
    bought = oracle.remaining / price + 1e-9 if price > 0 else math.inf
    return int(min(len(prices), bought))


def unaffordable(oracle: Oracle, num_images: int) -> Int[np.ndarray, "m"]:
    """The images of which one alone costs more than what is left."""
    prices = oracle.prices[:num_images]
    return np.flatnonzero((prices > oracle.remaining + 1e-9) | ~np.isfinite(prices))


def plan(oracle: Oracle, num_images: int) -> int:
    """How many labels to plan for at the start of a run: `how_many`, and at least one.

    Raises:
      UsageError: the money does not even buy the cheapest.
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
    """The `count` images that `choose` picks in a round, or picked when the run was here before.

    Fewer, where it picks fewer.

    So a run that is started again asks for the same images, even where its networks are not the
    same: another machine rounds otherwise, or a person has named a new class and they had to be
    trained again. Nobody labels in vain.
    """
    before = chosen_before(log, number, num_images)
    before = before[~np.isin(before, labelled.indices)][:count]
    if len(before) == count:
        return before
    picked = np.asarray(choose(), int)
    wanted = np.append(before, picked[~np.isin(picked, before)])[:count]
    remember(log, _name(number), wanted, num_images)
    return wanted


def chosen_before(log: Log, number: int, num_images: int) -> Int[np.ndarray, "m"]:
    """What was chosen in a round when the run was here before; nothing where it was not."""
    return remembered(log, _name(number), num_images)


def remember(log: Log, name: str, indices: Int[np.ndarray, "m"], num_images: int) -> None:
    """Keeps images in a checkpoint, of a shape that does not depend on their number.

    The newest that holds more than those before it stands.
    """
    padded = np.pad(indices, (0, num_images - len(indices)), constant_values=-1)
    log.save(name, len(indices), padded)


def remembered(log: Log, name: str, num_images: int) -> Int[np.ndarray, "m"]:
    """The images that were kept under that name; none where nothing was."""
    there = log.restore(name, np.full(num_images, -1))
    found = np.full(0, -1) if there is None else np.asarray(there[1])
    return found[found >= 0]


def _name(number: int) -> str:
    return f"asked_{number}"


def buy(oracle: Oracle, labelled: Labelled, wanted: Int[np.ndarray, "m"], number: int) -> Labelled:
    """What was paid for before, and of `wanted` what the money buys (`affordable`).

    Args:
      number: the round's, for the ledger.

    Raises:
      BudgetExceeded: nothing was paid for before, and each of `wanted` is too dear.
    """
    asked = affordable(oracle, wanted)
    if not len(asked) and not len(labelled.indices):
        asked = wanted[:1]  # too dear: the oracle says so
    answers = oracle.ask(asked, purpose="train", round=number)
    return Labelled(np.append(labelled.indices, asked), np.append(labelled.labels, answers))
