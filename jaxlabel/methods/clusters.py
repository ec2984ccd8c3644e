"""PCA and k-means alone (S2): clusters of the images, without a label.

The run asks nothing. How well its clusters agree with the classes is counted by the evaluator on
the test images, with labels that the run never saw: purity (each cluster named by its most
frequent class) is what S2 calls accuracy.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import augment, cluster
from jaxlabel.cluster.pca import fit_pca, project
from jaxlabel.config import RunConfig, setting
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor

SAMPLE = 2000  # images whose silhouette is computed: it takes all pairs of them


@dataclasses.dataclass
class Config(RunConfig):
    """Settings of clustering without labels; a table over `clusters` is in experiments/."""

    clusters: int = setting(10, "how many", low=1)
    components: int = setting(64, "principal components; at most all are taken", low=1)
    starts: int = setting(1, "runs of k-means of which the tightest is kept", low=1)
    iterations: int = setting(50, "the most steps of a run of k-means", low=1)


class NearestCentroid(nnx.Module):
    """Minus the squared distance to each centroid, in the space of the principal components."""

    def __init__(self, shape: tuple[int, ...], components: int, clusters: int):
        pixels = int(np.prod(shape))
        components = min(components, pixels)
        self.mean = nnx.Param(jnp.zeros(pixels))
        self.components = nnx.Param(jnp.zeros((components, pixels)))
        self.centroids = nnx.Param(jnp.zeros((clusters, components)))

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return (images.reshape(len(images), -1) - self.mean[...]) @ self.components[...].T

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch clusters"]:
        points, centroids = self.features(images), self.centroids[...]
        return -jnp.sum(jnp.square(points[:, None] - centroids), axis=-1)


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """The nearest of the k-means centroids; the oracle is asked nothing."""
    means_key, sample_key = jax.random.split(key)
    pixels = augment.as_float(jnp.asarray(images)).reshape(len(images), -1)
    pca = fit_pca(pixels, min(config.components, pixels.shape[1]))
    points = project(pca, pixels)
    found = cluster.kmeans(
        means_key, points, config.clusters, num_init=config.starts, num_iterations=config.iterations
    )
    model = make_classifier(config, images.shape[1:], 0)(None)
    model.mean[...], model.components[...] = pca.mean, pca.components
    model.centroids[...] = found.centroids
    nearest = np.asarray(cluster.medoids(points, found.centroids, found.assignments))
    sizes = np.asarray(found.sizes)
    full = sizes > 0
    log.arrays("medoids", images=images[nearest[full]], sizes=sizes[full],
               labels=np.full(full.sum(), -1))  # fmt: skip
    rows = np.asarray(jax.random.permutation(sample_key, len(images)))[:SAMPLE]
    summary = {
        "clusters": int(full.sum()),
        "inertia": float(found.inertia),
        "explained_variance": float(pca.variances[: config.components].sum() / pca.variances.sum()),
        **silhouette(np.asarray(points)[rows], np.asarray(found.assignments)[rows]),
    }
    return Predictor(model, None, None, "nothing to ask", summary, gives="clusters")


def silhouette(points: Float[np.ndarray, "n d"], clusters: np.ndarray) -> dict[str, float]:
    """The mean silhouette (Rousseeuw 1987); nothing where all or no points are alone."""
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(clusters)) < len(points):
        return {}
    return {"silhouette": float(silhouette_score(points, clusters))}


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """What makes the model, to load it; it has as many outputs as clusters, not classes."""
    return lambda rngs: NearestCentroid(shape, config.components, config.clusters)
