"""Clustering on the device: k-means, medoids, exact nearest neighbours, and neighbour graphs."""

from jaxlabel.cluster.embedding import GraphSpace, diffuse_labels, graph_space, nearest_graph
from jaxlabel.cluster.graph import (
    Graph,
    Spectrum,
    knn_graph,
    normalised_weights,
    poisson_learning,
    spectral_embedding,
    spread_labels,
)
from jaxlabel.cluster.lloyd import KMeans, distances, kmeans, medoids
from jaxlabel.cluster.neighbours import knn

__all__ = [
    "Graph",
    "GraphSpace",
    "KMeans",
    "Spectrum",
    "diffuse_labels",
    "distances",
    "graph_space",
    "kmeans",
    "knn",
    "knn_graph",
    "medoids",
    "nearest_graph",
    "normalised_weights",
    "poisson_learning",
    "spectral_embedding",
    "spread_labels",
]
