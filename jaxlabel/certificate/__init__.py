"""A model's accuracy, certified by buying the labels of a few images at random.

    certificate = audit(key, probabilities, predictions, ask, target=0.9, budget=1000, bought=asked)

Which accuracy? Three statements are told apart:

1. What an audit certifies: the accuracy of this fixed model over the finite pool, which is all
   images but `bought`. This holds whatever the model is and however it was trained, as long as
   `predictions` stay as they were when the audit began.
2. Images bought for training are left out: they were not drawn at random, and the model was fitted
   to their labels. So the pool is the images that nobody asked about. With m of n images bought,
   its accuracy differs from that over all n by less than m / n.
3. The accuracy on new images, as of a test set: `population=True`. The n images count as
   independent draws of what the model will see, every bought one as wrong in the lower bound and
   as right in the upper one, and a binomial interval for the n draws (Clopper & Pearson 1934) is
   added, for a fifth of the error. This supposes that the model is no better on these images for
   having been trained on them without their labels. That cannot be known from them: where it
   matters, keep images out of all training and audit those alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel.certificate.betting import Ledger
from jaxlabel.certificate.design import ErrorModel, choose_weights
from jaxlabel.certificate.planning import LOWER_SHARE, Terms
from jaxlabel.errors import UsageError

__all__ = ["Certificate", "Terms", "audit", "statement"]

SMALLEST_BLOCK, LARGEST_BLOCK = 10, 50  # labels asked for at a time


class Certificate(NamedTuple):
    """What an audit found. Accuracies are those of the module's docstring.

    Attributes:
      estimate: of the pool's accuracy, unbiased for a number of labels fixed before (LURE,
        Farquhar et al. 2021, on the residuals of the model's own confidence), but that it is kept
        between 0 and 1; not a number without labels.
      low, high: the interval; it holds at any moment one may have stopped.
      labels: how many were asked for.
      reached: whether `low` is at least the target.
      stopped_by: "target"; "below", when `high` fell short of it; "out of reach", when it did not,
        but what is known of the pool cannot certify the target for new images; "budget"; "pool",
        when all labels were asked for.
      indices: the images asked about, in the order drawn.
    """

    estimate: float
    low: float
    high: float
    labels: int
    reached: bool
    stopped_by: str
    indices: Int[np.ndarray, "labels"]


def statement(audits: Sequence[Certificate], population: bool) -> dict[str, float | str]:
    """What a run may say after its audits, of which the last one counts, if it has succeeded."""
    if not audits or not audits[-1].reached:
        return {"certified": 0.0}
    last = audits[-1]
    return {
        "certified": 1.0, "certified_of": "new images" if population else "the pool",
        "certified_low": last.low, "certified_high": last.high,
        "certified_estimate": last.estimate,
    }  # fmt: skip


def audit(
    key: Key[Array, ""],
    probabilities: Float[np.ndarray, "n classes"],
    predictions: Int[np.ndarray, "n"],
    ask: Callable[[Int[np.ndarray, "b"]], Int[np.ndarray, "b"]],
    *,
    target: float,
    confidence: float = 0.95,
    budget: int,
    batch: int = 0,
    bought: Int[np.ndarray, "m"] | tuple[int, ...] = (),
    population: bool = False,
) -> Certificate:
    """A certificate that the accuracy is at least `target`, or the best that `budget` labels give.

    Images are drawn without replacement, doubtful ones more often, and a gambler bets that the
    errors are rarer than 1 - target: a betting confidence sequence (Waudby-Smith & Ramdas 2024)
    with weighted draws from a finite pool and control variates (Shekhar et al. 2023). The model's
    confidence proposes and predicts; it is recalibrated after each batch; validity rests on the
    draws alone, so a model that is too sure of itself costs labels, never truth.

    Args:
      probabilities: the model's; that of the prediction is its confidence.
      predictions: the classes that are judged, which need not be the likeliest.
      ask: labels of images, such as `lambda i: oracle.ask(i, purpose="certify")`.
      batch: labels asked for at a time, and a chance to stop; 0: as many as the shortest success
        takes, then a fifth of those so far, but never fewer than 10 or more than 50.
      bought: indices that are not in the pool.
      population: certify the accuracy on new images, statement 3 above. Where the pool would
        have to be faultless for it, nothing is asked: the target is out of reach.

    Raises:
      UsageError: a target or a confidence outside (0, 1), shapes that do not fit, what is not a
        number, an empty pool.
    """
    probabilities, predictions = np.asarray(probabilities, float), np.asarray(predictions)
    _check(probabilities, predictions)
    pool = np.setdiff1d(np.arange(len(predictions)), np.asarray(bought, int))
    num_bought = len(predictions) - len(pool)
    terms = Terms(target, confidence, len(predictions), num_bought, population)
    statement, goal, error = terms.statement, terms.goal, terms.error
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    ledger = Ledger(len(pool), 1 - goal, LOWER_SHARE * error, (1 - LOWER_SHARE) * error)
    error_model = ErrorModel(1 - probabilities[pool, predictions[pool]])
    fewest = terms.fewest_labels()
    while True:
        stopped_by = "out of reach" if goal >= 1 else ""
        stopped_by = stopped_by or _stop(ledger, min(budget, len(pool)), len(pool))
        if stopped_by:
            break
        size = batch or _block(ledger.num_labels, fewest)
        size = min(size, budget - ledger.num_labels, len(pool) - ledger.num_labels)
        left = np.delete(np.arange(len(pool)), ledger.drawn)
        errors = error_model.errors(ledger.drawn, ledger.wrong)[left]
        weights, prior = choose_weights(errors, ledger.limit)
        # the first of exponential clocks that run at these rates: draws without replacement
        clocks = generator.exponential(size=len(left)) / weights
        first = np.argpartition(clocks, size - 1)[:size]
        first = first[np.argsort(clocks[first])]
        indices = pool[left[first]]
        wrong = np.asarray(ask(indices)) != predictions[indices]
        ledger.enter(left, first, weights, errors, wrong, prior)
    low, high = ledger.interval()
    if statement is not None:
        low, high = statement.interval(low, high, LOWER_SHARE)
        # the pool's accuracy is below what is needed of it, which is more than the target
        stopped_by = "out of reach" if stopped_by == "below" and high >= target else stopped_by
    reached = stopped_by == "target" or low >= target
    low = max(low, target) if stopped_by == "target" else low  # roots are found to 1e-9
    estimate = float(np.clip(ledger.estimate(), 0, 1))
    return Certificate(
        estimate, low, high, ledger.num_labels, reached, stopped_by, pool[ledger.drawn]
    )


def _block(taken: int, fewest: float) -> int:
    """How many labels to ask for next, when so many are taken."""
    return int(min(LARGEST_BLOCK, max(fewest - taken, taken // 5, SMALLEST_BLOCK)))


def _stop(ledger: Ledger, most: int, num_pool: int) -> str:
    """Why no more labels are asked for; empty: more are."""
    if ledger.is_below_limit():
        return "target"
    if ledger.is_above_limit():
        return "below"
    if ledger.num_labels >= most:
        return "pool" if most == num_pool else "budget"
    return ""


def _check(
    probabilities: Float[np.ndarray, "n classes"], predictions: Int[np.ndarray, "n"]
) -> None:
    if probabilities.ndim != 2 or len(probabilities) != len(predictions):
        raise UsageError(
            f"probabilities of shape {probabilities.shape} for {len(predictions)} predictions: "
            "one row for each, one column for each class"
        )
    if not np.isfinite(probabilities).all():
        raise UsageError("the model's probabilities are not all numbers: its training diverged")
