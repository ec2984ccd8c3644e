"""The settings that say when a run stops: the target accuracy and its certificate."""

import dataclasses

from jaxlabel.config import setting

AUDIT_SHARE = 0.4  # of the budget is reserved for audits, if an accuracy is to be certified


@dataclasses.dataclass
class Settings:
    """Settings of the target accuracy, and of the labels that are bought to certify it.

    The settings (`Config`) of other modules inherit from this class.
    """

    target: float = setting(
        0.0, "accuracy at which to stop; 0: spend the whole budget", low=0.0, high=0.9999
    )
    confidence: float = setting(
        0.95, "with a target: confidence level of the certificate that the target is reached; 0: "
        "no certificate, stop when the network's mean confidence reaches the target", low=0.0,
        high=0.9999,
    )  # fmt: skip

    @property
    def certifies(self) -> bool:
        """Return True if the run buys labels to certify its accuracy."""
        return self.target > 0 and self.confidence > 0

    @property
    def reserve(self) -> float:
        """Return the share of the budget reserved for audits; 0 if nothing is to be certified.

        An audit buys the labels of a random sample of images to certify the accuracy.
        """
        return AUDIT_SHARE if self.certifies else 0.0

    def num_to_train(self, capacity: float) -> int:
        """Return how many of the `capacity` labels that a budget buys are for training; at least 1.

        The others are reserved for audits.
        """
        return max(1, int(capacity - self.reserve * capacity))
