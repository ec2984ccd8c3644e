"""Clusters get names: the medoid of each is asked, and with more budget those that are torn."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxlabel import cluster, query
from jaxlabel.oracle import Oracle


class Named(NamedTuple):
    """The images asked about, in that order, their labels, and the part of each image."""

    indices: Int[np.ndarray, "q"]
    labels: Int[np.ndarray, "q"]
    parts: Int[np.ndarray, "n"]  # the position in `indices` of the image that speaks for it


def ask_clusters(
    oracle: Oracle,
    points: Float[np.ndarray, "n d"],
    clusters: Int[np.ndarray, "n"],
) -> Named:
    """The labels of the clusters' medoids, then of the halves of the parts that are widest.

    The first round asks the medoid of each cluster, the largest first. Each further round splits
    the parts that disagree most with themselves in two, as many as there are parts, by k-means
    that starts from the image already paid for and the one farthest from it; the half without a
    paid image asks its medoid. So every label stays of use, and their number at most doubles (S0).
    How much a part disagrees is its inertia.

    Args:
      points: the space in which clusters are compact.

    Raises:
      BudgetExceeded: not even one label can be bought.
    """
    parts, centres = _medoids(points, clusters)
    named = Named(np.zeros(0, int), np.zeros(0, int), parts)
    wanted, number = centres, 0
    while len(wanted):
        before = query.Labelled(named.indices, named.labels)
        named = _speaking(query.buy(oracle, before, wanted, number), wanted, parts)
        if len(named.indices) < len(before.indices) + len(wanted) or oracle.remaining <= 0:
            break
        number += 1
        wanted, parts = _split(
            points, named, max(1, query.num_affordable(oracle, len(points), named.indices))
        )
        named = named._replace(parts=parts)
    return _spoken_for(points, named)


def ask_fresh(
    oracle: Oracle, points: Float[np.ndarray, "n d"], count: int, key: Key[Array, ""]
) -> Named:
    """The labels of the medoids of `count` fresh clusters by k-means, as far as the money goes.

    Finer clusters that were drawn anew fit the points better than halves of halves.

    Raises:
      BudgetExceeded: not even one label can be bought.
    """
    found = cluster.kmeans(key, jnp.asarray(points), count, num_init=3)
    parts, centres = _medoids(points, np.asarray(found.assignments))
    labelled = query.buy(oracle, query.NO_LABELS, centres, 0)
    return _spoken_for(points, _speaking(labelled, centres, parts))


def spread_names(named: Named, space: cluster.GraphSpace, method: str) -> Int[np.ndarray, "n"]:
    """A label for every image: its part's, or by diffusion of the paid ones over the graph."""
    labels = named.labels[named.parts]
    if method == "diffusion" and len(np.unique(named.labels)) > 1:
        labels = cluster.diffuse_labels(space, named.indices, named.labels)
    labels[named.indices] = named.labels
    return labels


def _speaking(
    labelled: query.Labelled, wanted: Int[np.ndarray, "w"], parts: Int[np.ndarray, "n"]
) -> Named:
    """The parts by who speaks for them; -1 where the image that was wanted for it is not paid for.

    Args:
      paid: who spoke before, then those of `wanted` that the money bought.
      parts: positions among who spoke before, then `wanted`.
    """
    bought = np.isin(wanted, labelled.indices)
    before = len(labelled.indices) - int(bought.sum())
    places = np.where(bought, before + np.cumsum(bought) - 1, -1)
    return Named(labelled.indices, labelled.labels, np.append(np.arange(before), places)[parts])


def _spoken_for(points: Float[np.ndarray, "n d"], named: Named) -> Named:
    """The same, a point for which nobody speaks in the part of the nearest paid image."""
    nearest = _nearest_row(points, points[named.indices])
    return named._replace(parts=np.where(named.parts >= 0, named.parts, nearest))


def _medoids(
    points: Float[np.ndarray, "n d"], clusters: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "k"]]:
    """The clusters renumbered by size, and the medoid of each."""
    _, numbers, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), int)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    parts = rank[numbers]
    sums = np.zeros((len(sizes), points.shape[1]))
    np.add.at(sums, parts, points)
    means = (sums / np.sort(sizes)[::-1][:, None]).astype(np.float32)
    return parts, np.asarray(
        cluster.medoids(jnp.asarray(points), jnp.asarray(means), jnp.asarray(parts))
    )


def _split(
    points: Float[np.ndarray, "n d"], named: Named, most: int
) -> tuple[Int[np.ndarray, "q"], Int[np.ndarray, "n"]]:
    """The images that speak for the new halves of the widest parts, and the parts then."""
    count = len(named.indices)
    total = np.zeros(count)
    for part in range(count):
        members = points[named.parts == part]
        total[part] = len(members) * members.var(axis=0).sum()
    order = np.argsort(-total, kind="stable")[: min(most, count)]
    parts, speakers = named.parts.copy(), list[int]()
    for part in order:
        members = np.flatnonzero(named.parts == part)
        other = _other_half(points[members], points[named.indices[part]])
        if not other.any():
            continue
        half = members[other]
        away = np.sum((points[half] - points[half].mean(axis=0)) ** 2, axis=1)
        parts[half] = count + len(speakers)
        speakers.append(int(half[np.argmin(away)]))
    return np.array(speakers, int), parts


def _other_half(
    points: Float[np.ndarray, "m d"], labelled: Float[np.ndarray, "d"], num_iterations: int = 20
) -> Bool[np.ndarray, "m"]:
    """Which points are not in the half that the paid one falls into, by 2-means."""
    away = np.sum((points - labelled) ** 2, axis=1)
    centres = np.stack([labelled, points[np.argmax(away)]])
    if away.max() <= 0:
        return np.zeros(len(points), bool)
    for _ in range(num_iterations):
        other = _nearest_row(points, centres) == 1
        if not 0 < other.sum() < len(points):
            break
        centres = np.stack([points[~other].mean(axis=0), points[other].mean(axis=0)])
    return _nearest_row(points, centres) != _nearest_row(labelled[None], centres)[0]


def _nearest_row(
    points: Float[np.ndarray, "n d"], rows: Float[np.ndarray, "q d"]
) -> Int[np.ndarray, "n"]:
    return np.argmin(np.sum(rows**2, axis=1) - 2 * points @ rows.T, axis=1)
