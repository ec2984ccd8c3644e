"""When a run may stop: at an accuracy that is certified, or that its networks believe in."""

import dataclasses
import zlib

import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel import query
from jaxlabel.certificate import Certificate, Terms, audit, statement
from jaxlabel.config import setting
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Survey
from jaxlabel.query import Paid

TOO_SURE = 1.5  # how many times its own doubt a model's error is taken to be, until it is audited
BEGUN = "audits_begun"  # the checkpoint in which each audit leaves its mark
MOST_AUDITS = 20
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


class Judge:
    """Says whether the target is reached, and remembers its audits.

    The first may make three quarters of the error that is allowed, each further one three quarters
    of what is left of it, so that all of them together keep it. Those of a run that was started
    again and has come to other networks count too.

    Attributes:
      audits: what they found, in order.
    """

    def __init__(self, config: Settings, num_images: int, oracle: Oracle, log: Log):
        self.audits: list[Certificate] = []
        self._config, self._num_images, self._oracle, self._log = config, num_images, oracle, log
        self._too_sure = TOO_SURE
        there = log.restore(BEGUN, np.full(MOST_AUDITS, -1))
        self._begun = [] if there is None else [int(mark) for mark in there[1] if mark >= 0]

    @property
    def certified(self) -> bool:
        """Whether the last audit has certified the target."""
        return bool(self.audits) and self.audits[-1].reached

    def hopes(self, seen: Survey, paid: Paid, most: int) -> bool:
        """Whether the target is as likely as not reached, which `most` labels are to prove.

        An audit of a model that just reaches it takes thousands, so the doubt must leave room. The
        errors are taken to be 1.5 times what the networks doubt, or after an audit as many times as
        it found.
        """
        beliefs = seen.view.beliefs[~np.isin(seen.rows, paid.indices)]
        if not len(beliefs):
            return False
        if not self._config.certifies:
            return self.believes(beliefs)
        expected = self._terms(paid, len(self.audits)).expected_labels(
            1 - beliefs.max(axis=-1), self._too_sure * doubt(beliefs)
        )
        return self._affordable(paid, most) >= expected

    def believes(self, beliefs: Float[np.ndarray, "n classes"]) -> bool:
        """Whether the networks' own belief ends the run."""
        return not self._config.confidence and 0 < self._config.target <= 1 - doubt(beliefs)

    def audit(
        self, key: Key[Array, ""], beliefs: Float[np.ndarray, "n classes"], paid: Paid, most: int,
        number: int,
    ) -> Paid | None:  # fmt: skip
        """What is paid for after an audit of the model that costs `most` labels at most.

        Args:
          number: the round's, for the ledger.

        Returns:
          None where nothing was asked: no certificate is wanted, or none can be had.
        """
        config, oracle = self._config, self._oracle
        if not config.certifies or len(paid.indices) == self._num_images:
            return None
        mark = zlib.crc32(np.ascontiguousarray(beliefs).tobytes(), number) >> 1  # of 31 bits
        begun = self._begun if mark in self._begun else [*self._begun, mark]
        terms, most = self._terms(paid, begun.index(mark)), self._affordable(paid, most)
        if len(begun) > MOST_AUDITS or most < terms.fewest_labels():
            return None
        self._begun = begun
        padded = np.pad(begun, (0, MOST_AUDITS - len(begun)), constant_values=-1)
        self._log.save(BEGUN, len(begun), padded)
        answers: list[np.ndarray] = []

        def ask(indices: Int[np.ndarray, "b"]) -> Int[np.ndarray, "b"]:
            answers.append(oracle.ask(indices, purpose="certify", round=number))
            return answers[-1]

        found = audit(
            key, beliefs, beliefs.argmax(axis=-1), ask, target=config.target,
            confidence=terms.confidence, budget=most, bought=paid.indices,
            population=config.population,
        )  # fmt: skip
        self._log.scalars("audit", len(self.audits), {
            "estimate": found.estimate, "low": found.low, "high": found.high,
            "labels": found.labels,
        })  # fmt: skip
        self.audits.append(found)
        own = doubt(np.delete(beliefs, paid.indices, axis=0))
        self._too_sure = max(1 - found.estimate, 1 / (found.labels + 1)) / max(own, 1e-6)
        labels = np.concatenate([paid.labels, *answers])
        return Paid(np.append(paid.indices, found.indices), labels.astype(int))

    def summary(self, bought: int) -> dict[str, float | str]:
        """For result.json: what of the `bought` labels was for which purpose, and is certified.

        Of a model that is handed over when the money ends, the last audit says nothing.
        """
        audited = sum(found.labels for found in self.audits)
        said: dict[str, float | str] = {
            "labels_to_train": bought - audited, "labels_to_certify": audited
        }  # fmt: skip
        if self._config.certifies:
            said |= statement(self.audits, self._config.population)
        return said

    def _affordable(self, paid: Paid, most: int) -> int:
        """As many of `most` labels as the money buys, whichever they are."""
        count = query.how_many(self._oracle, self._num_images, paid.indices, surely=True)
        return min(most, count)

    def _terms(self, paid: Paid, audits: int) -> Terms:
        """What the audit that follows so many may certify."""
        error = FIRST_SHARE * (1 - FIRST_SHARE) ** audits * (1 - self._config.confidence)
        return Terms(
            self._config.target, 1 - error, self._num_images, len(paid.indices),
            self._config.population,
        )  # fmt: skip


def doubt(beliefs: Float[np.ndarray, "n classes"]) -> float:
    """The error that a model owns up to: one minus the mean probability of its predictions."""
    return 1 - float(beliefs.max(axis=-1).mean())
