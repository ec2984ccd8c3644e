"""Label-free checks of a clustering: measures of its quality, and advice on settings."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

VANISHED = 0.1  # a cluster has vanished below this fraction of its expected size
BALANCED = 0.9  # below this entropy of the sizes, some clusters have absorbed others
AGREEING = 0.7  # below this fraction of neighbours in one cluster, neighbours or clusters are bad
SURE = 0.3  # below this fraction of confident images, self-labelling has too few of them
SLACK = 0.02  # the decrease of a measure that still does not count as worse


class Guard(NamedTuple):
    """Measures of a clustering's quality that need no labels.

    Attributes:
      entropy: 1 if the clusters' sizes equal the prior, else less: 1 minus their divergence from it
        over the largest possible one; for a uniform prior, the sizes' entropy over its maximum.
      vanished: the number of clusters with less than a tenth of their expected size.
      confident: the fraction of images whose cluster probability reaches the threshold.
      agreement: the mean fraction of an image's neighbours that are in the image's cluster.
      sizes: the number of images in each cluster.
      confident_by_cluster: `confident` for the images of each cluster.
      agreement_by_cluster: `agreement` for the images of each cluster.
    """

    entropy: float
    vanished: int
    confident: float
    agreement: float
    sizes: Int[np.ndarray, "k"]
    confident_by_cluster: Float[np.ndarray, "k"]
    agreement_by_cluster: Float[np.ndarray, "k"]

    def scalars(self) -> dict[str, float]:
        """Return the measures to log, by name."""
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
    """Compute the measures of a soft clustering.

    Args:
      probabilities: the cluster probabilities of each image.
      neighbours: the indices of each image's nearest neighbours.
      threshold: the probability at which an image counts as confident.
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
    """Return how well the clusters' sizes agree with the prior, as a number of at most 1.

    It is 1 - KL(shares || prior) / -log(min prior): 1 if the sizes equal the prior, and 0 if all
    images are in the cluster with the smallest prior.
    """
    positive = shares > 0
    divergence = np.sum(shares[positive] * np.log(shares[positive] / prior[positive]))
    return float(1 - divergence / -np.log(prior.min()))


def advice(guard: Guard) -> list[str]:
    """Return one line per problem of the clustering, with the settings to change; empty if none."""
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
    """Return why the clustering after a step is worse than before; an empty string if it is not."""
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
