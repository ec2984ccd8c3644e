"""A two-dimensional map of the features of some images, for the report."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int


def feature_map(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    method: str = "tsne",
    max_points: int = 1000,
) -> dict[str, np.ndarray]:
    """Project the feature vectors of a random sample of images to two dimensions, for a map.

    Args:
      features: the feature vector of each image, a row per image.
      labels: the class or cluster of each image.
      method: "tsne" (van der Maaten & Hinton 2008), or "pca", which is faster.
      max_points: the largest number of images in the sample.

    Returns:
      Two arrays for the sampled images: "points" (m, 2), their positions, and "labels" (m,).
    """
    rows = np.random.default_rng(0).permutation(len(features))[:max_points]
    chosen = features[rows] - features[rows].mean(axis=0)
    if method == "pca":
        points = chosen @ np.linalg.svd(chosen, full_matrices=False)[2][:2].T
    else:
        perplexity = min(30.0, (len(rows) - 1) / 3)
        points = tsne(chosen, perplexity=perplexity, init="random", max_iter=400)
    return {"points": points, "labels": labels[rows]}


def tsne(points: Float[np.ndarray, "m d"], **options: Any) -> Float[np.ndarray, "m 2"]:
    """Compute a t-SNE embedding of points in two dimensions (van der Maaten & Hinton 2008).

    Args:
      points: the points, a row per point.
      options: further arguments of scikit-learn's `TSNE`.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # a second thread only waits in its short loops
        embedded: np.ndarray = TSNE(random_state=0, **options).fit_transform(points)
    return embedded
