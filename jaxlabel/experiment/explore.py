"""Write a page that shows a data set before any training: samples, maps, and clusters.

The page holds sample images, a scree plot, PCA and t-SNE maps, k-means scores over the number of
clusters, and the mean image of each cluster.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxlabel import augment, cluster, data, files
from jaxlabel.cluster.pca import PCA, fit_pca, project
from jaxlabel.data.dataset import DEFAULTS, Dataset, Options
from jaxlabel.errors import DataError
from jaxlabel.experiment.feature_map import tsne
from jaxlabel.report import FOLDER, evaluate, figures, fill_template, sections
from jaxlabel.report.confusion import confusion_table
from jaxlabel.report.run import percent

COMPONENTS = 64  # principal components on which k-means clusters
COUNTS = (4, 10, 36, 100, 144, 256)  # numbers of clusters; few, since each is a compilation
MAP_POINTS = 4000  # images on the PCA map
TSNE_POINTS = 1000  # images on the t-SNE map, which is slower
MAX_PER_CLASS = 12  # sample images per class
MAX_COMPONENTS = 30  # principal components in the scree plot
MAX_CLUSTERS = 100  # clusters with pictures


class Clustering(NamedTuple):
    """The result of clustering the training images by k-means.

    Attributes:
      k: the number of clusters.
      inertia: the sum of squared distances of the images' feature vectors to their centroids.
      centroids: the mean feature vector of each cluster.
      assignments: the cluster of each image.
      medoids: for each cluster, the index of the image nearest to the centroid.
      scores: the agreement of the clusters with the true classes; None if labels were not given.
    """

    k: int
    inertia: float
    centroids: Float[np.ndarray, "k d"]
    assignments: Int[np.ndarray, "n"]
    medoids: Int[np.ndarray, "k"]
    scores: evaluate.ClusterScores | None


def explore(
    spec: str, out: Path, options: Options = DEFAULTS, *, labels: bool = False, seed: int = 0
) -> Path:
    """Write the page explore.html about a data set, and return its path.

    Args:
      spec: the data set, such as "folder:DIR".
      out: the directory in which explore.html is written.
      options: how the images are read, such as their size.
      labels: True to also show all training labels, with a warning on the page. This is for
        research on published data sets, not for data whose labels a run will buy.
      seed: the seed of the random samples, the maps, and k-means.

    Raises:
      DataError: the images cannot be read, or `labels` is True and the data set has no labels.
    """
    dataset = data.load(spec, options)
    images = dataset.train_images
    if labels and not data.has_labels(spec, options):
        raise DataError(f"{spec} brings no labels: explore it without --labels")
    truth = data.load_train_labels(spec, options) if labels else None
    classes = dataset.classes or (() if truth is None else data.label_names(spec, options))
    pixels = augment.pixel_vectors(images)
    pca = fit_pca(pixels, min(COMPONENTS, pixels.shape[1]))
    points = project(pca, pixels)
    counts = [k for k in COUNTS if k <= len(images) // 2] or [1]
    clusterings = [cluster_images(points, k, truth, seed) for k in counts]
    few, many = (clustering_nearest_to(clusterings, k) for k in (len(classes) or 10, 144))
    parts = {
        "samples": sample_groups(images, truth, classes, seed),
        "scree": scree_plot(pca),
        "maps": two_maps(np.asarray(points), truth, classes, clusterings, seed),
        "clusters": cluster_pictures(few, images),
        "curves": charts_over_k(clusterings),
        "confusion": None if truth is None else cluster_confusion(many, truth, classes),
    }
    path = out / "explore.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, render_page(dataset, labels, parts))
    return path


def cluster_images(
    points: Any, k: int, truth: Int[np.ndarray, "n"] | None, seed: int
) -> Clustering:
    """Cluster the images by k-means, and score the clusters if the true labels are given.

    Args:
      points: the feature vector of each image, a row per image.
      k: the number of clusters.
      truth: the true label of each image; None if the clusters are not scored.
      seed: the seed for choosing the first centroids.
    """
    fitted = cluster.kmeans(jax.random.key(seed), points, k, num_iterations=30)
    assignments = np.asarray(fitted.assignments)
    medoids = np.asarray(cluster.medoids(points, fitted.centroids, fitted.assignments))
    scores = None if truth is None else evaluate.clustering_scores(truth, assignments)
    centroids = np.asarray(fitted.centroids)
    return Clustering(k, float(fitted.inertia), centroids, assignments, medoids, scores)


def clustering_nearest_to(clusterings: Sequence[Clustering], k: int) -> Clustering:
    """Return the clustering among `clusterings` whose number of clusters is nearest to `k`."""
    return min(clusterings, key=lambda clustering: abs(clustering.k - k))


def sample_groups(
    images: UInt8[np.ndarray, "n h w c"], truth: Int[np.ndarray, "n"] | None,
    classes: Sequence[str], seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Choose random training images to show, grouped by class if labels are given.

    Args:
      images: the training images.
      truth: the true label of each image; None to choose from all images together.
      classes: the names of the classes.
      seed: the seed of the random choice.

    Returns:
      A dictionary for each group with the keys "name", "note" and "images", which the page's
      template shows. There is one group per class, or a single group if `truth` is None.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    if truth is None:
        return [{"name": "", "note": "", "images": sections.thumbnails(images[order[:60]])}]
    groups = []
    for label, name in enumerate(classes):
        members = order[truth[order] == label]
        shown = sections.thumbnails(images[members[:MAX_PER_CLASS]])
        groups.append({"name": name, "note": f"{len(members):,} images", "images": shown})
    return groups


def scree_plot(pca: PCA) -> dict[str, Any]:
    """Draw a scree plot of a PCA: the share of the variance that each principal component explains.

    A second line shows the cumulative share. At most MAX_COMPONENTS (30) are plotted. The chart,
    its legend, and a text are returned as a dictionary for the page's template.
    """
    variances = np.asarray(pca.variances, np.float64)
    shares = variances / max(variances.sum(), 1e-12)
    total = np.cumsum(shares)
    x = list(range(1, min(MAX_COMPONENTS, len(shares)) + 1))
    series = [
        figures.Series("of this component", x, shares[: len(x)].tolist()),
        figures.Series("of all up to it", x, total[: len(x)].tolist(), dashed=True),
    ]
    enough = {p: int(np.searchsorted(total, p - 1e-9)) + 1 for p in (0.5, 0.9, 0.95, 0.99)}
    chart = figures.line_chart(series, "principal component", "Scree plot", percent=True, dots=True)
    text = ", ".join(f"{percent(p)} takes {count}" for p, count in enough.items())
    return {"chart": chart, "legend": [line.name for line in series],
            "text": f"Of {len(shares):,} components: {text}."}  # fmt: skip


def two_maps(
    points: Float[np.ndarray, "n d"], truth: Int[np.ndarray, "n"] | None, classes: Sequence[str],
    clusterings: Sequence[Clustering], seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Draw two scatter plots of random images: the first two principal components, and t-SNE.

    Args:
      points: the principal components of each image, a row per image. t-SNE uses all columns.
      truth: the true label of each image; None to colour the points by k-means cluster instead.
      classes: the names of the classes.
      clusterings: k-means clusterings of the images; one gives the colours if `truth` is None.
      seed: the seed for choosing the images.

    Returns:
      A dictionary for each plot, which the page's template shows. The list is empty if `points` has
      fewer than two columns, and t-SNE is left out if there are 10 images or fewer.
    """
    rows = np.random.default_rng(seed).permutation(len(points))
    shown = clustering_nearest_to(clusterings, len(classes) or 10)
    names = list(classes) if truth is not None else [f"cluster {i}" for i in range(shown.k)]
    values = shown.assignments if truth is None else truth
    by = "k-means cluster" if truth is None else "class"
    plane = points[rows[:MAP_POINTS]][:, :2]
    if plane.shape[1] < 2:
        return []
    tsne_rows = rows[:TSNE_POINTS]
    kinds = [("Principal components", rows[:MAP_POINTS], plane)]
    if len(tsne_rows) > 10:
        perplexity = min(30.0, len(tsne_rows) / 4)
        embedded = tsne(points[tsne_rows], perplexity=perplexity, init="pca")
        kinds.append(("t-SNE", tsne_rows, embedded))
    return [
        {"title": title, **sections.point_map(positions, values[chosen], names, title),
         "text": f"{len(chosen):,} images, coloured by {by}."}
        for title, chosen, positions in kinds
    ]  # fmt: skip


