"""The clustering recipe: PCA and k-means, without labels.

The run buys no labels. The evaluator measures on the test images how well the clusters agree with
the classes, with labels that the run never uses. experiments/sources.md compares the result with a
published one (source S2), whose "accuracy" is purity: the share of images whose class is the most
frequent one in their cluster.
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

SAMPLE = 2000  # images in the silhouette, whose cost grows with the number of pairs


@dataclasses.dataclass
class Config(RunConfig):
    """Settings of clustering by principal components and k-means, without labels."""

    clusters: int = setting(10, "number of clusters", low=1)
    components: int = setting(
        64, "number of principal components; at most one per pixel is used", low=1
    )
    starts: int = setting(
        1, "number of k-means runs; the one with the lowest inertia is kept", low=1
    )
    iterations: int = setting(50, "largest number of iterations of a k-means run", low=1)


class NearestCentroid(nnx.Module):
    """A model whose output for a cluster is minus the squared distance of an image to the centroid.

    Distances are measured between the principal components of the images.
    """

    def __init__(self, shape: tuple[int, ...], components: int, clusters: int):
        pixels = int(np.prod(shape))
        components = min(components, pixels)
        self.mean = nnx.Param(jnp.zeros(pixels))
        self.components = nnx.Param(jnp.zeros((components, pixels)))
        self.centroids = nnx.Param(jnp.zeros((clusters, components)))

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return (images.reshape(images.shape[0], -1) - self.mean[...]) @ self.components[...].T

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
    """Cluster the images; return a model that assigns images to the cluster with nearest centroid.

    No labels are bought.
    """
    means_key, sample_key = jax.random.split(key)
    pixels = augment.pixel_vectors(images)
    pca = fit_pca(pixels, min(config.components, pixels.shape[1]))
    points = project(pca, pixels)
    clustering = cluster.kmeans(
        means_key, points, config.clusters, num_init=config.starts, num_iterations=config.iterations
    )
    model = make_classifier(config, images.shape[1:], 0)(None)
    model.mean[...], model.components[...] = pca.mean, pca.components
    model.centroids[...] = clustering.centroids
    medoids = np.asarray(cluster.medoids(points, clustering.centroids, clustering.assignments))
    sizes = np.asarray(clustering.sizes)
    full = sizes > 0
    log.arrays("medoids", images=images[medoids[full]], sizes=sizes[full],
               labels=np.full(full.sum(), -1), bought=np.zeros(full.sum(), bool))  # fmt: skip
    variance = float(pca.variances.sum())  # 0 if all images are identical
    explained = float(pca.variances[: config.components].sum()) / variance if variance else 1.0
    rows = np.asarray(jax.random.permutation(sample_key, len(images)))[:SAMPLE]
    summary = {
        "clusters": int(full.sum()),
        "inertia": float(clustering.inertia),
        "explained_variance": explained,
        **silhouette(np.asarray(points)[rows], np.asarray(clustering.assignments)[rows]),
    }
    return Predictor(model, None, None, "nothing to ask", summary, gives="clusters")


def silhouette(points: Float[np.ndarray, "n d"], clusters: np.ndarray) -> dict[str, float]:
    """Return the mean silhouette score (Rousseeuw 1987) of a clustering as `{"silhouette": score}`.

    An empty dict is returned if there is only one cluster, or if every point is its own cluster.

    Args:
      points: the points, one per row.
      clusters: the cluster of each point.
    """
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(clusters)) < len(points):
        return {}
    return {"silhouette": float(silhouette_score(points, clusters))}


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds a model whose centroids are all zero.

    To load a saved model, the caller builds one with this function and then overwrites its arrays
    with the saved ones. The model has one output per cluster instead of one per class.
    """
    return lambda rngs: NearestCentroid(shape, config.components, config.clusters)
