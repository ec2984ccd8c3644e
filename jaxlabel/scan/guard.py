"""Guard rails: what tells, without a label, whether clusters are any good, and what to change."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

VANISHED = 0.1  # a cluster with less than this of its expected size is counted as gone
BALANCED = 0.9  # below this entropy of the sizes some clusters have swallowed others
AGREEING = 0.7  # below this share of neighbours in the same cluster, neighbours or clusters are bad
SURE = 0.3  # below this share of confident images self-labelling has little to go by
SLACK = 0.02  # by how much a measure may fall before a step is called a step back


class Guard(NamedTuple):
    """What a clustering says of itself.

    Attributes:
      entropy: 1 where sizes are as the prior has them, less their divergence from it over the
        largest there is; with the uniform prior the sizes' entropy over its maximum.
      vanished: clusters with less than a tenth of the images that they should have.
      confident: the share of images whose cluster has at least the threshold's probability.
      agreement: the share of images' neighbours that are in the images' own cluster.
    """

    entropy: float
    vanished: int
    confident: float
    agreement: float
    sizes: Int[np.ndarray, "k"]
    confident_by_cluster: Float[np.ndarray, "k"]
    agreement_by_cluster: Float[np.ndarray, "k"]

    def scalars(self) -> dict[str, float]:
        """The numbers that are logged."""
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
    """The measures of soft assignments, each image having `neighbours`."""
    num_images, num_clusters = probabilities.shape
    expected = np.full(num_clusters, 1 / num_clusters) if prior is None else np.asarray(prior)
    clusters = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1) >= threshold
    same = (clusters[neighbours] == clusters[:, None]).mean(axis=1)
    sizes = np.bincount(clusters, minlength=num_clusters)
    full = np.maximum(sizes, 1)
    return Guard(
        entropy=likeness(sizes / num_images, expected),
        vanished=int(np.sum(sizes < VANISHED * expected * num_images)),
        confident=float(sure.mean()),
        agreement=float(same.mean()),
        sizes=sizes,
        confident_by_cluster=np.bincount(clusters, sure, num_clusters) / full,
        agreement_by_cluster=np.bincount(clusters, same, num_clusters) / full,
    )


def likeness(shares: Float[np.ndarray, "k"], prior: Float[np.ndarray, "k"]) -> float:
    """1 - KL(shares || prior) / -log(min prior): 1 at the prior, 0 where all is in its least."""
    some = shares > 0
    divergence = np.sum(shares[some] * np.log(shares[some] / prior[some]))
    return float(1 - divergence / -np.log(prior.min()))


def advice(guard: Guard) -> list[str]:
    """What is wrong with the clusters, and what to change; nothing where all is well."""
    found = []
    if guard.vanished:
        found.append(
            f"{guard.vanished} of {len(guard.sizes)} clusters have vanished: raise "
            "config.entropy_weight, or ask for fewer clusters"
        )
    if guard.entropy < BALANCED:
        found.append(
            f"the clusters' sizes are uneven (entropy {guard.entropy:.2f} of 1): raise "
            "config.entropy_weight, or give config.prior if the classes are that uneven"
        )
    if guard.agreement < AGREEING:
        found.append(
            f"only {guard.agreement:.0%} of the neighbours are in the same cluster: train the "
            "features longer (config.pretext_steps), mine fewer neighbours (config.neighbours), "
            "or ask for fewer clusters"
        )
    if guard.confident < SURE:
        found.append(
            f"only {guard.confident:.0%} of the images are confident: train the clusters longer "
            "(config.cluster_steps), or lower config.threshold"
        )
    return found


def worse(before: Guard, after: Guard) -> str:
    """Why the clusters after a step are worse than before it, or nothing."""
    if after.vanished > before.vanished:
        return f"{after.vanished} clusters have vanished where {before.vanished} had before"
    if after.entropy < before.entropy - SLACK:
        return f"the sizes' entropy fell from {before.entropy:.3f} to {after.entropy:.3f}"
    if after.agreement < before.agreement - SLACK:
        return (
            f"neighbours in one cluster fell from {before.agreement:.3f} to {after.agreement:.3f}"
        )
    if after.confident < before.confident - SLACK:
        return f"confident images fell from {before.confident:.3f} to {after.confident:.3f}"
    return ""
