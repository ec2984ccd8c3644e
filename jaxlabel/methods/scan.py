"""The SCAN recipe: cluster images without labels, then name the clusters with a few labels.

The steps are those of Van Gansbeke et al. 2020:

1. Train a contrastive encoder (methods/simclr.py).
2. Find each image's nearest neighbours in the encoder's features.
3. Train several clustering heads. Each puts an image and its neighbours into the same cluster and
   keeps the cluster sizes close to a prior; the head with the lowest loss is kept. With
   `start=graph` a head starts from k-means in the leading eigenvectors of the neighbour graph, so
   that it need not find again the structure that the graph has already.
4. Self-labelling: a network learns, on strong views, the clusters of the confident images. The
   result is rejected if measures that need no labels (jaxlabel/scan/guard.py) got worse.

With a budget, labels are bought next: those of the clusters' medoids, then labels where label
propagation over a graph of SCAN's features is uncertain. SCAN's network is then trained on the
labels and on the propagated labels (methods/scan_labels.py). Without a budget no label is bought,
and the run returns clusters.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import augment, cluster, pretext, query, scan, train
from jaxlabel.config import MapConfig, setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.methods import simclr
from jaxlabel.methods.scan_labels import learn_from_labels, training_settings
from jaxlabel.methods.scan_setup import (
    count_clusters,
    count_clusters_once,
    make_assigner,
)
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor, predict_probabilities
from jaxlabel.semisupervised import setup


@dataclasses.dataclass
class Config(simclr.Config, MapConfig):
    """The settings of SCAN clustering and of its encoder's training; see configs/scan.py."""

    clusters: int = setting(
        0, "number of clusters; 0: as many as the label store has classes", low=0
    )
    neighbours: int = setting(
        20, "nearest neighbours of each image that share its cluster in the loss", low=1
    )
    graph_neighbours: int = setting(10, "neighbours of each image in the graph", low=2)
    # Rows of eigenvectors are scaled to length 1, so a single one would make all images alike.
    graph_components: int = setting(20, "number of the graph's leading eigenvectors", low=2)
    start: str = setting(
        "graph", "start of the heads: k-means clusters of the graph, or random weights",
        choices=("graph", "random"),
    )  # fmt: skip
    start_steps: int = setting(300, "start=graph: training steps to learn that start", low=1)
    heads: int = setting(4, "number of clustering heads; the one with the lowest loss wins", low=1)
    cluster_steps: int = setting(1000, "training steps of the heads", low=1)
    cluster_batch: int = setting(
        256, "images in a mini-batch of the heads' training, each with a neighbour", low=2
    )
    cluster_rate: float = setting(5e-4, "peak learning rate of the heads' training", low=0.0)
    entropy_weight: float = setting(
        5.0, "weight of the divergence of the cluster sizes from the prior", low=0.0
    )
    prior: str = setting(
        "", "expected shares of the clusters, such as 0.5,0.3,0.2; empty: all equal"
    )
    threshold: float = setting(
        0.95, "probability from which an image counts as confident", low=0.0, high=1.0
    )
    self_steps: int = setting(1000, "training steps of self-labelling; 0: none", low=0)
    self_rounds: int = setting(2, "rounds of self-labelling, each with new labels", low=1)
    self_batch: int = setting(128, "images in a mini-batch of self-labelling", low=1)
    self_rate: float = setting(
        2e-3, "peak learning rate of self-labelling and of the classifier", low=0.0
    )
    name_steps: int = setting(
        1000, "with a budget: training steps of the classifier, and of each refinement of it",
        low=10,
    )  # fmt: skip
    refinements: int = setting(
        0, "with a budget: number of refinements of the classifier; each propagates the labels "
        "over a graph of its features and trains it on the result", low=0,
    )  # fmt: skip

    def check(self) -> None:
        """Raise a UsageError if the settings are not valid or contradict each other."""
        shares = self.shares()
        if shares is not None and not (np.all(shares > 0) and abs(sum(shares) - 1) <= 1e-3):
            raise UsageError(f"config.prior is {self.prior!r}: give shares above 0 that sum to 1")
        if shares is not None and self.clusters not in (0, len(shares)):
            raise UsageError(f"config.prior has {len(shares)} shares, but there are "
                             f"{self.clusters} clusters: give one share per cluster")  # fmt: skip

    def shares(self) -> Float[np.ndarray, "clusters"] | None:
        """Return the expected share of each cluster, parsed from the setting `prior`.

        For example, `prior="0.5,0.3,0.2"` gives an array of three shares. If `prior` is empty, None
        is returned, which stands for clusters of equal size.

        Raises:
          UsageError: `prior` is not a list of numbers.
        """
        try:
            return np.array([float(s) for s in self.prior.split(",")]) if self.prior else None
        except ValueError as error:
            raise UsageError(
                f"config.prior is {self.prior!r}: give numbers separated by commas"
            ) from error


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """Cluster the images by SCAN; with a budget, also buy labels and train a classifier.

    Returns:
      With a budget, the classifier; without one, a model that predicts clusters.

    Raises:
      UsageError: the number of clusters is invalid, or the budget is positive but buys no label.
    """
    _, cluster_key, self_key, name_key = jax.random.split(key, 4)
    num_clusters = count_clusters_once(config, oracle.num_classes, len(images), log)
    if config.budget > 0:
        query.num_labels_in_budget(oracle, len(images))  # raises an error if it buys no label
    encoder = simclr.pretrain(config, images, pretext_key(key), log, pretext_key)
    mined = mine(config, encoder, images, log)
    model, summary = find_clusters(config, encoder, images, mined, num_clusters, cluster_key, log)
    model, shares, refused = self_label(config, model, images, mined, self_key, log)
    summary |= {"self_labelling": refused or ("done" if config.self_steps else "none")}
    guard = scan.measure(shares, mined.neighbours, config.threshold, config.shares())
    warnings = scan.advice(guard)
    clusters = shares.argmax(axis=1)
    summary |= guard.scalars() | {"clusters": num_clusters, "warnings": warnings}
    for warning in warnings:
        log.say(f"warning: {warning}")
    if config.budget <= 0:
        scan.show(images, shares, guard, np.full(num_clusters, -1), warnings, log)
        return Predictor(model, None, mined.space.points, "nothing to ask", summary,
                         gives="clusters", clusters=clusters)  # fmt: skip
    trained = learn_from_labels(config, model, images, mined, clusters, oracle, name_key, log)
    names = scan.majority(clusters, trained.labels, num_clusters)
    scan.show(images, shares, guard, names, warnings, log)
    points = mined.space.points
    scan.log_labelled(images, points, trained.labelled, log)
    return Predictor(trained.model, trained.labels, points, "budget", summary, clusters=clusters)


