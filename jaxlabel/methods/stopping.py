"""The stopping rule: a run stops at an accuracy that is certified, or that its model predicts."""

import functools
import zlib

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel import query
from jaxlabel.certificate import Certificate, audit, statement
from jaxlabel.certificate.verdict import verdict
from jaxlabel.log import Log
from jaxlabel.methods.audit_planning import audit_takes, audit_terms, check_audit
from jaxlabel.methods.stopping_settings import Settings
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import PoolPredictions
from jaxlabel.query import Labelled

# The assumed ratio of error rate to mean uncertainty, until an audit measures it. Runs with 40 to
# 1,000 labels had 2.1 to 4.3 (experiments/flagship.md, "When to stop: the certificate").
OVERCONFIDENCE = 3.0
STARTED_AUDITS = "audits_in_rounds"  # checkpoint: the model fingerprint and round of each audit
DRAWN = "drawn_by_audit_"  # checkpoint of each audit: the images drawn, saved before they are asked
# checkpoint of each audit: those images of its finished batches that no person could label
UNSURE = "unsure_in_audit_"
MAX_AUDITS = 20
NOT_SURE = -1  # stands for the label of an image that no person could label


class StoppingRule:
    """A rule that decides when a run stops. It also carries out and records the run's audits.

    An audit buys the labels of random images to certify that the model's accuracy has reached the
    target. The probability that any audit of a run certifies a wrong statement is at most 1 -
    `confidence` (a setting). The first audit uses three quarters of this probability, and each
    further audit three quarters of what the earlier ones left. If a run is interrupted and resumes
    with a different network, its earlier audits count too, and the labels that they bought are used
    for training.

    Attributes:
      audits: the certificates that this run's audits gave, in order.
    """

    def __init__(self, config: Settings, num_images: int, oracle: Oracle, log: Log):
        self.audits: list[Certificate] = []
        self._config, self._num_images, self._oracle, self._log = config, num_images, oracle, log
        self._overconfidence, self._audited, self._recalled = OVERCONFIDENCE, 0, 0
        restored = log.restore(STARTED_AUDITS, np.full((MAX_AUDITS, 2), -1))
        pairs = [] if restored is None else np.asarray(restored[1]).tolist()
        self._started = [(mark, number) for mark, number in pairs if mark >= 0]
        # positions in _started of the audits whose labels this run has asked for
        self._done: set[int] = set()

    @property
    def certified(self) -> bool:
        """Return True if the run's last audit certified that the accuracy reaches the target."""
        return bool(self.audits) and self.audits[-1].reached

    def check(self, capacity: int, first: int, reserved: int) -> None:
        """Raise an error if no audit could certify the target; warn if few labels are reserved.

        Args:
          capacity: the number of labels that the budget buys.
          first: the number of labels bought before the first audit can start.
          reserved: the number of labels reserved for audits.

        Raises:
          UsageError: the labels that remain after the first `first` labels could not certify the
            target even if every prediction were right.
        """
        min_labels = check_audit(self._config, self._num_images, capacity, first)
        if reserved < min_labels:
            takes = audit_takes(self._config, min_labels)
            self._log.say(f"{takes}; the run keeps {reserved} for it: more only if the network is "
                          "confident earlier")  # fmt: skip

    def should_audit(self, pool: PoolPredictions, labelled: Labelled, max_labels: int) -> bool:
        """Return True if an audit of at most `max_labels` labels is likely to certify the target.

        The target is the accuracy to prove, and the allowed error rate is 1 - target. An audit buys
        labels of random images to measure the error rate. Likely means with a probability of about
        one half. An audit takes thousands of labels if the error rate is just below the allowed
        one, so the predicted error rate must be well below it. This prediction is 3 times the
        network's mean uncertainty on the unlabelled images of `pool`. Once an audit has measured
        the ratio of error rate to mean uncertainty, that ratio replaces 3. Without a certificate,
        the mean confidence must reach the target.
        """
        known = self._with_copies(labelled.indices)
        unlabelled = ~np.isin(pool.rows, known)
        probabilities = pool.predictions.probabilities[unlabelled]
        if not len(probabilities):
            return False
        if not self._config.certifies:
            return self.target_reached_by_confidence(probabilities)
        if len(self._done) >= MAX_AUDITS:
            return False
        terms = audit_terms(self._config, self._num_images, len(known), len(self._done))
        expected = terms.expected_labels(
            1 - probabilities.max(axis=-1), self._overconfidence * mean_uncertainty(probabilities)
        )
        return self._num_affordable(labelled, max_labels) >= expected

    def target_reached_by_confidence(self, probabilities: Float[np.ndarray, "n classes"]) -> bool:
        """Return True if the mean confidence reaches the target and no certificate is wanted."""
        return not self._config.confidence and 0 < self._config.target <= 1 - mean_uncertainty(
            probabilities
        )

    def audit(
        self,
        key: Key[Array, ""],
        probabilities: Float[np.ndarray, "n classes"],
        labelled: Labelled,
        max_labels: int,
        number: int,
    ) -> tuple[Labelled, bool]:
        """Audit the model: buy up to `max_labels` labels of random images to certify its accuracy.

        If an audit of this model was interrupted, it continues.

        Args:
          probabilities: the model's class probabilities for all training images.
          labelled: the labels bought so far.
          max_labels: the largest number of labels to buy.
          number: the number of the round, which is recorded with each label bought.

        Returns:
          The labelled set including the labels bought by the audit, and whether there was an audit.
          There is none if no certificate is wanted, or if `max_labels` labels are too few.
        """
        config, oracle = self._config, self._oracle
        if not config.certifies or len(self._with_copies(labelled.indices)) == self._num_images:
            return labelled, False
        # a fingerprint of the model and the round, in 31 bits
        mark = zlib.crc32(np.ascontiguousarray(probabilities).tobytes(), number) >> 1
        of_round = [order for order, pair in enumerate(self._started) if pair[1] == number]
        # an interrupted audit of the same model goes on with what was known when it began
        resumes = bool(of_round) and self._started[of_round[-1]][0] == mark
        order = of_round[-1] if resumes else len(self._started)
        started = self._started if resumes else [*self._started, (mark, number)]
        labelled = self.add_abandoned_audits(labelled, number, skip=order)
        known = self._with_copies(labelled.indices)
        if len(started) > MAX_AUDITS or len(known) == self._num_images:
            return labelled, False
        terms = audit_terms(self._config, self._num_images, len(known), order)
        max_labels = self._num_affordable(labelled, max_labels)
        if max_labels < terms.fewest_labels():
            return labelled, False
        self._started = started
        self._done.add(order)
        padded = np.pad(started, ((0, MAX_AUDITS - len(started)), (0, 0)), constant_values=-1)
        self._log.save(STARTED_AUDITS, len(started), padded)
        drawn, answers = np.zeros(0, int), np.zeros(0, int)
        unsure = query.restore_indices(self._log, f"{UNSURE}{order}", self._num_images)

        def ask(indices: Int[np.ndarray, "b"]) -> Int[np.ndarray, "b"]:
            nonlocal drawn, answers, unsure
            drawn = np.append(drawn, indices)
            query.save_indices(self._log, f"{DRAWN}{order}", drawn, self._num_images)
            labels = self._buy_audit_labels(indices, number, unsure)
            answers = np.append(answers, labels)
            if NOT_SURE in labels:
                unsure = np.union1d(unsure, indices[labels == NOT_SURE])
                query.save_indices(self._log, f"{UNSURE}{order}", unsure, self._num_images)
            return labels

        result = audit(
            jax.random.fold_in(key, order), probabilities, probabilities.argmax(axis=-1), ask,
            target=config.target, confidence=terms.confidence, budget=max_labels,
            bought=known,
        )  # fmt: skip
        self._log.scalars("audit", order, {
            "estimate": result.estimate, "low": result.low, "high": result.high,
            "labels": result.labels, "labels_spent": oracle.num_bought,
        })  # fmt: skip
        self.audits.append(result)
        uncertainty = mean_uncertainty(np.delete(probabilities, known, axis=0))
        error = max(1 - result.estimate, 1 / (result.labels + 1))
        self._overconfidence = error / max(uncertainty, 1e-6)
        answered = answers != NOT_SURE
        labels = np.append(labelled.labels, answers[answered])
        indices = np.append(labelled.indices, result.indices[answered])
        return Labelled(indices, labels.astype(int)), True

    def add_abandoned_audits(self, labelled: Labelled, number: int, skip: int = -1) -> Labelled:
        """Return the labelled set with the labels that abandoned audits of round `number` bought.

        An audit is abandoned if it was interrupted and the run resumed with a different network.
        Networks can differ because another machine rounds differently or because a person has named
        a new class.

        Args:
          labelled: the labels bought so far.
          number: the number of the round.
          skip: the position of the audit that will be continued, in the list of all audits; -1 if
            there is none. Its labels are not added.
        """
        for order, (_, audit_round) in enumerate(self._started):
            if audit_round != number or order == skip or order in self._done:
                continue
            self._done.add(order)
            drawn = query.restore_indices(self._log, f"{DRAWN}{order}", self._num_images)
            fresh = query.affordable(self._oracle, drawn[~np.isin(drawn, labelled.indices)])
            answers = self._buy_audit_labels(fresh, number)
            self._recalled += len(fresh)
            labelled = Labelled(
                np.append(labelled.indices, fresh), np.append(labelled.labels, answers)
            )
        return labelled

    def _buy_audit_labels(
        self, indices: Int[np.ndarray, "b"], number: int,
        unsure: Int[np.ndarray, "u"] = query.NO_LABELS.indices,
    ) -> Int[np.ndarray, "b"]:  # fmt: skip
        """Buy and return the labels of `indices`, to certify the accuracy in round `number`.

        The label is NOT_SURE for an image that no person could label. It differs from every
        prediction, so the audit counts the image as an error, and its lower bound still holds.

        Args:
          indices: the indices of the images.
          number: the number of the round.
          unsure: images that nobody could label when the audit first asked for them. Their label
            stays NOT_SURE, even if somebody has labelled them since: the images that the audit drew
            after them depend on that.
        """
        before = self._oracle.num_bought
        labels = np.full(len(indices), NOT_SURE)
        answerable = np.isfinite(self._oracle.cost(indices)) & ~np.isin(indices, unsure)
        labels[answerable] = self._oracle.ask(indices[answerable], purpose="certify", round=number)
        self._audited += self._oracle.num_bought - before
        return labels

    def audit_started(self, number: int) -> bool:
        """Return True if an audit (labels bought to certify the accuracy) began in round `number`.

        It may have begun before the run was interrupted and resumed.
        """
        return any(audit_round == number for _, audit_round in self._started)

    def result_entries(self, confidence: float) -> dict[str, float | str]:
        """Return entries of result.json: numbers of labels for training and audits, and a verdict.

        The verdict is one sentence that says which accuracy was certified, or why none was.

        Args:
          confidence: the model's mean predicted confidence, a fraction.
        """
        entries: dict[str, float | str] = {
            "labels_to_train": self._oracle.num_bought - self._audited,
            "labels_to_certify": self._audited,
        }
        if self._config.certifies:
            entries |= statement(self.audits)
            entries["verdict"] = verdict(
                self.audits, target=self._config.target, confidence=self._config.confidence,
                num_recalled=self._recalled,
            )  # fmt: skip
        elif self._config.target:
            entries["verdict"] = (f"nothing certified (config.confidence=0): the model's mean "
                                  f"confidence is {100 * confidence:.2f}%, the target was "
                                  f"{100 * self._config.target:g}%")  # fmt: skip
        return entries

    def _with_copies(self, indices: Int[np.ndarray, "m"]) -> Int[np.ndarray, "k"]:
        """Return the indices of the given images and of all images that are identical to them.

        Identical images have one label, so an audit must not draw a copy of a labelled image: the
        certified accuracy is that on the images that were not labelled for training.
        """
        return np.flatnonzero(np.isin(self._first_copies, self._first_copies[indices]))

    @functools.cached_property
    def _first_copies(self) -> Int[np.ndarray, "n"]:
        """Return, for each image, the index of the first image that is identical to it."""
        return self._oracle.first_copies(np.arange(self._num_images))

    def _num_affordable(self, labelled: Labelled, max_labels: int) -> int:
        """Return how many labels the budget buys in the worst case, but at most `max_labels`.

        Every label is assumed to be as expensive as the most expensive one.
        """
        count = query.num_affordable(self._oracle, self._num_images, labelled.indices, surely=True)
        return min(max_labels, count)


def mean_uncertainty(probabilities: Float[np.ndarray, "n classes"]) -> float:
    """Return the mean uncertainty of predictions: 1 - (mean of the largest class probability).

    This is the error rate that the model predicts for itself.
    """
    return 1 - float(probabilities.max(axis=-1).mean())
