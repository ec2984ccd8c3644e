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
    """Quality measures of a clustering of images that need no labels.

    Attributes:
      entropy: how well the clusters' sizes agree with their expected sizes (the prior), as
        `prior_agreement` defines it; 1 if they are equal, and less otherwise. For a uniform prior
        it is the entropy of the sizes divided by its maximum.
      vanished: the number of clusters with less than a tenth of their expected size.
      confident: the fraction of images whose largest cluster probability reaches a threshold.
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
        """Return the quality measures that are single numbers, by the names for the log."""
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
    """Compute label-free quality measures of a clustering of images.

    Args:
      probabilities: the probability of each cluster for each image; an image's cluster is the most
        probable one.
      neighbours: the indices of each image's nearest neighbours.
      threshold: an image counts as confident if its largest cluster probability reaches this.
      prior: the clusters' expected sizes as fractions; None for a uniform prior.
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
    """Return how well the sizes of clusters agree with their expected sizes: 1 if they are equal.

    The number is 1 - KL(shares || prior) / -log(min prior). It is 0 if all images are in the
    cluster with the smallest prior.

    Args:
      shares: the size of each cluster, as a fraction of all images.
      prior: the expected size of each cluster, as a fraction.
    """
    positive = shares > 0
    divergence = np.sum(shares[positive] * np.log(shares[positive] / prior[positive]))
    return float(1 - divergence / -np.log(prior.min()))


def advice(guard: Guard) -> list[str]:
    """Return one sentence per problem of a clustering: what is wrong, which settings to change.

    The list is empty if no quality measure in `guard` is bad.
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
    """Return a sentence on how a clustering is worse than an earlier one; empty if it is not worse.

    A clustering is worse if more clusters have vanished, or if another quality measure fell by more
    than 0.02.

    Args:
      before: the quality measures of the earlier clustering.
      after: the quality measures of the clustering.
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
