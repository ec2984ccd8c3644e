"""Say in one sentence what the audits of a run have certified."""

from collections.abc import Sequence

from jaxlabel.certificate import Certificate
from jaxlabel.certificate.interval import at_least, at_most


def verdict(
    audits: Sequence[Certificate], *, target: float, confidence: float, num_recalled: int = 0
) -> str:  # fmt: skip
    """Return one sentence that says which accuracy was certified, or why none was.

    An audit buys labels of random images to certify the accuracy. If the last audit failed, the
    sentence gives the confidence interval that it found.

    Args:
      audits: the certificates of the run's audits, in order. They are of the accuracy on the
        images that were not labelled for training.
      target: the accuracy to certify, a fraction.
      confidence: the confidence level of the certificate, a fraction.
      num_recalled: the number of labels that abandoned audits bought. An audit is abandoned if it
        was interrupted and the run resumed with a different network.
    """
    sure = f"{100 * confidence:g}% confidence"
    if audits and audits[-1].reached:
        low = at_least(audits[-1].low, 2)
        return (
            f"certified: at least {low} of the images that were not labelled for training are "
            f"classified correctly, {sure}"
        )
    wanted = f"{100 * target:g}%"
    if not audits and num_recalled:
        return (
            f"not certified: an audit of {wanted} was abandoned as the network changed (a new "
            f"class, or another machine); its {num_recalled} labels were used for training"
        )
    if not audits:
        return f"not certified: no audit of {wanted} was likely enough to succeed"
    low, high = at_least(audits[-1].low, 2), at_most(audits[-1].high, 2)
    return f"not certified: the last audit found an accuracy of {low} to {high}, {sure}"
