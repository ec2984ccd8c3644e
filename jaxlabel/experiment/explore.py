"""What a data set looks like before anything is learned: S2's pictures, on one page."""

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

COMPONENTS = 64  # of the space in which k-means clusters
COUNTS = (4, 10, 36, 100, 144, 256)  # each is a compilation
MAP_POINTS = 4000
CURVED_POINTS = 1000
MOST_PER_CLASS = 12


class Clustering(NamedTuple):
    """k-means with k clusters, and its scores where labels were to be looked at."""

    k: int
    inertia: float
    centroids: Float[np.ndarray, "k d"]
    assignments: Int[np.ndarray, "n"]
    medoids: Int[np.ndarray, "k"]
    scores: evaluate.ClusterScores | None


def explore(
    spec: str, out: Path, options: Options = DEFAULTS, *, labels: bool = False, seed: int = 0
) -> Path:
    """The path of the page, OUT/explore.html.

    Args:
      labels: also look at the training labels, all of them: for research on a data set that is
        known, not before labels are to be bought; the page says so.

    Raises:
      DataError: the images cannot be read, or labels are wanted and there are none.
    """
    dataset = data.load(spec, options)
    images = dataset.train_images
    if labels and not data.has_labels(spec, options):
        raise DataError(f"{spec} brings no labels: explore it without --labels")
    truth = data.load_train_labels(spec, options) if labels else None
    classes = dataset.classes or tuple(map(str, range(0 if truth is None else truth.max() + 1)))
    pixels = augment.as_float(jnp.asarray(images)).reshape(len(images), -1)
    pca = fit_pca(pixels, min(COMPONENTS, pixels.shape[1]))
    points = project(pca, pixels)
    counts = [k for k in COUNTS if k <= len(images) // 2] or [1]
    found = [clustering(points, k, truth, seed) for k in counts]
    parts = {
        "samples": samples(images, truth, classes, seed),
        "scree": scree(pca),
        "maps": maps(np.asarray(points), truth, classes, found, seed),
        "clusters": cluster_pictures(near(found, len(classes) or 10), images),
        "curves": curves(found),
        "confusion": None if truth is None else confusion(near(found, 144), truth, classes),
    }
    path = out / "explore.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, render(dataset, labels, parts))
    return path


def clustering(points: Any, k: int, truth: Int[np.ndarray, "n"] | None, seed: int) -> Clustering:
    """k-means with k clusters of the points."""
    found = cluster.kmeans(jax.random.key(seed), points, k, num_iterations=30)
    assignments = np.asarray(found.assignments)
    medoids = np.asarray(cluster.medoids(points, found.centroids, found.assignments))
    scores = None if truth is None else evaluate.clustering_scores(truth, assignments)
    centroids = np.asarray(found.centroids)
    return Clustering(k, float(found.inertia), centroids, assignments, medoids, scores)


def near(found: Sequence[Clustering], k: int) -> Clustering:
    """The clustering with about k clusters."""
    return min(found, key=lambda clustering: abs(clustering.k - k))


def samples(
    images: UInt8[np.ndarray, "n h w c"], truth: Int[np.ndarray, "n"] | None,
    classes: Sequence[str], seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Random images, by class where labels are looked at."""
    order = np.random.default_rng(seed).permutation(len(images))
    if truth is None:
        return [{"name": "", "note": "", "images": sections.thumbnails(images[order[:60]])}]
    groups = []
    for label, name in enumerate(classes):
        members = order[truth[order] == label]
        shown = sections.thumbnails(images[members[:MOST_PER_CLASS]])
        groups.append({"name": name, "note": f"{len(members):,} images", "images": shown})
    return groups


def scree(pca: PCA, most: int = 30) -> dict[str, Any]:
    """How much of the variance each principal component has, and all up to it."""
    variances = np.asarray(pca.variances, np.float64)
    shares = variances / max(variances.sum(), 1e-12)
    total = np.cumsum(shares)
    x = list(range(1, min(most, len(shares)) + 1))
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
    found: Sequence[Clustering], seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """The images in two dimensions: by principal components, and by t-SNE of some of them."""
    rows = np.random.default_rng(seed).permutation(len(points))
    few = near(found, len(classes) or 10)
    names = list(classes) if truth is not None else [f"cluster {i}" for i in range(few.k)]
    values = few.assignments if truth is None else truth
    by = "k-means cluster" if truth is None else "class"
    plane = points[rows[:MAP_POINTS]][:, :2]
    if plane.shape[1] < 2:
        return []
    some = rows[:CURVED_POINTS]
    kinds = [("Principal components", rows[:MAP_POINTS], plane)]
    if len(some) > 10:
        kinds.append(("t-SNE", some, unfolded(points[some])))
    return [
        {"title": title, **sections.point_map(where, values[chosen], names, title),
         "text": f"{len(chosen):,} images, coloured by {by}."}
        for title, chosen, where in kinds
    ]  # fmt: skip


def unfolded(points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m 2"]:
    """Two dimensions in which neighbours stay neighbours (van der Maaten & Hinton 2008)."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    model = TSNE(perplexity=min(30.0, len(points) / 4), init="pca", random_state=0)
    with threadpool_limits(1):  # a second thread takes more time than it saves
        found: np.ndarray = model.fit_transform(points)
    return found


def cluster_pictures(
    found: Clustering, images: UInt8[np.ndarray, "n h w c"], most: int = 100
) -> dict[str, Any]:
    """The mean image and the medoid of each cluster, the largest clusters first."""
    sizes = np.bincount(found.assignments, minlength=found.k)
    order = [int(i) for i in np.argsort(-sizes, kind="stable")[:most] if sizes[i]]
    means = [images[found.assignments == i].mean(axis=0).round().astype(np.uint8) for i in order]
    pairs = [
        {"mean": figures.data_uri(mean), "medoid": figures.data_uri(images[found.medoids[i]]),
         "size": f"{sizes[i]:,}"}
        for i, mean in zip(order, means, strict=True)
    ]  # fmt: skip
    return {"pairs": pairs, "text": f"{len(order)} of {found.k} k-means clusters: above, the mean "
            "of its images (the centroid); below, the image nearest to it (the medoid) and how "
            "many images it stands for."}  # fmt: skip


def curves(found: Sequence[Clustering]) -> list[dict[str, Any]]:
    """Inertia over k, and what the labels say of the clusters where they are looked at."""
    x = [one.k for one in found]
    lines = {"inertia": [one.inertia for one in found]}
    scored = [one.scores for one in found if one.scores is not None]
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
    found: Clustering, truth: Int[np.ndarray, "n"], classes: Sequence[str]
) -> dict[str, Any]:
    """What is taken for what when each cluster is named by its most frequent class."""
    votes = np.zeros((found.k, len(classes)), int)
    np.add.at(votes, (found.assignments, truth), 1)
    named = votes.argmax(axis=1)[found.assignments]
    matrix = evaluate.confusion_matrix(truth, named, len(classes))
    return sections.confusion_table(matrix, classes, f"training images in {found.k} clusters")


def render(dataset: Dataset, labels: bool, parts: dict[str, Any]) -> str:
    """The page; it opens offline."""
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
