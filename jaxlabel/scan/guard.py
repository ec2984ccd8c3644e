"""Label-free quality measures of a clustering, and advice on the settings to change."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

VANISHED = 0.1  # a cluster has vanished below this fraction of its expected size
BALANCED = 0.9  # below this entropy of the sizes, some clusters have absorbed others
AGREEING = 0.7  # below this fraction of neighbours in one cluster, neighbours or clusters are bad
SURE = 0.3  # below this fraction of confident images, self-labelling has too few of them
SLACK = 0.02  # the decrease of a measure that still does not count as worse


class Guard(NamedTuple):
    """Quality measures of a clustering of images, computed without any labels.

    Attributes:
      entropy: a measure of how well the sizes of the clusters agree with their expected sizes,
        defined by `prior_agreement`; 1 if they are equal, and less otherwise. If all expected sizes
        are equal, it is the entropy of the sizes divided by its maximum.
      vanished: the number of clusters with less than a tenth of their expected size.
      confident: the fraction of images whose largest cluster probability is at least a given
        threshold.
      agreement: the fraction of an image's nearest neighbours that are in the same cluster as the
        image, averaged over all images.
      sizes: the number of images in each cluster.
      confident_by_cluster: the measure `confident` for the images of each cluster.
      agreement_by_cluster: the measure `agreement` for the images of each cluster.
    """

    entropy: float
    vanished: int
    confident: float
    agreement: float
    sizes: Int[np.ndarray, "k"]
    confident_by_cluster: Float[np.ndarray, "k"]
    agreement_by_cluster: Float[np.ndarray, "k"]

    def scalars(self) -> dict[str, float]:
        """Return the measures that are single numbers, as a dict {name in the log: value}."""
        return {
            "size_entropy": self.entropy,
            "vanished_clusters": self.vanished,
            "confident_share": self.confident,
            "neighbour_agreement": self.agreement,
        }


def measure(
    probabilities: Float[np.ndarray, "n k"],
    neighbours: Int[np.ndarray, "n m"],
    threshold: float,
    prior: Float[np.ndarray, "k"] | None = None,
) -> Guard:
    """Return quality measures of a clustering of images, computed without any labels.

    Args:
      probabilities: the probability of each cluster for each image; an image's cluster is the most
        probable one.
      neighbours: the indices of each image's nearest neighbours.
      threshold: an image counts as confident if its largest cluster probability is at least this.
      prior: the expected size of each cluster, as a fraction of all images; None if all are equal.
    """
    num_images, num_clusters = probabilities.shape
    expected = np.full(num_clusters, 1 / num_clusters) if prior is None else np.asarray(prior)
    clusters = probabilities.argmax(axis=1)
    is_confident = probabilities.max(axis=1) >= threshold
    agrees = (clusters[neighbours] == clusters[:, None]).mean(axis=1)
    sizes = np.bincount(clusters, minlength=num_clusters)
    divisors = np.maximum(sizes, 1)
    return Guard(
        entropy=prior_agreement(sizes / num_images, expected),
        vanished=int(np.sum(sizes < VANISHED * expected * num_images)),
        confident=float(is_confident.mean()),
        agreement=float(agrees.mean()),
        sizes=sizes,
        confident_by_cluster=np.bincount(clusters, is_confident, num_clusters) / divisors,
        agreement_by_cluster=np.bincount(clusters, agrees, num_clusters) / divisors,
    )


def prior_agreement(shares: Float[np.ndarray, "k"], prior: Float[np.ndarray, "k"]) -> float:
    """Measure how well the sizes of clusters agree with their expected sizes; return 1 if equal.

    The result is 1 - KL(shares || prior) / -log(min prior). It is 0 if all images are in the
    cluster with the smallest prior.

    Args:
      shares: the size of each cluster, as a fraction of all images.
      prior: the expected size of each cluster, as a fraction of all images.
    """
    positive = shares > 0
    divergence = np.sum(shares[positive] * np.log(shares[positive] / prior[positive]))
    return float(1 - divergence / -np.log(prior.min()))


def advice(guard: Guard) -> list[str]:
    """Return a list of sentences: what is wrong with a clustering, and which settings to change.

    There is one sentence for each quality measure in `guard` that is bad; the list is empty if none
    is. For example: "2 of 10 clusters have vanished (nearly empty): raise config.entropy_weight, or
    ask for fewer clusters".
    """
    lines = []
    if guard.vanished:
        lines.append(
            f"{guard.vanished} of {len(guard.sizes)} clusters have vanished (nearly empty): raise "
            "config.entropy_weight, or ask for fewer clusters"
        )
    if guard.entropy < BALANCED:
        lines.append(
            f"the clusters' sizes are uneven (entropy {guard.entropy:.2f} of 1): raise "
            "config.entropy_weight, or set config.prior if the classes are that uneven"
        )
    if guard.agreement < AGREEING:
        lines.append(
            f"only {guard.agreement:.0%} of the neighbours are in the same cluster: train the "
            "features longer (config.pretext_steps), mine fewer neighbours (config.neighbours), "
            "or ask for fewer clusters"
        )
    if guard.confident < SURE:
        lines.append(
            f"only {guard.confident:.0%} of the images are confident: train the clusters longer "
            "(config.cluster_steps), or lower config.threshold"
        )
    return lines


def reason_worse(before: Guard, after: Guard) -> str:
    """Return a sentence that says how a clustering became worse; an empty string if it did not.

    A clustering became worse if more clusters have vanished (are nearly empty), or if another
    quality measure fell by more than 0.02.

    Args:
      before: the quality measures of the clustering before a training step.
      after: the quality measures of the clustering after it.
    """
    if after.vanished > before.vanished:
        return f"{after.vanished} clusters have vanished, {before.vanished} before the step"
    if after.entropy < before.entropy - SLACK:
        return f"the sizes' entropy fell from {before.entropy:.3f} to {after.entropy:.3f}"
    if after.agreement < before.agreement - SLACK:
        return (
            f"the share of neighbours in one cluster fell from {before.agreement:.3f} to "
            f"{after.agreement:.3f}"
        )
    if after.confident < before.confident - SLACK:
        return (
            f"the share of confident images fell from {before.confident:.3f} to "
            f"{after.confident:.3f}"
        )
    return ""
