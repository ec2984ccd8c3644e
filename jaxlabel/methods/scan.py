"""SCAN: clusters without labels, and names for them from as few labels as there are clusters.

Van Gansbeke et al. 2020, in its steps: a contrastive encoder (methods/simclr.py); each image's
nearest neighbours in its features; heads that put an image and its neighbours into one cluster
while clusters stay as large as the prior has them, the best head being the one of the lowest loss;
and self-labelling, where confident images teach a network that sees strong views. Self-labelling
is refused where its own measures (jaxlabel/scan/guard.py), which need no label, say that it makes
things worse. With `start=graph` a head starts from k-means in the leading eigenvectors of the
neighbour graph: the encoder alone would have to find what the graph already knows.

With a budget the clusters are named: the medoid of each is asked, then those of the halves of the
clusters that are widest, and what that says of every image, smoothed by its neighbours, is
learned by a classifier. Without one nothing is asked, and the run gives clusters.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, cluster, nets, pretext, query, scan, train
from jaxlabel.config import setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.methods import simclr
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor, predict_probabilities


@dataclasses.dataclass
class Config(simclr.Config):
    """Settings of SCAN, the pretext's among them; configs/scan.py has several sets of them."""

    clusters: int = setting(0, "how many; 0: as many as the label store knows classes", low=0)
    neighbours: int = setting(20, "mined for each image", low=1)
    graph_neighbours: int = setting(10, "neighbours that the graph joins", low=2)
    graph_components: int = setting(20, "of its eigenvectors, where clusters are compact", low=1)
    start: str = setting(
        "graph", "heads start from clusters of the graph, or at random", choices=("graph", "random")
    )
    start_steps: int = setting(300, "training steps towards that start", low=1)
    heads: int = setting(4, "of which the one with the lowest loss is kept", low=1)
    cluster_steps: int = setting(1000, "training steps of the heads", low=1)
    cluster_batch: int = setting(256, "images in such a step, with a neighbour of each", low=2)
    cluster_rate: float = setting(5e-4, "its learning rate at the peak", low=0.0)
    entropy_weight: float = setting(5.0, "of the divergence from the prior", low=0.0)
    prior: str = setting("", "the shares of the clusters, as in 0.5,0.3,0.2; empty: all alike")
    threshold: float = setting(0.95, "a cluster this probable is believed", low=0.0, high=1.0)
    self_steps: int = setting(1000, "training steps on its own labels; 0: none", low=0)
    self_rounds: int = setting(2, "in which they are renewed", low=1)
    self_batch: int = setting(128, "images in such a step", low=1)
    self_rate: float = setting(2e-3, "its learning rate at the peak", low=0.0)
    name_steps: int = setting(1000, "training steps on the labels, with a budget", low=10)
    student: str = setting("same", "the network that learns them", choices=("same", *nets.ENCODERS))
    student_width: int = setting(0, "its channels in the first layer; 0: its own", low=0)
    naming: str = setting("nested", "with more labels than clusters: halve the widest, or draw "
                          "all clusters anew", choices=("nested", "fresh"))  # fmt: skip
    spread: str = setting("part", "with a budget, an image's label: its part's, or by diffusion on "
                          "the graph", choices=("part", "diffusion"))  # fmt: skip

    def check(self) -> None:
        """Refuses a prior that is none."""
        if not self.self_steps and self.student != "same":
            raise UsageError("config.student is another network: config.self_steps must train it")
        shares = self.shares()
        if shares is not None and not (np.all(shares > 0) and abs(sum(shares) - 1) <= 1e-3):
            raise UsageError(f"config.prior is {self.prior!r}: shares above 0 that sum to 1")
        if shares is not None and self.clusters not in (0, len(shares)):
            raise UsageError(f"config.prior has {len(shares)} shares, there are {self.clusters} "
                             "clusters")  # fmt: skip

    def shares(self) -> Float[np.ndarray, "clusters"] | None:
        """The prior, None where it is uniform."""
        try:
            return np.array([float(s) for s in self.prior.split(",")]) if self.prior else None
        except ValueError as error:
            raise UsageError(f"config.prior is {self.prior!r}: it takes numbers and commas") from (
                error
            )


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """Clusters, or with a budget a classifier made of them."""
    _, cluster_key, self_key, name_key = jax.random.split(key, 4)
    num_clusters = count_once(config, oracle.num_classes, len(images), log)
    affordable = query.plan(oracle, len(images)) if config.budget > 0 else 0
    encoder = simclr.pretrain(config, images, pretext_key(key), log, pretext_key)
    mined = mine(config, encoder, images, log)
    model, summary = find_clusters(config, encoder, images, mined, num_clusters, cluster_key, log)
    model, shares, refused = self_label(config, model, images, mined, num_clusters, self_key, log)
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
    ask_key, fit_key = jax.random.split(name_key)
    points = mined.space.points
    if config.naming == "fresh" and affordable > num_clusters:
        named = scan.ask_fresh(oracle, points, affordable, ask_key)
    else:
        named = scan.ask_clusters(oracle, points, clusters)
    labels = scan.spread_names(named, mined.space, config.spread)
    scan.show(images, shares, guard, scan.majority(clusters, labels, num_clusters), warnings, log)
    scan.show_asked(images, named, log)
    classifier = learn_names(config, model, images, mined, labels, oracle.num_classes, fit_key, log)
    return Predictor(classifier, labels, mined.space.points, "budget", summary, clusters=clusters)


