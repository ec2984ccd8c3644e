"""When a run may stop: at an accuracy that is certified, or that its networks believe in."""

import dataclasses
import math
import zlib
from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel import query
from jaxlabel.certificate import Certificate, Terms, audit, statement
from jaxlabel.certificate.interval import at_least, at_most
from jaxlabel.config import setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import PoolPredictions
from jaxlabel.query import Labelled

TOO_SURE = 1.5  # how many times its own doubt a model's error is taken to be, until it is audited
BEGUN = "audits_in_rounds"  # the checkpoint in which each audit leaves its mark and its round
DRAWN = "drawn_by_audit_"  # and one each in which it says what it asks for, before it does
MOST_AUDITS = 20
NOT_SURE = -1  # in place of a label, where a person could not tell
FIRST_SHARE = 0.75  # of the error that is allowed: an audit begins where it is likely to succeed


@dataclasses.dataclass
class Settings:
    """A target and what proves it: part of a recipe's own `Config`."""

    target: float = setting(
        0.0, "the accuracy at which to stop; 0: spend the whole budget", low=0.0, high=0.9999
    )
    confidence: float = setting(
        0.95, "with a target: how sure it must be that it is reached; 0: the networks' own belief "
        "will do", low=0.0, high=0.9999,
    )  # fmt: skip
    audit_share: float = setting(
        0.5, "with a certificate: the share of the budget kept for it", low=0.05, high=0.95
    )
    population: bool = setting(
        False, "certify the accuracy on new images, not on the images that were not asked about: "
        "it takes more labels",
    )  # fmt: skip

    @property
    def certifies(self) -> bool:
        """Whether labels are bought to prove the accuracy."""
        return self.target > 0 and self.confidence > 0

    @property
    def reserve(self) -> float:
        """The share of the money that is not for training."""
        return self.audit_share if self.certifies else 0.0


