"""Measure a run on features from outside against label propagation alone, on principal components.

    python scripts/bench_features.py --data=idx:mnist

The first 10,000 training images get 64 features each, their principal components. The script then
starts `jaxlabel train` with the recipe `flagship.py:features` and 40 labels, and prints the seconds
from its start to its end, its processor seconds, the accuracy of its labels, and the accuracy of
the labels that propagation over the graph of the same features gives from the same bought labels.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def prepare(spec: str, num_images: int, dimensions: int, folder: Path) -> np.ndarray:
    """Write images with labels to images.npz and their features to features.npy; return labels."""
    import jax.numpy as jnp

    from jaxlabel import data
    from jaxlabel.cluster.pca import fit_pca, project

    images = data.load(spec).train_images[:num_images]
    labels = data.load_train_labels(spec)[:num_images]
    np.savez(folder / "images.npz", train_images=images, train_labels=labels)
    pixels = jnp.asarray(images.reshape(len(images), -1).astype(np.float32) / 255)
    np.save(folder / "features.npy", np.asarray(project(fit_pca(pixels, dimensions), pixels)))
    return labels


def train(folder: Path, name: str, settings: list[str]) -> tuple[float, float]:
    """Start a run in a process of its own, and return its seconds and its processor seconds."""
    config = Path(__file__).parents[1] / "configs" / "flagship.py"
    began, used = time.perf_counter(), processor_seconds()
    subprocess.run([
        sys.executable, "-m", "jaxlabel", "train", f"--config={config}:features",
        f"--config.data=npz:{folder / 'images.npz'}", f"--workdir={folder / name}",
        f"--config.features={folder / 'features.npy'}", *settings,
    ], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return time.perf_counter() - began, processor_seconds() - used


def processor_seconds() -> float:
    """Return the processor seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def propagation_accuracy(folder: Path, name: str, labels: np.ndarray) -> float:
    """Return the accuracy of label propagation alone, from the labels that a run bought."""
    from jaxlabel import data
    from jaxlabel.log import NullLog
    from jaxlabel.oracle import LabelStore
    from jaxlabel.semisupervised import neighbour_graph, propagate

    items = data.load(f"npz:{folder / 'images.npz'}").train_items.tolist()
    record = json.loads((folder / name / "run.json").read_text())
    store = LabelStore(f"sqlite:///{folder / name / 'labels.db'}")
    bought = {row.item for row in store.ledger(record["account"])}
    rows = np.array([row for row, item in enumerate(items) if item in bought])
    graph = neighbour_graph(np.load(folder / "features.npy"), 10, NullLog())
    prior = np.bincount(labels[rows], minlength=10) / len(rows)
    propagated = propagate(graph, rows, labels[rows], prior.astype(np.float32))
    return float(np.mean(propagated.labels == labels))


def main() -> None:
    """Prepare the features, then run every seed and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    flags, settings = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        labels = prepare(flags.data, flags.images, flags.dimensions, folder)
        for seed in range(flags.seeds):
            name, fixed = f"seed_{seed}", [f"--config.budget={flags.budget}"]
            seconds, used = train(folder, name, [*fixed, f"--config.seed={seed}", *settings])
            result = json.loads((folder / name / "result.json").read_text())
            alone = propagation_accuracy(folder, name, labels)
            print(f"seed {seed}: {result['labels_spent']} labels, {seconds:.1f} s "
                  f"({used:.1f} s of processors, load {os.getloadavg()[0]:.1f}); labels right: "
                  f"{result['train_label_accuracy']:.2%}, by propagation alone {alone:.2%}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