def cluster_pictures(
    clustering: Clustering, images: UInt8[np.ndarray, "n h w c"]
) -> dict[str, Any]:
    """Make two pictures of each cluster: its mean image, and its medoid (the most central image).

    At most MAX_CLUSTERS (100) are shown, the largest first. The pictures, the clusters' sizes, and
    a text are returned as a dictionary for the page's template.
    """
    assignments = clustering.assignments
    sizes = np.bincount(assignments, minlength=clustering.k)
    order = [int(i) for i in np.argsort(-sizes, kind="stable")[:MAX_CLUSTERS] if sizes[i]]
    means = [images[assignments == i].mean(axis=0).round().astype(np.uint8) for i in order]
    pairs = [
        {"mean": figures.data_uri(mean), "medoid": figures.data_uri(images[clustering.medoids[i]]),
         "size": f"{sizes[i]:,}"}
        for i, mean in zip(order, means, strict=True)
    ]  # fmt: skip
    return {"pairs": pairs, "text": f"{len(order)} of {clustering.k} k-means clusters: above, the "
            "mean of its images (the centroid); below, the image nearest to the centroid (the "
            "medoid) and the size of the cluster."}  # fmt: skip


def charts_over_k(clusterings: Sequence[Clustering]) -> list[dict[str, Any]]:
    """Draw charts of the inertia and the scores of k-means clusterings over the number of clusters.

    The clusterings differ in their number of clusters. Scores (agreement with the true classes) are
    left out if no clustering has them. A chart is a dictionary for the page's template.
    """
    x = [clustering.k for clustering in clusterings]
    lines = {"inertia": [clustering.inertia for clustering in clusterings]}
    scored = [clustering.scores for clustering in clusterings if clustering.scores is not None]
    if scored:
        lines["accuracy, each cluster named by its most frequent class"] = [
            s.purity for s in scored
        ]
        lines["homogeneity"] = [s.homogeneity for s in scored]
        lines["normalized mutual information"] = [s.normalized_mutual_information for s in scored]
        lines["adjusted Rand index"] = [s.adjusted_rand for s in scored]
    return [
        {"name": name, "last": f"{y[-1]:.4g} at k = {x[-1]}",
         "chart": figures.line_chart(
             [figures.Series(name, x, y)], "clusters", name, percent=name != "inertia",
             log_x=len(x) > 1, dots=True, size=figures.SMALL)}
        for name, y in lines.items()
    ]  # fmt: skip