def pretext_key(key: Key[Array, ""]) -> Key[Array, ""]:
    """Return the random key for training the encoder, derived from the random key of the run."""
    return jax.random.split(key, 4)[0]


def mine(
    config: Config, encoder: Any, images: UInt8[np.ndarray, "n h w c"], log: Log
) -> scan.Mined:
    """Find each image's nearest neighbours in the features of `encoder` (SCAN calls this mining).

    The result also has the features of the images and the leading eigenvectors of their graph.
    """
    features = pretext.features_of(simclr.fit_representation(config, encoder, images), images)
    graph_neighbours, components = config.graph_neighbours, config.graph_components
    first = cluster.first_copies(images)
    return scan.mine(features, config.neighbours, graph_neighbours, components, log, first)


def find_clusters(
    config: Config, encoder: Any, images: UInt8[np.ndarray, "n h w c"], mined: scan.Mined,
    num_clusters: int, key: Key[Array, ""], log: Log,
) -> tuple[scan.Assigner, dict[str, Any]]:  # fmt: skip
    """Train several clustering heads on the encoder and return the model with the best head.

    A clustering head is a layer that maps features to cluster probabilities. The best head is the
    one with the lowest loss.

    Returns:
      The encoder with the best head, and a dict with the index and the loss of this head, which
      becomes part of the run's summary.
    """
    init_key, start_key, teach_key, fit_key = jax.random.split(key, 4)
    model = train.init(lambda rngs: scan.Heads(encoder, config.heads, num_clusters, rngs), init_key)
    view = augment.contrastive(config.kind)
    sizes: dict[str, Any] = {
        "batch_size": config.cluster_batch,
        "learning_rate": config.cluster_rate,
    }
    if config.start == "graph":
        points = jnp.asarray(mined.space.points)
        starts = [
            scan.match_to_prior(
                np.asarray(cluster.kmeans(each, points, num_clusters, num_init=3).assignments),
                config.shares(),
            )
            for each in jax.random.split(start_key, config.heads)
        ]
        model = scan.pretrain_heads(
            model, images, np.stack(starts, axis=1), view, teach_key, log,
            num_steps=config.start_steps, **sizes,
        )  # fmt: skip
    regularisation: dict[str, Any] = {
        "entropy_weight": config.entropy_weight,
        "prior": config.shares(),
    }
    model = scan.fit_heads(
        model, images, mined.neighbours, view, fit_key, log, num_steps=config.cluster_steps,
        **regularisation, **sizes,
    )  # fmt: skip
    best, losses = scan.best_head(model, images, mined.neighbours, **regularisation)
    log.scalars("heads", 0, {f"loss_{number}": float(loss) for number, loss in enumerate(losses)})
    return model.only(best), {"head": best, "head_loss": float(losses[best])}


