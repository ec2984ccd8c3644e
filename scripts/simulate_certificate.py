"""Simulate audits to measure how often the certificate is right, and how many labels it takes.

    python scripts/simulate_certificate.py --runs=1000           # the design in jaxlabel
    python scripts/simulate_certificate.py --runs=100 --designs  # simpler designs

Each run simulates a pool of 10,000 images and a model that is wrong on a fixed share of them. It
then audits the model for an accuracy of at least 90% with 95% confidence. The audit stops as soon
as the accuracy is certified or ruled out, or after 2,000 labels. Results are written to
experiments/results/certificate.jsonl, one line for each case, and as a table to certificate.md in
the same folder. The table omits results of older code of jaxlabel.certificate; a result is
replaced when its case is run again. `expected` is the number of labels that
`certificate.Terms.expected_labels` predicts if it is given the true error rate.

Models: an image's probability of an error is beta distributed (the mean is the error rate, and
a + b = 1.2). The model "calibrated" predicts this probability. "overconfident" doubles its log odds
and subtracts 0.5. "noisy" multiplies them by 1.5 and adds normal noise of standard deviation 2.
"underconfident" halves them.
"""

import argparse
import ast
import hashlib
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from jaxlabel import certificate
from jaxlabel.certificate import Certificate, Terms, audit, design

NUM_IMAGES, TARGET, BUDGET = 10_000, 0.9, 2_000
MODELS = ("calibrated", "overconfident", "noisy", "underconfident")
ACCURACIES = (0.88, 0.91, 0.92, 0.93, 0.95)
# The constants of jaxlabel.certificate.design that each design replaces.
DESIGNS: dict[str, dict[str, Any]] = {
    "shipped": {},
    "without recalibration": {"NEWTON_STEPS": 0},
    "least variance": {"POWERS": (0.5,), "FLOORS": (0.03,)},
    "uniform draws, control variate": {"POWERS": (0.0,), "FLOORS": (0.25,)},
    "uniform draws, model ignored": {},
}
RESULTS = Path(__file__).parents[1] / "experiments" / "results"


