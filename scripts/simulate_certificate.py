"""How often the certificate is right, and how many labels it takes: simulated audits.

    python scripts/simulate_certificate.py --runs=1000           # the shipped design
    python scripts/simulate_certificate.py --runs=100 --designs  # against simpler ones

Each run draws a new pool of 10,000 images, a model that errs on a fixed share of them, and an audit
for "at least 90% at 95%" that stops as soon as it knows, or after 2,000 labels. Lines go to
experiments/results/certificate.jsonl, and the table of all of them to certificate.md beside it. A
line of older code of jaxlabel.certificate is not shown, and is replaced when it is run again.
`expected` is what certificate.Terms.expected_labels says beforehand, told the true accuracy.

Models: an image's probability of an error is beta distributed (mean as given, a + b = 1.2);
`calibrated` knows it; `overconfident` doubles its log odds less 0.5; `noisy` multiplies them by 1.5
and adds normal noise of deviation 2; `underconfident` halves them.
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
DESIGNS: dict[
    str, dict[str, Any]
] = {  # what is changed in jaxlabel.certificate.design; {} is what is shipped
    "shipped": {},
    "without recalibration": {"NEWTON_STEPS": 0},
    "least variance": {"POWERS": (0.5,), "FLOORS": (0.03,)},
    "uniform draws, control variate": {"POWERS": (0.0,), "FLOORS": (0.25,)},
    "uniform draws, model ignored": {},
}
RESULTS = Path(__file__).parents[1] / "experiments" / "results"


def simulate(seed: int, model: str, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    """Which images are wrong, and the error probability that the model claims of each."""
    generator = np.random.default_rng([seed, round(1000 * accuracy), MODELS.index(model)])
    mean = 1 - accuracy
    errors = np.clip(generator.beta(1.2 * mean, 1.2 * accuracy, NUM_IMAGES), 1e-4, 0.95)
    # exactly the accuracy: the wrong ones are drawn without replacement, by their odds
    odds = errors / (1 - errors)
    clocks = generator.exponential(size=NUM_IMAGES) / odds
    wrong = np.zeros(NUM_IMAGES, bool)
    wrong[np.argsort(clocks)[: round(mean * NUM_IMAGES)]] = True
    noise = generator.standard_normal(NUM_IMAGES)
    logits = np.log(odds)
    logits = {"calibrated": logits, "overconfident": 2 * logits - 0.5, "noisy":
              1.5 * logits + 2 * noise, "underconfident": 0.5 * logits}[model]  # fmt: skip
    return wrong, 1 / (1 + np.exp(-logits))


def run(seed: int, model: str, accuracy: float, name: str) -> Certificate:
    """One audit."""
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


def expected(seed: int, model: str, accuracy: float) -> float:
    """The labels that such an audit is likely to take; infinity where it cannot succeed."""
    _, claimed = simulate(seed, model, accuracy)
    return Terms(TARGET, 0.95, NUM_IMAGES).expected_labels(claimed, 1 - accuracy)


def measure(model: str, accuracy: float, name: str, runs: int) -> dict[str, Any]:
    """One line of the results: `runs` audits of as many pools."""
    start = time.perf_counter()
    found = [run(seed, model, accuracy, name) for seed in range(runs)]
    labels = np.array([one.labels for one in found])
    covered = [one.low <= accuracy <= one.high for one in found]
    likely = float(np.median([expected(seed, model, accuracy) for seed in range(runs)]))
    return {
        "design": name, "model": model, "accuracy": accuracy, "runs": runs,
        "covered": float(np.mean(covered)), "reached": float(np.mean([c.reached for c in found])),
        "labels": float(labels.mean()), "labels_median": float(np.median(labels)),
        "labels_90": float(np.quantile(labels, 0.9)),
        "expected": likely if np.isfinite(likely) else None,
        "estimate": float(np.mean([c.estimate for c in found])),
        "seconds": round(time.perf_counter() - start, 1), "code": code(),
    }  # fmt: skip


def code() -> str:
    """A hash of the audit's code without what it says of itself: results of older code differ."""
    texts = []
    for path in sorted(Path(certificate.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                node.body = [part for part in node.body if not _is_text(part)]
        texts.append(ast.unparse(tree))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown of the lines."""
    rows = ["| design | model | accuracy | runs | covered | reached | labels: mean / median / 90% "
            "| expected | mean estimate | seconds |",
            "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for x in lines:
        likely = "-" if x["expected"] is None else round(x["expected"])
        rows.append(
            f"| {x['design']} | {x['model']} | {x['accuracy']:.2f} | {x['runs']} "
            f"| {100 * x['covered']:.1f}% | {100 * x['reached']:.1f}% | {x['labels']:.0f} / "
            f"{x['labels_median']:.0f} / {x['labels_90']:.0f} | {likely} | {x['estimate']:.4f} "
            f"| {x['seconds']} |"
        )
    return "\n".join(rows) + "\n"


def identity(line: dict[str, Any]) -> tuple[Any, ...]:
    """What a line is a result of, but for the code."""
    return line["design"], line["model"], line["accuracy"], line["runs"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--designs", action="store_true", help="simpler designs, not the shipped")
    parser.add_argument("--jobs", type=int, default=2)
    flags = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "certificate.jsonl"
    names = [name for name in DESIGNS if (name != "shipped") == flags.designs]
    texts, now = path.read_text().splitlines() if path.exists() else [], code()
    lines = {identity(line): line for line in map(json.loads, texts)}
    done = {name for name, line in lines.items() if line.get("code") == now}
    wanted = [
        (model, accuracy, name, flags.runs)
        for name in names for accuracy in ACCURACIES[::-1] for model in MODELS
        if (name, model, accuracy, flags.runs) not in done
    ]  # fmt: skip
    with ProcessPoolExecutor(flags.jobs, mp_context=get_context("spawn")) as workers:
        for future in [workers.submit(measure, *arguments) for arguments in wanted]:
            line = future.result()
            lines[identity(line)] = line
            print(json.dumps(line), flush=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines.values()))
            shown = [line for line in lines.values() if line.get("code") == now]
            (RESULTS / "certificate.md").write_text(table(shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
