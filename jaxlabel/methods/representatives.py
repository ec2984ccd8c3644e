"""The representatives recipe: label random images or the central image of each cluster.

k-means finds as many clusters as the budget buys labels. The image nearest to each centroid
represents its cluster and is queried. Its label can be given to the whole cluster, or to the share
of it nearest to the centroid. The classifier is logistic regression, or a fully connected network
with seven layers; an ensemble of these networks, trained on deformed images, is the most accurate.
A budget that covers all images is the baseline with all the labels.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, cluster, losses, nets, query, train
from jaxlabel.cache import cached
from jaxlabel.cluster.pca import fit_pca, project
from jaxlabel.config import RunConfig, setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.methods.cluster_labels import rank_in_cluster
from jaxlabel.nets import linear
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor

SEVEN_LAYERS = (256, 256, 128, 128, 64, 64)  # hidden layers; the seventh layer gives the logits


@dataclasses.dataclass
class Config(RunConfig):
    """Settings of classical few-label methods: k-means, logistic regression, dense networks."""

    select: str = setting(
        "representatives", "which images are labelled", choices=("random", "representatives")
    )
    space: str = setting("pca", "features that k-means clusters", choices=("pixels", "pca"))
    components: int = setting(64, "space=pca: number of principal components", low=1)
    propagate: float = setting(
        0.0, "share of each cluster, nearest to the centroid first, that takes the label of its "
        "representative; 0: the representative alone, 1: the whole cluster", low=0.0, high=1.0,
    )  # fmt: skip
    features: str = setting(
        "pixels", "input of the classifier: pixels, or distances to k-means centres",
        choices=("pixels", "distances"),
    )  # fmt: skip
    centres: int = setting(100, "features=distances: number of k-means centres", low=1)
    classifier: str = setting(
        "logistic", "classifier to train: logistic regression or a dense network",
        choices=("logistic", "dense"),
    )  # fmt: skip
    strength: float = setting(0.2, "logistic: inverse weight of the L2 penalty", low=1e-9)
    max_iterations: int = setting(100, "logistic: largest number of solver iterations", low=1)
    steps: int = setting(2000, "dense: training steps", low=1)
    batch_size: int = setting(128, "dense: images in a mini-batch", low=1)
    learning_rate: float = setting(1e-3, "dense: peak learning rate", low=0.0)
    weight_decay: float = setting(0.05, "dense: weight decay of AdamW", low=0.0)
    augment: bool = setting(
        False, "dense: deform the images, and mirror them if their kind allows it"
    )
    members: int = setting(1, "dense: number of networks whose probabilities are averaged", low=1)


class Clusters(NamedTuple):
    """A k-means clustering of the training images.

    Attributes:
      representatives: for each non-empty cluster, the index of the image nearest to the centroid;
        the largest cluster comes first.
      assignments: the cluster of each image.
      rank: the rank of each image by distance from the centroid, among the images of its cluster.
        The nearest image has rank 0 and the farthest has rank 1.
    """

    representatives: Int[np.ndarray, "k"]
    assignments: Int[np.ndarray, "n"]
    rank: Float[np.ndarray, "n"]


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """Buy labels of random images or of cluster centres, train a classifier on them, and return it.

    Depending on the setting `propagate`, the classifier is also trained on unlabelled images, each
    with the label of the labelled image that represents its cluster.

    Raises:
      UsageError: the budget buys no label, or the settings contradict each other.
    """
    if config.features == "distances" and config.classifier != "logistic":
        raise UsageError("config.features=distances needs config.classifier=logistic")
    if config.features == "distances" and config.centres > len(images):
        raise UsageError(f"config.centres is {config.centres}, but there are only {len(images)} "
                         "images: set it to at most this number")  # fmt: skip
    choose_key, centre_key, fit_key = jax.random.split(key, 3)
    count = query.num_labels_in_budget(oracle, len(images))
    clusters = None
    num_distinct = len(np.unique(oracle.first_copies(np.arange(len(images)))))
    if config.select == "random" or count == num_distinct:
        wanted = np.asarray(jax.random.permutation(choose_key, len(images)))
    else:
        clusters = find_clusters(config, images, count, choose_key, log)
        wanted = clusters.representatives
    wanted = query.chosen_first(oracle, log, 0, wanted, len(images))
    asked, answers = query.buy(oracle, query.NO_LABELS, wanted, 0)
    indices, labels, everywhere = assign_labels(config, clusters, asked, answers, len(images))
    log.scalars("training_set", 0, {"labels_spent": len(asked), "images": len(indices)})
    chosen = images[indices]
    model: Any
    if config.classifier == "logistic":
        model = fit_linear(config, images, chosen, labels, oracle.num_classes, centre_key, log)
    else:
        model = fit_dense(config, chosen, labels, oracle.num_classes, fit_key, log)
    return Predictor(model, everywhere, None, "budget", {"training_images": len(indices)})


def find_clusters(
    config: Config, images: UInt8[np.ndarray, "n h w c"], count: int, key: Key[Array, ""], log: Log
) -> Clusters:
    """Divide the images into `count` clusters by k-means and return the clustering."""

    def compute() -> dict[str, Any]:
        points = clustering_features(config.space, config.components, images)
        result = cluster.kmeans(key, points, count, num_iterations=30)
        distances = cluster.distances(points, result.centroids, result.assignments)
        medoids = cluster.medoids(points, result.centroids, result.assignments)
        return {"assignments": result.assignments, "away": distances, "nearest": medoids,
                "sizes": result.sizes}  # fmt: skip

    log.progress("clusters", 0, 1, f"k-means with {count}")
    parts = ["representatives", config.space, config.components, count, key, images]
    found = cached("kmeans", parts, compute)
    log.progress("clusters", 1, 1)
    assignments, sizes = found["assignments"], found["sizes"]
    rank = rank_in_cluster(found["away"], assignments, sizes)
    largest = np.argsort(-sizes, kind="stable")
    return Clusters(found["nearest"][largest[sizes[largest] > 0]], assignments, rank)


def clustering_features(
    space: str, components: int, images: UInt8[np.ndarray, "n h w c"]
) -> Float[Array, "n d"]:
    """Return the features that k-means clusters: pixels in [0, 1], or their principal components.

    Args:
      space: "pixels" or "pca" (principal components).
      components: the number of principal components.
      images: the images.
    """
    pixels = augment.pixel_vectors(images)
    if space == "pixels":
        return pixels
    pca = fit_pca(pixels, min(components, pixels.shape[1]))
    return project(pca, pixels)


def assign_labels(
    config: Config, clusters: Clusters | None, asked: Int[np.ndarray, "m"],
    answers: Int[np.ndarray, "m"], num_images: int,
) -> tuple[Int[np.ndarray, "t"], Int[np.ndarray, "t"], Int[np.ndarray, "n"] | None]:  # fmt: skip
    """Give unlabelled images the label of the labelled image that represents their cluster.

    Only the images nearest to the centroid join the training set; the setting `propagate` is their
    share of each cluster.

    Args:
      clusters: the clustering; None if the images to label were chosen at random.
      asked: the indices of the labelled images.
      answers: the labels of these images.
      num_images: the number of training images.

    Returns:
      Three arrays: the indices of the images to train on, the labels of these images, and a label
      for every training image. The third is None instead if some image has no label.
    """
    if clusters is None:
        everywhere = np.zeros(num_images, np.int32)
        everywhere[asked] = answers
        return asked, answers, everywhere if len(asked) == num_images else None
    of_cluster = np.full(clusters.assignments.max() + 1, -1)
    of_cluster[clusters.assignments[asked]] = answers
    labels = of_cluster[clusters.assignments]
    labels[asked] = answers
    near = (clusters.rank <= config.propagate) & (config.propagate > 0) & (labels >= 0)
    near[asked] = True
    return np.flatnonzero(near), labels[near], labels if labels.min() >= 0 else None


def fit_linear(
    config: Config, images: UInt8[np.ndarray, "n h w c"], chosen: UInt8[np.ndarray, "t h w c"],
    labels: Int[np.ndarray, "t"], num_classes: int, key: Key[Array, ""], log: Log,
) -> linear.LinearClassifier:  # fmt: skip
    """Fit logistic regression to labelled images and return the classifier.

    With `features=distances`, its inputs are the distances of an image to k-means centres, which
    are computed from all training images.

    Args:
      images: all training images.
      chosen: the labelled images, to train on.
      labels: the labels of these images.
    """
    model = make_classifier(config, images.shape[1:], num_classes)(None)
    if config.features == "distances":
        pixels = augment.pixel_vectors(images)
        parts = ["centres", config.centres, key, images]

        def compute() -> dict[str, Any]:
            result = cluster.kmeans(key, pixels, config.centres, num_iterations=30)
            return {"centroids": result.centroids}

        model.centres[...] = jnp.asarray(cached("kmeans", parts, compute)["centroids"])
    inputs = train.apply_batched(train.features_of, model, chosen)
    mean = inputs.mean(axis=0)
    log.progress("logistic", 0, 1, f"{len(chosen)} images")
    weights, biases = linear.fit_logistic(
        inputs - mean, labels, num_classes, strength=config.strength,
        max_iterations=config.max_iterations, whiten=config.features == "distances",
    )  # fmt: skip
    log.progress("logistic", 1, 1)
    model.mean[...] = jnp.asarray(mean)
    model.weights[...], model.biases[...] = jnp.asarray(weights), jnp.asarray(biases)
    return model


def fit_dense(
    config: Config, images: UInt8[np.ndarray, "t h w c"], labels: Int[np.ndarray, "t"],
    num_classes: int, key: Key[Array, ""], log: Log,
) -> linear.Ensemble:  # fmt: skip
    """Train fully connected networks from different random weights; return their ensemble."""
    deform = augment.weak(config.kind)

    def loss(model: Any, batch: tuple[Array, Array], key: Key[Array, ""]) -> Any:
        inputs = augment.as_float(batch[0])
        logits = model(deform(key, inputs) if config.augment else inputs)
        wrong = jnp.argmax(logits, axis=-1) != batch[1]
        return jnp.mean(losses.cross_entropy(logits, batch[1])), {"error": jnp.mean(wrong)}

    def member(number: int) -> Any:
        init_key, batch_key = jax.random.split(jax.random.fold_in(key, number))
        make = make_member(images.shape[1:], num_classes)
        return train.fit(
            loss, train.init(make, init_key), (images, labels), batch_key, log,
            name=f"classifier_{number}" if number else "classifier", num_steps=config.steps,
            batch_size=config.batch_size,
            optimizer=train.warmup_cosine(
                config.learning_rate, config.steps, weight_decay=config.weight_decay
            ),
        )  # fmt: skip

    members = [member(number) for number in range(config.members)]
    return linear.Ensemble(members, config.augment and augment.keeps_class_mirrored(config.kind))


def make_member(shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained seven-layer network from an `nnx.Rngs`."""
    return lambda rngs: nets.DenseClassifier(shape, num_classes, rngs, hidden=SEVEN_LAYERS)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained classifier from an `nnx.Rngs`.

    To load a saved model, the caller builds a network with this function and then overwrites its
    weights with the saved ones.
    """
    if config.classifier == "logistic":
        centres = config.centres if config.features == "distances" else 0
        return lambda rngs: linear.LinearClassifier(shape, num_classes, centres)
    make = make_member(shape, num_classes)
    mirror = config.augment and augment.keeps_class_mirrored(config.kind)
    return lambda rngs: linear.Ensemble([make(rngs) for _ in range(config.members)], mirror)