def cluster_confusion(
    clustering: Clustering, truth: Int[np.ndarray, "n"], classes: Sequence[str]
) -> dict[str, Any]:
    """Make a confusion matrix in which each cluster predicts its most frequent true class.

    The matrix counts the training images, whose true labels are `truth`. It is returned as a
    dictionary for the page's template, which shows it as a table.
    """
    votes = np.zeros((clustering.k, len(classes)), int)
    np.add.at(votes, (clustering.assignments, truth), 1)
    predicted = votes.argmax(axis=1)[clustering.assignments]
    matrix = evaluate.confusion_matrix(truth, predicted, len(classes))
    return confusion_table(matrix, classes, f"training images in {clustering.k} clusters")


def render_page(dataset: Dataset, labels: bool, parts: dict[str, Any]) -> str:
    """Return the page about a data set as HTML text that needs no other file and no network.

    Args:
      dataset: the data set; the page's heading has its name and the number of its images.
      labels: True if the page shows training labels, so that it needs a warning.
      parts: the content of each section of the page, by its name in the template explore.html.j2.
    """
    height, width, channels = dataset.train_images.shape[1:]
    lead = (
        f"{len(dataset.train_images):,} training and {len(dataset.test_images):,} test images, "
        f"{width} x {height}, {'grey' if channels == 1 else 'rgb'}"
    )
    day = datetime.date.today().isoformat()
    template = FOLDER / "explore.html.j2"
    return fill_template(template, name=dataset.name, lead=lead, labels=labels, day=day, **parts)
