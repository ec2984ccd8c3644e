"""What would a user pick instead of jaxlabel, and how accurate is it with the same bought labels?

    python experiments/peers.py --workdirs=runs/a,runs/b --torch_python=ENV/bin/python

Each work directory is of a finished run, such as `jaxlabel train --config=configs/flagship.py:\
fashion_mnist --workdir=runs/a`. Its ledger has the labels in the order of purchase. Every peer
learns from the first 10, 40, 102, 418 and 1,000 of them and predicts the test images once:
scikit-learn's logistic regression, random forest, label spreading, self-training and gradient
boosting, each on 64 principal components of the pixels and of oriented gradients (jaxlabel's own,
which are HOG-like). They learn from as many random labels too, because the run chose its labels
for itself. Two loops of scikit-activeml choose as many labels themselves. FixMatch in PyTorch, with
the most labels alone, gets the run's time: its seconds times its cores, as processor seconds of one
thread. ENV is an environment with torch; without the flag FixMatch is left out.

Every fit is a process of its own on one thread. With 1,000 labels and without FixMatch a run takes
some 4 processor minutes on 60,000 images. Results are appended to experiments/results/peers.jsonl,
and peers.md and figures/peers.svg are drawn from it. Fits with a result there are not repeated.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peers_fits
import peers_table

from jaxlabel import data, files
from jaxlabel.errors import UsageError
from jaxlabel.experiment import account
from jaxlabel.oracle.store import LabelStore
from jaxlabel.runlog import records

FIXMATCH = "FixMatch"
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("jaxlabel", "numpy", "scikit-learn", "scikit-activeml")


class Run(NamedTuple):
    """A finished run: its result, its data, and the labels that it bought.

    Attributes:
      result: the content of its result.json.
      spec: its data set, such as "idx:DIR".
      dataset: the images.
      indices: the images whose labels it bought, in the order of purchase.
      labels: these labels, as indices of the data set's classes.
    """

    result: dict[str, Any]
    spec: str
    dataset: data.Dataset
    indices: np.ndarray
    labels: np.ndarray


def read_run(workdir: Path) -> Run:
    """Read a finished run and the labels that it bought for training.

    Raises:
      UsageError: the run is not finished.
    """
    result = files.read_json(workdir / "result.json")
    if result is None:
        raise UsageError(f"{workdir} has no result.json: name the folder of a finished run")
    spec = result["config"]["data"]
    recorded = account.read_run_record(workdir)
    with LabelStore(recorded["store"]) as store:
        bought = [row for row in store.ledger(recorded["account"]) if row.purpose == "train"]
    dataset, names = data.load(spec), data.label_names(spec)
    rows = {str(item): index for index, item in reversed(list(enumerate(dataset.train_items)))}
    return Run(
        result, spec, dataset, np.array([rows[row.item] for row in bought]),
        np.array([names.index(row.class_name) for row in bought]),
    )  # fmt: skip


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process, whose memory and processor time are then its own."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["sklearn.ensemble", "sklearn.semi_supervised"])
    with ProcessPoolExecutor(1, mp_context=context) as child:
        return child.submit(function, *arguments).result()


def prepare(run: Run, cache: Path) -> Path:
    """Compute the features of a data set, unless `cache` has them, and return their folder."""
    every_id = "".join(map(str, run.dataset.train_items)).encode()
    folder = cache / hashlib.sha256(every_id).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "gradients.npz").exists():
        images = run.dataset.train_images, run.dataset.test_images
        in_child(peers_fits.write_features, folder, *images)
    return folder


class Job(NamedTuple):
    """A fit: which peer learns from which features and which labels.

    Attributes:
      peer: the name of the peer.
      features: "gradients", "pixels" or "images".
      labels_from: who chose the labelled images: "the run", "chance" or "the peer".
      counts: the numbers of labels.
    """

    peer: str
    features: str
    labels_from: str
    counts: tuple[int, ...]


def jobs(counts: Sequence[int], fixmatch: bool) -> Iterator[Job]:
    """List the fits, the quickest first."""
    for peer in peers_fits.SAME_LABELS:
        for labels_from in ("the run", "chance"):
            for features in ("gradients", "pixels"):
                yield from (Job(peer, features, labels_from, (count,)) for count in counts)
    for peer in peers_fits.OWN_LABELS:
        yield Job(peer, "gradients", "the peer", tuple(counts))
    if fixmatch:
        yield Job(FIXMATCH, "images", "the run", (max(counts),))


def labelled(run: Run, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Return the images whose labels a peer may use, and these labels.

    A peer that chooses its own images gets every label here and reads those that it asks for.
    """
    if job.labels_from == "the run":
        return run.indices[: job.counts[0]], run.labels[: job.counts[0]]
    every = data.load_train_labels(run.spec)
    if job.labels_from == "the peer":
        return np.arange(len(every)), every
    chosen = np.random.default_rng(run.result["seed"]).permutation(len(every))[: job.counts[0]]
    return chosen, every[chosen]


def run_fixmatch(run: Run, count: int, flags: argparse.Namespace) -> list[peers_fits.Fitted]:
    """Train FixMatch in an environment with PyTorch for as long as the run took."""
    cores = int((re.search(r"(\d+) cores", run.result["device"]) or [0, 1])[1])
    seconds = flags.fixmatch_seconds or cores * run.result["seconds"]
    with tempfile.TemporaryDirectory() as folder:
        problem, answer = f"{folder}/problem.npz", f"{folder}/answer.npz"
        np.savez(
            problem, images=run.dataset.train_images, test_images=run.dataset.test_images,
            indices=run.indices[:count], labels=run.labels[:count], seed=run.result["seed"],
            num_classes=len(run.result["classes"]), flip=run.dataset.kind != "digits",
            processor_seconds=seconds, wall_seconds=flags.fixmatch_wall,
        )  # fmt: skip
        script = Path(__file__).with_name("peers_fixmatch.py")
        subprocess.run([flags.torch_python, script, problem, answer], check=True)
        said = dict(np.load(answer))
    numbers = [float(said[name]) for name in ("processor_seconds", "wall_seconds", "megabytes")]
    return [peers_fits.Fitted(count, said["predictions"], *numbers, int(said["steps"]))]


