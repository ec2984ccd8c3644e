"""Write a page that shows a data set before any training: samples, maps, and clusters.

The sections are scree plot, PCA and t-SNE maps, k-means scores over k, and mean cluster images.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxlabel import augment, cluster, data, files
from jaxlabel.cluster.pca import PCA, fit_pca, project
from jaxlabel.data.dataset import DEFAULTS, Dataset, Options
from jaxlabel.errors import DataError
from jaxlabel.report import evaluate, figures, sections
from jaxlabel.report.run import percent

COMPONENTS = 64  # principal components on which k-means clusters
COUNTS = (4, 10, 36, 100, 144, 256)  # numbers of clusters; few, since each is a compilation
MAP_POINTS = 4000  # images on the PCA map
TSNE_POINTS = 1000  # images on the t-SNE map, which is slower
MAX_PER_CLASS = 12  # sample images per class


class Clustering(NamedTuple):
    """A k-means clustering of the training images.

    Attributes:
      k: the number of clusters.
      inertia: the sum of squared distances of the points to their centroids.
      centroids: the mean of each cluster.
      assignments: the cluster of each image.
      medoids: the index of the image nearest to each centroid.
      scores: agreement of the clusters with the labels; None without labels.
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
    """Write OUT/explore.html, a page about a data set, and return its path.

    Args:
      spec: the data set, such as "folder:DIR".
      out: the directory for the page.
      options: how the images are read.
      labels: True to show all training labels too. This is for research on known data sets, not
        for data whose labels are still to be bought; the page says so.
      seed: the seed of the samples, the maps and k-means.

    Raises:
      DataError: the images cannot be read, or labels are asked for and the data set has none.
    """
    dataset = data.load(spec, options)
    images = dataset.train_images
    if labels and not data.has_labels(spec, options):
        raise DataError(f"{spec} brings no labels: explore it without --labels")
    truth = data.load_train_labels(spec, options) if labels else None
    classes = dataset.classes or (() if truth is None else data.label_names(spec, options))
    pixels = augment.as_float(jnp.asarray(images)).reshape(len(images), -1)
    pca = fit_pca(pixels, min(COMPONENTS, pixels.shape[1]))
    points = project(pca, pixels)
    counts = [k for k in COUNTS if k <= len(images) // 2] or [1]
    clusterings = [clustering(points, k, truth, seed) for k in counts]
    parts = {
        "samples": samples(images, truth, classes, seed),
        "scree": scree(pca),
        "maps": maps(np.asarray(points), truth, classes, clusterings, seed),
        "clusters": cluster_pictures(nearest(clusterings, len(classes) or 10), images),
        "curves": curves(clusterings),
        "confusion": (
            None if truth is None else confusion(nearest(clusterings, 144), truth, classes)
        ),
    }
    path = out / "explore.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, render(dataset, labels, parts))
    return path


def clustering(points: Any, k: int, truth: Int[np.ndarray, "n"] | None, seed: int) -> Clustering:
    """Cluster the points by k-means, and score the clusters if labels are given.

    Args:
      points: a row per image.
      k: the number of clusters.
      truth: the label of each image, or None.
      seed: the seed of the first centroids.
    """
    fitted = cluster.kmeans(jax.random.key(seed), points, k, num_iterations=30)
    assignments = np.asarray(fitted.assignments)
    medoids = np.asarray(cluster.medoids(points, fitted.centroids, fitted.assignments))
    scores = None if truth is None else evaluate.clustering_scores(truth, assignments)
    centroids = np.asarray(fitted.centroids)
    return Clustering(k, float(fitted.inertia), centroids, assignments, medoids, scores)


def nearest(clusterings: Sequence[Clustering], k: int) -> Clustering:
    """Return the clustering whose number of clusters is nearest to k."""
    return min(clusterings, key=lambda clustering: abs(clustering.k - k))


def samples(
    images: UInt8[np.ndarray, "n h w c"], truth: Int[np.ndarray, "n"] | None,
    classes: Sequence[str], seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return groups of random images: a group per class, or one group without labels.

    Args:
      images: the training images.
      truth: the label of each image, or None.
      classes: the names of the classes.
      seed: the seed of the choice.
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


def scree(pca: PCA, max_components: int = 30) -> dict[str, Any]:
    """Return a chart of the share of variance per principal component, and the cumulative share."""
    variances = np.asarray(pca.variances, np.float64)
    shares = variances / max(variances.sum(), 1e-12)
    total = np.cumsum(shares)
    x = list(range(1, min(max_components, len(shares)) + 1))
    series = [
        figures.Series("of this component", x, shares[: len(x)].tolist()),
        figures.Series("of all up to it", x, total[: len(x)].tolist(), dashed=True),
    ]
    enough = {p: int(np.searchsorted(total, p - 1e-9)) + 1 for p in (0.5, 0.9, 0.95, 0.99)}
    chart = figures.line_chart(series, "principal component", "Scree plot", percent=True, dots=True)
    text = ", ".join(f"{percent(p)} takes {count}" for p, count in enough.items())
    return {"chart": chart, "legend": [line.name for line in series],
            "text": f"Of {len(shares):,} components: {text}."}  # fmt: skip


def maps(
    points: Float[np.ndarray, "n d"], truth: Int[np.ndarray, "n"] | None, classes: Sequence[str],
    clusterings: Sequence[Clustering], seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return two maps of random images: the first two principal components, and t-SNE.

    The points are coloured by class, or by k-means cluster without labels. Fewer than two
    components give no map, and 10 images or fewer no t-SNE map.
    """
    rows = np.random.default_rng(seed).permutation(len(points))
    shown = nearest(clusterings, len(classes) or 10)
    names = list(classes) if truth is not None else [f"cluster {i}" for i in range(shown.k)]
    values = shown.assignments if truth is None else truth
    by = "k-means cluster" if truth is None else "class"
    plane = points[rows[:MAP_POINTS]][:, :2]
    if plane.shape[1] < 2:
        return []
    tsne_rows = rows[:TSNE_POINTS]
    kinds = [("Principal components", rows[:MAP_POINTS], plane)]
    if len(tsne_rows) > 10:
        kinds.append(("t-SNE", tsne_rows, tsne(points[tsne_rows])))
    return [
        {"title": title, **sections.point_map(positions, values[chosen], names, title),
         "text": f"{len(chosen):,} images, coloured by {by}."}
        for title, chosen, positions in kinds
    ]  # fmt: skip


def tsne(points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m 2"]:
    """Return a t-SNE embedding in two dimensions (van der Maaten & Hinton 2008)."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    model = TSNE(perplexity=min(30.0, len(points) / 4), init="pca", random_state=0)
    with threadpool_limits(1):  # a second thread takes more time than it saves
        embedded: np.ndarray = model.fit_transform(points)
    return embedded


def cluster_pictures(
    clustering: Clustering, images: UInt8[np.ndarray, "n h w c"], max_clusters: int = 100
) -> dict[str, Any]:
    """Return the mean image and the medoid image of each cluster, the largest clusters first."""
    assignments = clustering.assignments
    sizes = np.bincount(assignments, minlength=clustering.k)
    order = [int(i) for i in np.argsort(-sizes, kind="stable")[:max_clusters] if sizes[i]]
    means = [images[assignments == i].mean(axis=0).round().astype(np.uint8) for i in order]
    pairs = [
        {"mean": figures.data_uri(mean), "medoid": figures.data_uri(images[clustering.medoids[i]]),
         "size": f"{sizes[i]:,}"}
        for i, mean in zip(order, means, strict=True)
    ]  # fmt: skip
    return {"pairs": pairs, "text": f"{len(order)} of {clustering.k} k-means clusters: above, the "
            "mean of its images (the centroid); below, the image nearest to the centroid (the "
            "medoid) and the size of the cluster."}  # fmt: skip


def curves(clusterings: Sequence[Clustering]) -> list[dict[str, Any]]:
    """Return charts over the number of clusters: inertia, and scores if there are labels."""
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


def confusion(
    clustering: Clustering, truth: Int[np.ndarray, "n"], classes: Sequence[str]
) -> dict[str, Any]:
    """Return the confusion matrix of clusters that are named by their most frequent class."""
    votes = np.zeros((clustering.k, len(classes)), int)
    np.add.at(votes, (clustering.assignments, truth), 1)
    predicted = votes.argmax(axis=1)[clustering.assignments]
    matrix = evaluate.confusion_matrix(truth, predicted, len(classes))
    return sections.confusion_table(matrix, classes, f"training images in {clustering.k} clusters")


def render(dataset: Dataset, labels: bool, parts: dict[str, Any]) -> str:
    """Return the page as HTML that needs no other file and no network.

    Args:
      dataset: the images, for the headline.
      labels: True if the page shows training labels.
      parts: the sections by their names in the template explore.html.j2.
    """
    import jinja2

    folder = Path(sections.__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    height, width, channels = dataset.train_images.shape[1:]
    lead = (
        f"{len(dataset.train_images):,} training and {len(dataset.test_images):,} test images, "
        f"{width} x {height}, {'grey' if channels == 1 else 'rgb'}"
    )
    day = datetime.date.today().isoformat()
    return environment.get_template("explore.html.j2").render(
        name=dataset.name, lead=lead, labels=labels, day=day, **parts
    )