def pretext_key(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key of the encoder's training, from the run's."""
    return jax.random.split(key, 4)[0]


def count_clusters(config: Config, num_classes: int, num_images: int | None = None) -> int:
    """How many clusters there are to be."""
    count = config.clusters or num_classes
    shares = config.shares()
    if not config.clusters and count < 2:
        raise UsageError("config.clusters is 0 and the label store knows fewer than two classes: "
                         "give a number of clusters")  # fmt: skip
    if count < 2:
        raise UsageError("config.clusters is 1: everything would be alike, ask for 2 or more")
    if num_images is not None and count > num_images:
        raise UsageError(f"{count} clusters of {num_images} images: ask for {num_images} at most")
    if shares is not None and len(shares) != count:
        raise UsageError(f"config.prior has {len(shares)} shares, there are {count} clusters")
    return count


def count_once(config: Config, num_classes: int, num_images: int, log: Log) -> int:
    """`count_clusters` by the classes that were known when a run with a budget began.

    A class that a person names later makes no new clusters: they would be other ones, of which
    other images speak, and the answers would be in vain.
    """
    if config.budget <= 0:
        return count_clusters(config, num_classes, num_images)
    there = log.restore("num_clusters", np.zeros(1, int))
    count = count_clusters(config, num_classes if there is None else int(there[1][0]), num_images)
    log.save("num_clusters", 0, np.array([count]))
    return count


def mine(
    config: Config, encoder: Any, images: UInt8[np.ndarray, "n h w c"], log: Log
) -> scan.Mined:
    """What the encoder's features say of the images."""
    features = pretext.features_of(simclr.represent(config, encoder, images), images)
    joined, components = config.graph_neighbours, config.graph_components
    return scan.mine(features, config.neighbours, joined, components, log)


def find_clusters(
    config: Config, encoder: Any, images: UInt8[np.ndarray, "n h w c"], mined: scan.Mined,
    num_clusters: int, key: Key[Array, ""], log: Log,
) -> tuple[scan.Assigner, dict[str, Any]]:  # fmt: skip
    """The encoder with the best of the heads, and the heads' losses."""
    init_key, start_key, teach_key, fit_key = jax.random.split(key, 4)
    model = train.init(lambda rngs: scan.Heads(encoder, config.heads, num_clusters, rngs), init_key)
    view = augment.contrastive(config.kind, strength=config.strength)
    sizes: dict[str, Any] = {
        "batch_size": config.cluster_batch,
        "learning_rate": config.cluster_rate,
    }
    if config.start == "graph":
        points = jnp.asarray(mined.space.points)
        starts = [
            scan.by_size(
                np.asarray(cluster.kmeans(one, points, num_clusters, num_init=3).assignments),
                config.shares(),
            )
            for one in jax.random.split(start_key, config.heads)
        ]
        model = scan.teach_heads(
            model, images, np.stack(starts, axis=1), view, teach_key, log,
            num_steps=config.start_steps, **sizes,
        )  # fmt: skip
    against: dict[str, Any] = {"entropy_weight": config.entropy_weight, "prior": config.shares()}
    model = scan.fit_heads(
        model, images, mined.neighbours, view, fit_key, log, num_steps=config.cluster_steps,
        **against, **sizes,
    )  # fmt: skip
    best, losses = scan.best_head(model, images, mined.neighbours, **against)
    log.scalars("heads", 0, {f"loss_{number}": float(loss) for number, loss in enumerate(losses)})
    return model.only(best), {"head": best, "head_loss": float(losses[best])}


def self_label(
    config: Config, model: scan.Assigner, images: UInt8[np.ndarray, "n h w c"], mined: scan.Mined,
    num_clusters: int, key: Key[Array, ""], log: Log,
) -> tuple[scan.Assigner, Float[np.ndarray, "n k"], str]:  # fmt: skip
    """The model after self-labelling and its assignments, or those before and why it was refused.

    Where another network was to learn and is refused, it is taught the clusters by all images,
    those of small clusters counting more: it is the model then, but the assignments are those
    that it imitates.
    """
    student_key, learn_key, other_key, imitate_key = jax.random.split(key, 4)
    shares = predict_probabilities(model, images)
    before = scan.measure(shares, mined.neighbours, config.threshold, config.shares())
    log.scalars("guard", 0, before.scalars())
    if not config.self_steps:  # config.check() lets only student=same do without
        return model, shares, ""
    sizes: dict[str, Any] = {"num_steps": config.self_steps, "batch_size": config.self_batch,
                             "learning_rate": config.self_rate}  # fmt: skip
    refused = "no image is confident: there is nothing to learn from"
    if before.confident > 0:
        student = make_student(config, model, images.shape[1:], num_clusters, student_key)
        learned = scan.learn_from_itself(
            student, shares, images, config.kind, learn_key, log, threshold=config.threshold,
            num_rounds=config.self_rounds, **sizes,
        )  # fmt: skip
        found = predict_probabilities(learned, images)
        after = scan.measure(found, mined.neighbours, config.threshold, config.shares())
        log.scalars("guard", 1, after.scalars())
        refused = scan.worse(before, after)
        if not refused:
            return learned, found, ""
    said = f"self-labelling is refused: {refused}; the clusters stay as they were"
    if config.student == "same":
        log.say(said)
        return model, shares, f"refused: {refused}"
    log.say(f"{said}, and config.student imitates them")
    student = make_student(config, model, images.shape[1:], num_clusters, other_key)
    model = scan.learn_from_itself(
        student, shares, images, config.kind, imitate_key, log, threshold=0.0, num_rounds=1,
        name="imitation", **sizes,
    )  # fmt: skip
    return model, shares, f"refused: {refused}; the model imitates the clusters"


def learn_names(
    config: Config, model: scan.Assigner, images: UInt8[np.ndarray, "n h w c"], mined: scan.Mined,
    labels: Int[np.ndarray, "n"], num_classes: int, key: Key[Array, ""], log: Log,
) -> scan.Assigner:  # fmt: skip
    """A classifier of the spread labels, smoothed by each image's neighbours."""
    init_key, fit_key = jax.random.split(key)
    start = make_student(config, model, images.shape[1:], num_classes, init_key, fresh=True)
    shares = scan.vote(labels, mined.neighbours, num_classes)
    return scan.learn_shares(
        start, shares, images, config.kind, fit_key, log, num_steps=config.name_steps,
        batch_size=config.self_batch, learning_rate=config.self_rate,
    )  # fmt: skip


def make_student(
    config: Config, model: scan.Assigner, shape: tuple[int, ...], outputs: int,
    key: Key[Array, ""], *, fresh: bool = False,
) -> scan.Assigner:  # fmt: skip
    """The network that learns from the clusters: the same with its head or a fresh one, or new."""
    if config.student == "same" and not fresh:
        return model
    if config.student == "same":
        return train.init(
            lambda rngs: scan.Assigner(model.encoder, _head(model.encoder, outputs, rngs)), key
        )
    return train.init(lambda rngs: _assigner(config, True, shape, outputs, rngs), key)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """What makes the model, to load it: without a budget its outputs are clusters."""
    outputs = num_classes if config.budget > 0 else count_clusters(config, num_classes)
    return lambda rngs: _assigner(config, config.student != "same", shape, outputs, rngs)


def _assigner(
    config: Config, student: bool, shape: tuple[int, ...], outputs: int, rngs: nnx.Rngs
) -> scan.Assigner:
    name, width = (
        (config.student, config.student_width) if student else (config.encoder, config.width)
    )
    encoder = nets.make_encoder(name, shape, rngs, width or None)
    return scan.Assigner(encoder, _head(encoder, outputs, rngs))


def _head(encoder: Any, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(encoder.num_features, outputs, rngs=rngs)