def self_label(
    config: Config, model: scan.Assigner, images: UInt8[np.ndarray, "n h w c"], mined: scan.Mined,
    key: Key[Array, ""], log: Log,
) -> tuple[scan.Assigner, Float[np.ndarray, "n k"], str]:  # fmt: skip
    """Train a network on the confident cluster predictions of `model` (self-labelling).

    If measures that need no labels show that the clusters got worse, the trained network is
    discarded, and `model` is returned.

    Args:
      model: the trained encoder with the best clustering head.

    Returns:
      The returned model, the cluster probabilities of all images (those of `model` if the network
      was discarded), and why it was discarded (an empty string if it was not).
    """
    learn_key = jax.random.split(key, 4)[1]  # one of four, so that results stay as published
    shares = predict_probabilities(model, images)
    before = scan.measure(shares, mined.neighbours, config.threshold, config.shares())
    log.scalars("guard", 0, before.scalars())
    if not config.self_steps:
        return model, shares, ""
    sizes: dict[str, Any] = {"num_steps": config.self_steps, "batch_size": config.self_batch,
                             "learning_rate": config.self_rate}  # fmt: skip
    refused = "no image is confident: there is nothing to learn from"
    if before.confident > 0:
        learned = scan.train_on_own_assignments(
            model, shares, images, config.kind, learn_key, log, threshold=config.threshold,
            num_rounds=config.self_rounds, **sizes,
        )  # fmt: skip
        learned_shares = predict_probabilities(learned, images)
        after = scan.measure(learned_shares, mined.neighbours, config.threshold, config.shares())
        log.scalars("guard", 1, after.scalars())
        refused = scan.reason_worse(before, after)
        if not refused:
            return learned, learned_shares, ""
    log.say(f"self-labelling is rejected: {refused}; the clusters stay as they were")
    return model, shares, f"refused: {refused}"


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds the untrained network of a run from an `nnx.Rngs`.

    A saved model is loaded by building a network and replacing its weights. The network has one
    output per class, or in a run without a budget one per cluster.
    """
    if config.budget > 0:
        return lambda rngs: setup.average_mirrored(
            training_settings(config), make_assigner(config, shape, num_classes, rngs)
        )
    num_clusters = count_clusters(config, num_classes)
    return lambda rngs: make_assigner(config, shape, num_clusters, rngs)
