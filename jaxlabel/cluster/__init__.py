"""Clustering on the device: k-means, medoids, nearest neighbours, and neighbour graphs."""

from jaxlabel.cluster.cells import Neighbours, nearest_neighbours, report_recall
from jaxlabel.cluster.copies import first_copies
from jaxlabel.cluster.embedding import GraphSpace, diffuse_labels, graph_space
from jaxlabel.cluster.graph import (
    Graph,
    Spectrum,
    knn_graph,
    normalised_weights,
    poisson_learning,
    spectral_embedding,
)
from jaxlabel.cluster.lloyd import KMeans, distances, kmeans, medoids
from jaxlabel.cluster.neighbours import knn

__all__ = [
    "Graph",
    "GraphSpace",
    "KMeans",
    "Neighbours",
    "Spectrum",
    "diffuse_labels",
    "distances",
    "first_copies",
    "graph_space",
    "kmeans",
    "knn",
    "knn_graph",
    "medoids",
    "nearest_neighbours",
    "normalised_weights",
    "poisson_learning",
    "report_recall",
    "spectral_embedding",
]
