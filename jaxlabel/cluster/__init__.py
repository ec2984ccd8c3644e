"""Clustering on the device: k-means, medoids, exact nearest neighbours and graphs of them."""

from jaxlabel.cluster.graph import (
    Graph,
    Spectrum,
    knn_graph,
    normalised,
    poisson_learning,
    spectral_embedding,
    spread_labels,
)
from jaxlabel.cluster.lloyd import KMeans, distances, kmeans, medoids
from jaxlabel.cluster.neighbours import knn

__all__ = [
    "Graph",
    "KMeans",
    "Spectrum",
    "distances",
    "kmeans",
    "knn",
    "knn_graph",
    "medoids",
    "normalised",
    "poisson_learning",
    "spectral_embedding",
    "spread_labels",
]