def simulate(seed: int, model: str, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    """Simulate a model's errors on a pool of images.

    Returns:
      Two arrays over the images: whether the model's prediction is wrong, and the probability of an
      error that the model predicts.
    """
    generator = np.random.default_rng([seed, round(1000 * accuracy), MODELS.index(model)])
    mean = 1 - accuracy
    errors = np.clip(generator.beta(1.2 * mean, 1.2 * accuracy, NUM_IMAGES), 1e-4, 0.95)
    # The number of wrong predictions must be exact, so they are drawn without replacement, with
    # their odds as weights.
    odds = errors / (1 - errors)
    waiting_times = generator.exponential(size=NUM_IMAGES) / odds
    wrong = np.zeros(NUM_IMAGES, bool)
    wrong[np.argsort(waiting_times)[: round(mean * NUM_IMAGES)]] = True
    noise = generator.standard_normal(NUM_IMAGES)
    logits = np.log(odds)
    logits = {"calibrated": logits, "overconfident": 2 * logits - 0.5, "noisy":
              1.5 * logits + 2 * noise, "underconfident": 0.5 * logits}[model]  # fmt: skip
    return wrong, 1 / (1 + np.exp(-logits))


def run(seed: int, model: str, accuracy: float, name: str) -> Certificate:
    """Simulate one audit of a model and return its certificate.

    An audit buys labels of random images until the model's accuracy is certified.

    Args:
      seed: the random seed.
      model: how the model's confidence relates to its errors, one of MODELS.
      accuracy: the model's accuracy on the pool of images.
      name: how images are drawn, a key of DESIGNS.
    """
    wrong, claimed = simulate(seed, model, accuracy)
    if name == "uniform draws, model ignored":
        claimed = np.full(NUM_IMAGES, 0.1)
    changes: dict[str, Any] = DESIGNS[name] or {"BINS": design.BINS}
    with mock.patch.multiple(design, **changes):
        return audit(
            jax.random.key(seed), np.stack([1 - claimed, claimed], axis=1),
            np.zeros(NUM_IMAGES, int), lambda indices: wrong[indices].astype(int),
            target=TARGET, budget=BUDGET,
        )  # fmt: skip


def expected_labels(seed: int, model: str, accuracy: float) -> float:
    """Return how many labels a simulated audit is predicted to take; infinity if it cannot succeed.

    An audit buys labels of random images until the model's accuracy is certified.
    """
    _, claimed = simulate(seed, model, accuracy)
    return Terms(TARGET, 0.95, NUM_IMAGES).expected_labels(claimed, 1 - accuracy)


def measure(model: str, accuracy: float, name: str, runs: int) -> dict[str, Any]:
    """Simulate `runs` audits, each of a new pool of images, and return their averages as a dict.

    An audit buys labels of random images until the model's accuracy is certified. The dict is one
    row of the table of results.
    """
    start = time.perf_counter()
    certificates = [run(seed, model, accuracy, name) for seed in range(runs)]
    labels = np.array([c.labels for c in certificates])
    covered = [c.low <= accuracy <= c.high for c in certificates]
    predicted_median = float(
        np.median([expected_labels(seed, model, accuracy) for seed in range(runs)])
    )
    return {
        "design": name, "model": model, "accuracy": accuracy, "runs": runs,
        "covered": float(np.mean(covered)),
        "reached": float(np.mean([c.reached for c in certificates])),
        "labels": float(labels.mean()), "labels_median": float(np.median(labels)),
        "labels_90": float(np.quantile(labels, 0.9)),
        "expected": predicted_median if np.isfinite(predicted_median) else None,
        "estimate": float(np.mean([c.estimate for c in certificates])),
        "seconds": round(time.perf_counter() - start, 1), "code": code_hash(),
    }  # fmt: skip


def code_hash() -> str:
    """Return a hash of the source of jaxlabel.certificate without its docstrings and comments."""
    sources = []
    for path in sorted(Path(certificate.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                node.body = [part for part in node.body if not _is_docstring(part)]
        sources.append(ast.unparse(tree))
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()[:12]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def table(lines: list[dict[str, Any]]) -> str:
    """Format the results as a Markdown table."""
    rows = ["| design | model | accuracy | runs | covered | reached | labels: mean / median / 90% "
            "| expected | mean estimate | seconds |",
            "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for x in lines:
        expected = "-" if x["expected"] is None else round(x["expected"])
        rows.append(
            f"| {x['design']} | {x['model']} | {x['accuracy']:.2f} | {x['runs']} "
            f"| {100 * x['covered']:.1f}% | {100 * x['reached']:.1f}% | {x['labels']:.0f} / "
            f"{x['labels_median']:.0f} / {x['labels_90']:.0f} | {expected} | {x['estimate']:.4f} "
            f"| {x['seconds']} |"
        )
    return "\n".join(rows) + "\n"


def result_key(line: dict[str, Any]) -> tuple[Any, ...]:
    """Return the values that identify a result: design, model, accuracy and runs."""
    return line["design"], line["model"], line["accuracy"], line["runs"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="the number of audits of each case")
    parser.add_argument(
        "--designs", action="store_true", help="simulate simpler designs, not the one in jaxlabel"
    )
    parser.add_argument("--jobs", type=int, default=2, help="the number of processes")
    flags = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "certificate.jsonl"
    names = [name for name in DESIGNS if (name != "shipped") == flags.designs]
    lines_text, current = path.read_text().splitlines() if path.exists() else [], code_hash()
    lines = {result_key(line): line for line in map(json.loads, lines_text)}
    done = {case for case, line in lines.items() if line.get("code") == current}
    wanted = [
        (model, accuracy, name, flags.runs)
        for name in names for accuracy in ACCURACIES[::-1] for model in MODELS
        if (name, model, accuracy, flags.runs) not in done
    ]  # fmt: skip
    with ProcessPoolExecutor(flags.jobs, mp_context=get_context("spawn")) as workers:
        for future in [workers.submit(measure, *arguments) for arguments in wanted]:
            line = future.result()
            lines[result_key(line)] = line
            print(json.dumps(line), flush=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines.values()))
            shown = [line for line in lines.values() if line.get("code") == current]
            (RESULTS / "certificate.md").write_text(table(shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