class StoppingRule:
    """Says whether the target is reached, and remembers its audits.

    The first may make three quarters of the error that is allowed, each further one three quarters
    of what is left of it, so that all of them together keep it. Those of a run that was started
    again and has come to other networks count too, and what they have paid for is not lost.

    Attributes:
      audits: what they found, in order.
    """

    def __init__(self, config: Settings, num_images: int, oracle: Oracle, log: Log):
        self.audits: list[Certificate] = []
        self._config, self._num_images, self._oracle, self._log = config, num_images, oracle, log
        self._too_sure, self._audited, self._recalled = TOO_SURE, 0, 0
        there = log.restore(BEGUN, np.full((MOST_AUDITS, 2), -1))
        pairs = [] if there is None else np.asarray(there[1]).tolist()
        self._begun = [(mark, number) for mark, number in pairs if mark >= 0]
        self._known: set[int] = set()  # of those, the ones whose labels are paid for in this run

    @property
    def certified(self) -> bool:
        """Whether the last audit has certified the target."""
        return bool(self.audits) and self.audits[-1].reached

    def check(self, capacity: int, first: int, kept: int) -> None:
        """Refuses a target that not even faultless answers could certify, and warns of one near.

        Args:
          capacity: how many labels the money buys.
          first: after how many an audit may begin.
          kept: how many of all are for audits alone.

        Raises:
          UsageError: all labels after the first would not do.
        """
        config, images = self._config, self._num_images
        if not config.certifies or first >= images:
            return
        wanted = f"config.target={config.target:g} with config.confidence={config.confidence:g}"
        fewest = self._terms(first, 0).fewest_labels()
        if math.isinf(fewest):
            raise UsageError(f"{wanted} cannot be certified of new images with {images} images: "
                             "take config.population=False or a lower target")  # fmt: skip
        takes = f"{wanted} takes {fewest:.0f} labels to certify, were every answer right"
        if capacity - first < fewest:
            raise UsageError(f"{takes}; after the first {first} the money buys {capacity - first}: "
                             "raise config.budget or lower the target")  # fmt: skip
        if kept < fewest:
            self._log.say(f"{takes}; config.audit_share={config.audit_share:g} keeps {kept} for "
                          "it: more only if networks are sure enough earlier")  # fmt: skip

    def should_audit(self, seen: PoolPredictions, labelled: Labelled, most: int) -> bool:
        """Whether the target is as likely as not reached, which `most` labels are to prove.

        An audit of a model that just reaches it takes thousands, so the doubt must leave room. The
        errors are taken to be 1.5 times what the networks doubt, or after an audit as many times as
        it found.
        """
        probabilities = seen.predictions.probabilities[~np.isin(seen.rows, labelled.indices)]
        if not len(probabilities):
            return False
        if not self._config.certifies:
            return self.target_reached_by_confidence(probabilities)
        if len(self._known) >= MOST_AUDITS:
            return False
        expected = self._terms(len(labelled.indices), len(self._known)).expected_labels(
            1 - probabilities.max(axis=-1), self._too_sure * mean_uncertainty(probabilities)
        )
        return self._affordable(labelled, most) >= expected

    def target_reached_by_confidence(self, probabilities: Float[np.ndarray, "n classes"]) -> bool:
        """Whether the networks' own belief ends the run."""
        return not self._config.confidence and 0 < self._config.target <= 1 - mean_uncertainty(
            probabilities
        )

    def audit(
        self,
        key: Key[Array, ""],
        probabilities: Float[np.ndarray, "n classes"],
        labelled: Labelled,
        most: int,
        number: int,
    ) -> tuple[Labelled, bool]:
        """What is paid for after an audit of the model that costs `most` labels at most.

        Args:
          number: the round's, for the ledger.

        Returns:
          That, and whether there was an audit: none where no certificate is wanted, or can be had.
        """
        config, oracle = self._config, self._oracle
        if not config.certifies or len(labelled.indices) == self._num_images:
            return labelled, False
        mark = zlib.crc32(np.ascontiguousarray(probabilities).tobytes(), number) >> 1  # of 31 bits
        theirs = [order for order, pair in enumerate(self._begun) if pair[1] == number]
        should_continue = (
            bool(theirs) and self._begun[theirs[-1]][0] == mark
        )  # on what it knew then
        order = theirs[-1] if should_continue else len(self._begun)
        begun = self._begun if should_continue else [*self._begun, (mark, number)]
        labelled = self.recall(labelled, number, but=order)
        if len(begun) > MOST_AUDITS or len(labelled.indices) == self._num_images:
            return labelled, False
        terms, most = self._terms(len(labelled.indices), order), self._affordable(labelled, most)
        if most < terms.fewest_labels():
            return labelled, False
        self._begun = begun
        self._known.add(order)
        padded = np.pad(begun, ((0, MOST_AUDITS - len(begun)), (0, 0)), constant_values=-1)
        self._log.save(BEGUN, len(begun), padded)
        drawn, answers = np.zeros(0, int), np.zeros(0, int)

        def ask(indices: Int[np.ndarray, "b"]) -> Int[np.ndarray, "b"]:
            nonlocal drawn, answers
            drawn = np.append(drawn, indices)
            query.remember(self._log, f"{DRAWN}{order}", drawn, self._num_images)
            found = self._ask(indices, number)
            answers = np.append(answers, found)
            return found

        found = audit(
            jax.random.fold_in(key, order), probabilities, probabilities.argmax(axis=-1), ask,
            target=config.target, confidence=terms.confidence, budget=most, bought=labelled.indices,
            population=config.population,
        )  # fmt: skip
        self._log.scalars("audit", order, {
            "estimate": found.estimate, "low": found.low, "high": found.high,
            "labels": found.labels, "labels_spent": oracle.num_bought,
        })  # fmt: skip
        self.audits.append(found)
        own = mean_uncertainty(np.delete(probabilities, labelled.indices, axis=0))
        self._too_sure = max(1 - found.estimate, 1 / (found.labels + 1)) / max(own, 1e-6)
        answered = answers != NOT_SURE
        labels = np.append(labelled.labels, answers[answered])
        indices = np.append(labelled.indices, found.indices[answered])
        return Labelled(indices, labels.astype(int)), True

    def recall(self, labelled: Labelled, number: int, but: int = -1) -> Labelled:
        """What is paid for, with what audits of that round asked that were begun and left.

        A run that is started again may come to other networks there: another machine rounds
        otherwise, or a person has named a new class. Labels once asked for are not given up.

        Args:
          but: the place among all audits of one that goes on.
        """
        for order, (_, theirs) in enumerate(self._begun):
            if theirs != number or order == but or order in self._known:
                continue
            self._known.add(order)
            drawn = query.remembered(self._log, f"{DRAWN}{order}", self._num_images)
            fresh = query.affordable(self._oracle, drawn[~np.isin(drawn, labelled.indices)])
            answers = self._ask(fresh, number)
            self._recalled += len(fresh)
            labelled = Labelled(
                np.append(labelled.indices, fresh), np.append(labelled.labels, answers)
            )
        return labelled

    def _ask(self, indices: Int[np.ndarray, "b"], number: int) -> Int[np.ndarray, "b"]:
        """Buy the labels of those images to certify; NOT_SURE where no person could tell.

        NOT_SURE equals no prediction, so an audit counts such an image as an error. The lower end
        of its interval then still holds.
        """
        before = self._oracle.num_bought
        found = np.full(len(indices), NOT_SURE)
        answerable = np.isfinite(self._oracle.cost(indices))
        found[answerable] = self._oracle.ask(indices[answerable], purpose="certify", round=number)
        self._audited += self._oracle.num_bought - before
        return found

    def audited(self, number: int) -> bool:
        """Whether an audit was begun in that round, by this run or before it was started again."""
        return any(theirs == number for _, theirs in self._begun)

    def summary(self, confidence: float) -> dict[str, float | str]:
        """For result.json: what of the labels was for which purpose, and is certified.

        Of a model that is handed over when the money ends, the last audit says nothing.

        Args:
          confidence: the mean probability of the model's predictions.
        """
        said: dict[str, float | str] = {
            "labels_to_train": self._oracle.num_bought - self._audited,
            "labels_to_certify": self._audited,
        }
        if self._config.certifies:
            said |= statement(self.audits, self._config.population)
            said["verdict"] = self._verdict(said)
        elif self._config.target:
            said["verdict"] = (f"nothing certified (config.confidence=0): the networks believe "
                               f"{100 * confidence:.2f}% to be right, the target was "
                               f"{100 * self._config.target:g}%")  # fmt: skip
        return said

    def _verdict(self, said: Mapping[str, float | str]) -> str:
        """The certificate in a sentence."""
        sure = f"{100 * self._config.confidence:g}% confidence"
        if said["certified"]:
            pool = said["certified_of"] == "the pool"
            of = "the images that were not asked about" if pool else "new images"
            low = at_least(float(said["certified_low"]), 2)
            return f"certified: at least {low} of {of}, {sure}"
        wanted = f"{100 * self._config.target:g}%"
        if not self.audits and self._recalled:
            return (
                f"not certified: an audit of {wanted} was given up for other networks (a class "
                f"was named late, or on another machine); its {self._recalled} labels train"
            )
        if not self.audits:
            return f"not certified: no audit of {wanted} was worth its labels"
        last = self.audits[-1]
        low, high = at_least(last.low, 2), at_most(last.high, 2)
        return f"not certified: at the last audit {low} to {high} were right, {sure}"

    def _affordable(self, labelled: Labelled, most: int) -> int:
        """As many of `most` labels as the money buys, whichever they are."""
        count = query.num_affordable(self._oracle, self._num_images, labelled.indices, surely=True)
        return min(most, count)

    def _terms(self, bought: int, audits: int) -> Terms:
        """What the audit that follows so many may certify, when so many labels are paid for."""
        error = FIRST_SHARE * (1 - FIRST_SHARE) ** audits * (1 - self._config.confidence)
        return Terms(
            self._config.target, 1 - error, self._num_images, bought, self._config.population
        )


def mean_uncertainty(probabilities: Float[np.ndarray, "n classes"]) -> float:
    """The error that a model owns up to: one minus the mean probability of its predictions."""
    return 1 - float(probabilities.max(axis=-1).mean())
