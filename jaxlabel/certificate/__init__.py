"""Certify a model's accuracy by an audit: buy the labels of a few randomly drawn images.

    certificate = audit(key, probabilities, predictions, ask, target=0.9, budget=1000, bought=asked)

An audit can certify one of two accuracies:

1. The accuracy on the pool (the default). The pool is the finite set of all images except
   `bought`. The certificate holds for any model, however it was trained, as long as the
   predictions are fixed before the audit begins. Images bought for training are excluded, because
   they were not drawn at random and the model was fitted to their labels. If m of n images were
   bought, the accuracy on the pool differs from the accuracy on all n images by less than m / n.
2. The accuracy on new images, such as a test set (`population=True`). The n images count as
   independent draws from the distribution of new images. Every bought image counts as wrong in the
   lower bound, and as right in the upper bound. A fifth of the error probability is spent on a
   binomial interval for the n draws (Clopper & Pearson 1934). This assumes that training on the
   images without their labels did not make the model more accurate on them than on new images.
   The assumption cannot be checked on these images. If it may be violated, exclude some images
   from all training and audit only those.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel.certificate.betting import ConfidenceSequence
from jaxlabel.certificate.design import ErrorModel, choose_weights
from jaxlabel.certificate.planning import LOWER_SHARE, Terms
from jaxlabel.errors import UsageError

__all__ = ["Certificate", "Terms", "audit", "statement"]

MIN_BATCH, MAX_BATCH = 10, 50  # labels that are bought at a time, except at the start


class Certificate(NamedTuple):
    """The result of an audit, which buys labels of random images to certify a model's accuracy.

    The pool is the set of all images whose labels were not bought before the audit. The certified
    accuracy is the one on the pool, or the one on new images if `population=True` was passed to
    `audit`. The target is the accuracy that `low` must reach.

    Attributes:
      estimate: an estimate of the accuracy on the pool. It is the mean of the model's predicted
        probabilities of being right, corrected by a weighted mean of the differences between these
        probabilities and the truth on the audited images (LURE, Farquhar et al. 2021, applied to
        the differences). It is unbiased if the number of labels was fixed in advance, except that
        it is clipped to [0, 1]. NaN if no label was bought.
      low: the lower end of the confidence interval of the certified accuracy.
      high: the upper end of the interval. The interval is valid whatever rule ended the audit.
      labels: the number of labels that the audit bought.
      reached: True if `low` is at least the target.
      stopped_by: why the audit ended. "target": the target is certified. "below": `high` is below
        the target. "out of reach": the accuracy on the pool is too low to certify the target for
        new images, or even an accuracy of 1 on the pool would be. "budget": the budget is spent.
        "pool": all labels of the pool were bought.
      indices: the indices of the images whose labels the audit bought, in the order of the draws.
    """

    estimate: float
    low: float
    high: float
    labels: int
    reached: bool
    stopped_by: str
    indices: Int[np.ndarray, "labels"]


def statement(audits: Sequence[Certificate]) -> dict[str, float | str]:
    """Return entries of result.json that say what the audits of a run have certified, as a dict.

    An audit buys labels of random images to certify the accuracy. Only the last audit counts. If
    there is no audit, or if the last one did not reach the target accuracy, the only entry is
    "certified" with the value 0.

    Args:
      audits: the certificates of the run's audits, in order. They are of the accuracy on the pool
        (the images that were not labelled for training).
    """
    if not audits or not audits[-1].reached:
        return {"certified": 0.0}
    last = audits[-1]
    return {
        "certified": 1.0, "certified_of": "the pool",
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
    """Buy labels of random images until the accuracy is certified or the budget is spent.

    The pool is the set of all images except `bought`. The audit tests whether the error rate on the
    pool is at most 1 - target. It uses a betting confidence sequence (Waudby-Smith & Ramdas 2024)
    with weighted draws from a finite pool, without replacement, and with control variates (Shekhar
    et al. 2023). Uncertain images are drawn more often. The weights of the draws and the control
    variates come from the model's confidence, which is recalibrated after each batch. The
    certificate is valid for any weights and control variates, so an overconfident model needs more
    labels, but does not make the certificate wrong.

    Args:
      key: the random key of the draws.
      probabilities: the model's class probabilities for all images. The probability of the
        predicted class is the model's confidence.
      predictions: the predicted classes whose accuracy is audited; they need not be the classes of
        highest probability.
      ask: a function that buys the labels of the images with the given indices and returns them as
        integers in the same order, such as `lambda i: oracle.ask(i, purpose="certify")`.
      target: the accuracy to certify.
      confidence: the probability with which the confidence interval must cover the accuracy.
      budget: the largest number of labels to buy.
      batch: the number of labels to buy at a time; the audit can stop after each batch. With 0, the
        first batch is the smallest number with which an audit can succeed, each later batch is a
        fifth of the labels bought so far, but at least 10, and no batch is larger than 50.
      bought: the indices of the images whose labels were bought earlier, for example for training;
        or a mask, an array of n truth values. The audit never draws these images, and the certified
        accuracy does not count them.
      population: whether to certify the accuracy on new images instead of the pool (see the
        docstring of this module). If not even an accuracy of 1 on the pool would certify the
        target, no label is bought, and the audit ends as "out of reach".

    Returns:
      The certificate. It contains the interval also if the target was not reached.

    Raises:
      UsageError: the target or the confidence is not in (0, 1), the budget or the batch is
        negative, shapes or types do not match, a probability is not finite, a prediction or an
        index is out of range, the pool is empty, or `ask` returned something else than one integer
        per image.
    """
    probabilities, predictions = np.asarray(probabilities, float), np.asarray(predictions)
    _check(probabilities, predictions)
    if not (budget >= 0 and batch >= 0):  # NaN is refused too
        raise UsageError(f"budget={budget} and batch={batch}: they take numbers of at least 0")
    pool = np.setdiff1d(np.arange(len(predictions)), _indices(bought, len(predictions)))
    budget = int(min(budget, len(pool)))
    batch = math.ceil(min(batch, len(pool)))
    num_bought = len(predictions) - len(pool)
    terms = Terms(target, confidence, len(predictions), num_bought, population)
    population_bounds, pool_target, error = (
        terms.population_bounds,
        terms.pool_target,
        terms.pool_error,
    )
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    sequence = ConfidenceSequence(
        len(pool), 1 - pool_target, LOWER_SHARE * error, (1 - LOWER_SHARE) * error
    )
    error_model = ErrorModel(1 - probabilities[pool, predictions[pool]])
    min_labels = terms.fewest_labels()
    while True:
        stopped_by = "out of reach" if pool_target >= 1 else ""
        stopped_by = stopped_by or _reason_to_stop(sequence, budget, len(pool))
        if stopped_by:
            break
        size = batch or _batch_size(sequence.num_labels, min_labels)
        size = min(size, budget - sequence.num_labels)
        remaining = np.delete(np.arange(len(pool)), sequence.drawn)
        errors = error_model.errors(sequence.drawn, sequence.wrong)[remaining]
        weights, growth = choose_weights(errors, sequence.limit)
        # Sorting exponential waiting times with these rates gives weighted draws without
        # replacement.
        waiting_times = generator.exponential(size=len(remaining)) / weights
        first = np.argpartition(waiting_times, size - 1)[:size]
        first = first[np.argsort(waiting_times[first])]
        indices = pool[remaining[first]]
        wrong = _answers(ask(indices), len(indices)) != predictions[indices]
        sequence.update(remaining, first, weights, errors, wrong, growth)
    low, high = sequence.interval()
    if population_bounds is not None:
        low, high = population_bounds.interval(low, high, LOWER_SHARE)
        # The accuracy on the pool is below the accuracy that is needed to certify the target for
        # new images. This needed accuracy is higher than the target itself.
        stopped_by = "out of reach" if stopped_by == "below" and high >= target else stopped_by
    reached = stopped_by == "target" or low >= target
    # The ends of the interval are computed to 1e-9, so `low` may be slightly below the target.
    low = max(low, target) if stopped_by == "target" else low
    estimate = float(np.clip(sequence.estimate(), 0, 1))
    return Certificate(
        estimate, low, high, sequence.num_labels, reached, stopped_by, pool[sequence.drawn]
    )


def _batch_size(num_labels: int, min_labels: float) -> int:
    """Return how many labels an audit buys next, after it has bought `num_labels` labels.

    An audit buys labels of random images, in batches, to certify a model's accuracy.

    Args:
      num_labels: the number of labels bought so far.
      min_labels: the smallest number of labels with which the audit can succeed.
    """
    return int(min(MAX_BATCH, max(min_labels - num_labels, num_labels // 5, MIN_BATCH)))


def _reason_to_stop(sequence: ConfidenceSequence, max_labels: int, num_pool: int) -> str:
    """Return why an audit must stop, such as "target" or "budget".

    An audit buys labels of random images to certify a model's accuracy. If it must go on, an empty
    string is returned.

    Args:
      sequence: the draws so far, with the confidence interval that they give.
      max_labels: the largest number of labels that the audit may buy.
      num_pool: the number of images that the audit may draw.
    """
    if sequence.is_below_limit():
        return "target"
    if sequence.is_above_limit():
        return "below"
    if sequence.num_labels >= max_labels:
        return "pool" if max_labels == num_pool else "budget"
    return ""


def _indices(bought: Any, num_images: int) -> Int[np.ndarray, "m"]:
    """Return the indices of bought images, which are given as indices or as a mask.

    Raises:
      UsageError: it is neither.
    """
    found = np.asarray(bought)
    if found.dtype == bool and found.shape == (num_images,):
        return np.flatnonzero(found)
    if not found.size:
        return np.zeros(0, int)
    whole = _whole_numbers(found)
    if whole is None or found.dtype == bool or whole.min() < 0 or whole.max() >= num_images:
        range_of = "" if whole is None else f", from {whole.min()} to {whole.max()}"
        raise UsageError(
            f"bought is an array of {found.dtype} of shape {found.shape}{range_of}: it takes "
            f"indices from 0 to {num_images - 1}, or a mask with {num_images} truth values"
        )
    return whole


def _whole_numbers(values: np.ndarray) -> Int[np.ndarray, "m"] | None:
    """Return a vector of whole numbers as integers; None if `values` is anything else."""
    if values.ndim != 1 or values.dtype.kind not in "biufO":
        return None
    try:
        with np.errstate(invalid="ignore"):  # NaN and infinity differ from their cast
            whole = values.astype(int)
    except (TypeError, ValueError, OverflowError):
        return None
    return whole if bool(np.all(whole == values)) else None


def _answers(labels: Any, count: int) -> Int[np.ndarray, "count"]:
    """Return the labels that `ask` bought for `count` images.

    Raises:
      UsageError: they are not `count` integers, so that they could not be compared one by one.
    """
    found = np.asarray(labels)
    whole = _whole_numbers(found)
    if whole is None or len(whole) != count:
        raise UsageError(
            f"ask returned an array of {found.dtype} of shape {found.shape} for {count} images: it "
            "must return one integer, the index of the class, for each image"
        )
    return whole


def _check(
    probabilities: Float[np.ndarray, "n classes"], predictions: Int[np.ndarray, "n"]
) -> None:
    if probabilities.ndim != 2 or len(probabilities) != len(predictions):
        raise UsageError(
            f"probabilities of shape {probabilities.shape} for {len(predictions)} predictions: "
            "there must be one row for each prediction and one column for each class"
        )
    if predictions.ndim != 1 or not np.issubdtype(predictions.dtype, np.integer):
        raise UsageError(
            f"predictions is an array of {predictions.dtype} of shape {predictions.shape}: it "
            "takes one integer, the index of the class, for each image"
        )
    num_classes = probabilities.shape[1]
    if predictions.size and not 0 <= predictions.min() <= predictions.max() < num_classes:
        raise UsageError(
            f"predictions hold {predictions.min()} to {predictions.max()}, and there are "
            f"{num_classes} columns of probabilities: predictions start at 0"
        )
    if not np.isfinite(probabilities).all():
        raise UsageError("some of the model's probabilities are not finite: its training diverged")
