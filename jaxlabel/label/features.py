"""Simple features of pictures, and a choice of pictures that cover them, in numpy alone.

They are computed within seconds, so the page can ask for the first labels while the run still
trains its encoder.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float, Int, UInt8

CELLS = 4  # gradients are averaged in a grid of 4 x 4 cells
DIRECTIONS = 8
LARGEST = 40  # pixels: in larger pictures, rows and columns are left out to about this size
DIMENSIONS = 32
SAMPLE = 6000  # the largest number of pictures that are clustered
ITERATIONS = 8


def gradient_features(images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    """Compute simple features of pictures: gradients and mean colours of the cells of a grid.

    Gradients in DIRECTIONS directions and the mean colours are averaged over 4 x 4 cells, and
    reduced to at most 32 principal components.

    Args:
      images: the pictures, with values from 0 to 255.

    Returns:
      The features as float32, a row per picture. Columns are sorted by falling variance.
    """
    if not len(images):
        return np.zeros((0, 1), np.float32)
    step = max(1, round(max(images.shape[1:3]) / LARGEST))
    batches = [images[i : i + 512, ::step, ::step] for i in range(0, len(images), 512)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy computes outside of Python's lock
        parts = list(pool.map(_gradients_and_colours, batches))
    return _principal_components(np.concatenate(parts))


def _gradients_and_colours(images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    """Return the gradients (with norm 1 per picture) and the mean colours of all cells."""
    pixels = images.astype(np.float32) / 255
    grey = pixels.mean(axis=-1)
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    rows, columns = _averaging_matrix(grey.shape[1]), _averaging_matrix(grey.shape[2]).T
    found = []
    for angle in np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS:
        along = np.maximum(np.float32(np.cos(angle)) * across + np.float32(np.sin(angle)) * down, 0)
        found.append((rows @ along @ columns).reshape(len(images), -1))
    features = np.sqrt(np.concatenate(found, axis=1))
    features /= np.linalg.norm(features, axis=1, keepdims=True) + 1e-3
    means = [rows @ pixels[..., c] @ columns for c in range(pixels.shape[-1])]
    scale = 1 / (CELLS * CELLS)
    colours = np.stack(means, axis=-1).reshape(len(images), -1) * scale
    return np.concatenate([features, colours], axis=1)


def _averaging_matrix(length: int) -> Float[np.ndarray, "cells length"]:
    """Return a matrix that averages `length` pixels into CELLS cells, one row per cell."""
    place = np.arange(length) * CELLS // length
    matrix = (place[None] == np.arange(CELLS)[:, None]).astype(np.float32)
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)


def _principal_components(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
    """Project features onto their first DIMENSIONS principal components."""
    centred = features - features.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(centred @ vectors[:, ::-1][:, :DIMENSIONS], np.float32)


def cover(
    features: Float[np.ndarray, "n d"],
    count: int,
    asked: Int[np.ndarray, "m"],
    excluded: Int[np.ndarray, "e"],
    seed: int = 0,
) -> Int[np.ndarray, "count"]:
    """Choose `count` pictures that are typical of clusters in which no picture was chosen before.

    This is the idea of TypiClust (Hacohen et al. 2022) on simple features: form as many clusters as
    there are chosen and wanted pictures (Lloyd's k-means), and take the medoids (the pictures
    nearest to the centre) of the largest clusters without a chosen picture. The same arguments give
    the same pictures.

    Args:
      features: the features of all pictures.
      count: the number of pictures to choose.
      asked: the rows of the pictures chosen before.
      excluded: further rows that must not be chosen, such as copies of other pictures.
      seed: the seed of the random numbers.

    Returns:
      The rows of the chosen pictures; fewer than `count` if there are not enough.
    """
    generator = np.random.default_rng(seed)
    barred = np.union1d(asked, excluded).astype(int)
    free = np.setdiff1d(np.arange(len(features)), barred)
    if count >= len(free):
        return generator.permutation(free)
    if len(asked) + count > SAMPLE // 4:  # too many clusters for the sample: choose at random
        return generator.choice(free, count, replace=False)
    sample = generator.permutation(free)[:SAMPLE]
    rows = np.concatenate([np.asarray(asked, int), sample])
    points = features[rows]
    centres, nearest = kmeans(points, len(asked) + count, generator)
    sizes = np.bincount(nearest, minlength=len(centres))
    touched = np.bincount(nearest[: len(asked)], minlength=len(centres)) > 0
    order = np.lexsort((-sizes, touched))
    chosen: list[int] = []
    for cluster in order:
        members = np.flatnonzero(nearest[len(asked) :] == cluster) + len(asked)
        if len(members):
            away = np.square(points[members] - centres[cluster]).sum(axis=1)
            chosen.append(int(rows[members[np.argmin(away)]]))
    chosen = chosen[:count]
    rest = np.setdiff1d(sample, chosen, assume_unique=True)
    return np.array([*chosen, *rest[: count - len(chosen)]], int)


def kmeans(
    points: Float[np.ndarray, "n d"], count: int, generator: np.random.Generator
) -> tuple[Float[np.ndarray, "k d"], Int[np.ndarray, "n"]]:
    """Cluster points by Lloyd's k-means; return the centres and the cluster index of each point.

    Args:
      points: the points, one per row.
      count: the number of clusters; at most the number of points is used.
      generator: the random numbers for the first centres.
    """
    count = min(count, len(points))
    centres = _initial_centres(points, count, generator)
    norms = np.square(points).sum(axis=1)
    nearest = np.zeros(len(points), int)
    for _ in range(ITERATIONS):
        distances = np.square(centres).sum(axis=1) - 2 * points @ centres.T
        nearest = distances.argmin(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        sizes = np.bincount(nearest, minlength=count)
        filled = sizes > 0
        centres[filled] = sums[filled] / sizes[filled, None]
        if not filled.all():  # move the centre of an empty cluster to a point far from all centres
            far = np.argsort(-(distances.min(axis=1) + norms))[: int((~filled).sum())]
            centres[~filled] = points[far]
    return centres, nearest


def _initial_centres(
    points: Float[np.ndarray, "n d"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "k d"]:
    """Choose first centres among the points by k-means++ (Arthur & Vassilvitskii 2007)."""
    first = int(generator.integers(len(points)))
    chosen, away = [first], np.square(points - points[first]).sum(axis=1)
    while len(chosen) < count:
        total = away.sum()
        weights = away / total if total > 0 else None
        chosen.append(int(generator.choice(len(points), p=weights)))
        away = np.minimum(away, np.square(points - points[chosen[-1]]).sum(axis=1))
    return points[chosen].copy()


def neighbours(
    features: Float[np.ndarray, "n d"], row: int, count: int, among: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Return the rows whose features are nearest to those of `row`, the nearest first.

    Args:
      features: the features of all pictures.
      row: the index of a picture; it is not returned.
      count: the largest number of rows to return.
      among: the rows to choose from.
    """
    among = among[among != row]
    away = np.square(features[among] - features[row]).sum(axis=1)
    return among[np.argsort(away, kind="stable")[:count]]