def fit(run: Run, folder: Path, job: Job, flags: argparse.Namespace) -> Sequence[peers_fits.Fitted]:
    """Fit one peer in a process of its own."""
    if job.peer == FIXMATCH:
        return run_fixmatch(run, job.counts[0], flags)
    seconds_of_graph = folder / f"{job.features}_graph_seconds.npy"
    if job.peer == peers_fits.LABEL_SPREADING and not seconds_of_graph.exists():
        in_child(peers_fits.write_graph, folder, job.features)
    seed = run.result["seed"]
    problem = peers_fits.Problem(str(folder), job.features, *labelled(run, job), seed, job.counts)
    return in_child(peers_fits.fit, job.peer, problem)


def line_of(run: Run, job: Job, fitted: peers_fits.Fitted) -> dict[str, Any]:
    """Score the predictions of a peer's test images, and return the result without local paths."""
    truth = data.load_test_labels(run.spec)
    return {
        "peer": job.peer, "features": job.features, "labels": fitted.count,
        "labels_from": job.labels_from, **run_names(run),
        "test_accuracy": float(np.mean(fitted.predictions == truth)),
        "processor_seconds": round(fitted.processor_seconds, 2),
        "wall_seconds": round(fitted.wall_seconds, 2), "megabytes": round(fitted.megabytes),
        "steps": fitted.steps or None, "device": "CPU, one thread",
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }  # fmt: skip


def run_names(run: Run) -> dict[str, Any]:
    """Return what a result says of the run whose labels were used.

    The entry `bought` is a hash of the images whose labels the run bought, in their order. It tells
    runs of the same recipe and seed apart, such as those with other budgets.
    """
    prefix, _, location = run.spec.partition(":")
    place = f"{prefix}:DATA_ROOT/{Path(location).name}" if location else prefix
    config = run.result["config"]
    recipe = " ".join(f"{name}={config[name]}" for name in ("steps", "members") if name in config)
    bought = "\n".join(map(str, run.dataset.train_items[run.indices]))
    return {"dataset": run.dataset.name, "data": place, "seed": run.result["seed"],
            "run": f"{run.result['method']} {recipe}".strip(),
            "bought": hashlib.sha256(bought.encode()).hexdigest()[:12]}  # fmt: skip


def own_line(run: Run) -> dict[str, Any]:
    """Return the run's own result as a line beside those of its peers.

    Runs record seconds on the wall; their processor time and memory are not known.
    """
    return {
        "peer": "jaxlabel", "features": "images", "labels": run.result["labels_spent"],
        "labels_from": "the run", **run_names(run),
        "test_accuracy": run.result["test_accuracy"], "processor_seconds": None,
        "wall_seconds": run.result["seconds"], "megabytes": None, "steps": None,
        "device": run.result["device"], "versions": run.result["versions"],
    }  # fmt: skip


def compare(workdir: Path, out: Path, flags: argparse.Namespace) -> None:
    """Fit every peer that has no result yet on the labels of one run, and append the results."""
    run = read_run(workdir)
    done = {peers_table.key(line) for line in records.repair_and_read(out)}
    own = own_line(run)
    if own["labels"] in flags.counts and peers_table.key(own) not in done:
        records.append(out, own)  # with another number of labels, no peer would stand beside it
    counts = [count for count in flags.counts if count <= len(run.indices)]
    folder = prepare(run, flags.cache)
    for job in jobs(counts, bool(flags.torch_python)):
        names = run_names(run) | job._asdict()
        if all(peers_table.key(names | {"labels": count}) in done for count in job.counts):
            continue
        if not flags.peers or job.peer in flags.peers:
            for fitted in fit(run, folder, job, flags):
                line = line_of(run, job, fitted)
                records.append(out, line)
                print(json.dumps(line), flush=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--workdirs", type=lambda text: list(map(Path, text.split(","))), required=True,
        help="the folders of finished runs, with commas between them")  # fmt: skip
    add("--counts", type=lambda text: list(map(int, text.split(","))),
        default=[10, 40, 102, 418, 1000], help="the numbers of labels")  # fmt: skip
    add("--peers", type=lambda text: text.split(";"), default=[],
        help="fit only these, with semicolons between them")  # fmt: skip
    add("--torch_python", default="", help="the Python of an environment with torch")
    add("--fixmatch_seconds", type=float, default=0,
        help="processor seconds of FixMatch; 0: the run's seconds times its cores")  # fmt: skip
    add("--fixmatch_wall", type=float, default=float("inf"),
        help="end FixMatch after so many seconds on the wall")  # fmt: skip
    add("--results", type=Path, default=RESULTS, help="the folder for peers.jsonl and the table")
    add("--cache", type=Path, default=Path(tempfile.gettempdir()) / "jaxlabel-peers",
        help="a folder for the features of the images")  # fmt: skip
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Compare the runs with their peers and draw the table and the figure."""
    flags = parse(arguments)
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    out = flags.results / "peers.jsonl"
    try:
        for workdir in flags.workdirs:
            compare(workdir, out, flags)
    except UsageError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2
    peers_table.write(records.repair_and_read(out), flags.results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
