"""A training step of jaxlabel and of PyTorch side by side: same network, batch and optimizer.

    python scripts/bench_train_step.py --torch-python=ENV/bin/python    # an environment with torch
    python scripts/bench_train_step.py                                  # both here: jaxlabel[bench]
    python scripts/bench_train_step.py --torch-python= --batch-size=4096     # jaxlabel alone

A supervised step is cross-entropy on a batch; a contrastive step is NT-Xent on two views of it, so
twice the images through the network. Both on ConvNet, AdamW, images drawn beforehand: augmentation
is not timed. jaxlabel steps through `train.loop`; PyTorch runs eagerly, channels last, with its
fused AdamW, on the CPU or, where each sees one, on the GPU (there in bfloat16, both).

Each library lives in a child process; the two take turns, so that another load on the machine
strikes both. The ratio is the median of the rounds' ratios, with the quartiles; `core` is processor
time over the number of cores, which another load disturbs less. Images per second count an image
once, not its views. The last line is JSON.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

TASKS = ("supervised", "contrastive")
NUM_CLASSES = 10
PROJECTION = 64
TEMPERATURE = 0.2
LEARNING_RATE = 1e-3


def make_batch(side: int, batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a batch of random images of smooth blobs: two views of each image, and labels.

    The images are float32 in [0, 1], and have `side` pixels on each side.
    """
    rng = np.random.default_rng(0)
    rows = np.linspace(-1, 1, side, dtype=np.float32)
    centres = rng.uniform(-0.5, 0.5, (2, batch_size, 1, 1, 1)).astype(np.float32)
    blobs = np.exp(-4 * ((rows[:, None, None] - centres[0]) ** 2 + (rows[None, :, None]) ** 2))
    views = [np.clip(blobs + rng.normal(0, 0.1, blobs.shape), 0, 1) for _ in range(2)]
    labels = rng.integers(NUM_CLASSES, size=batch_size)
    return views[0].astype(np.float32), views[1].astype(np.float32), labels


class TurnLog:
    """A log that times a training loop between two of its log calls, and pauses it at each call.

    At each call it prints the time per step as JSON and waits for a line of input, so that two
    processes can run in turns.
    """

    def __init__(self, num_steps: int, device: str):
        self.num_steps = num_steps
        self.device = device
        self.start = (0.0, 0.0)
        self.waited = False

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        now = (time.perf_counter(), time.process_time())
        wall, core = (1e3 * (b - a) / self.num_steps for a, b in zip(self.start, now, strict=True))
        record = {"ms": wall, "core": core / (os.cpu_count() or 1), "device": self.device}
        print(json.dumps(record), flush=True)  # the first record holds the compilation
        sys.stdin.readline()
        self.start = (time.perf_counter(), time.process_time())


def run_jax(task: str, arguments: argparse.Namespace) -> None:
    """Run jaxlabel's training loop; start each round of steps when a line of input comes in."""
    import jax
    from flax import nnx

    from jaxlabel import losses, nets, train
    from jaxlabel.log import NullLog
    from jaxlabel.losses.contrastive import nt_xent

    first, second, labels = make_batch(arguments.side, arguments.batch_size)

    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.encoder = nets.ConvNet(first.shape[1:], rngs, width=arguments.width)
            d = self.encoder.num_features
            wide = {"supervised": (d, NUM_CLASSES), "contrastive": (d, 2 * PROJECTION, PROJECTION)}
            self.head = nets.Dense(wide[task], rngs)

        def __call__(self, images: jax.Array) -> jax.Array:
            return self.head(self.encoder.features(images))

    def loss(model: Model, batch: Any) -> jax.Array:
        if task == "supervised":
            return losses.cross_entropy(model(batch[0]), batch[2]).mean()
        one, other = jax.numpy.split(model(jax.numpy.concatenate(batch[:2])), 2)
        return nt_xent(one, other, TEMPERATURE).mean()

    optimizer = train.warmup_cosine(LEARNING_RATE, 10**6)

    def step(state: Any, data: Any, key: jax.Array) -> tuple[Any, Any]:
        value, gradient = jax.value_and_grad(loss)(state[0], data)
        updates, optimizer_state = optimizer.update(gradient, state[1], state[0])
        return (train.optax.apply_updates(state[0], updates), optimizer_state), {"loss": value}

    class Log(TurnLog, NullLog):
        """The log that the training loop calls after each round of steps."""

    device = jax.devices()[0]
    model = train.init(Model, jax.random.key(0))
    train.loop(
        step, (model, optimizer.init(model)), (first, second, labels), jax.random.key(1),
        Log(arguments.num_steps, device.device_kind), name=task, steps_per_call=arguments.num_steps,
        num_steps=(arguments.num_rounds + 2) * arguments.num_steps,
    )  # fmt: skip


def run_torch(task: str, arguments: argparse.Namespace) -> None:
    """Run training steps in PyTorch; start each round of steps when a line of input comes in."""
    import torch
    from torch import nn
    from torch.nn import functional

    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    w = arguments.width
    widths = [4, 2 * w, 2 * w, 4 * w, 4 * w, 4 * w, 4 * w]
    layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
    for number, (i, o) in enumerate(itertools.pairwise(widths)):
        layers += [nn.AvgPool2d(2, ceil_mode=True)] if number in (2, 4) else []
        layers += [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.GroupNorm(8, o)]
        layers += [nn.LeakyReLU(0.1, inplace=True)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if task == "supervised":
        layers += [nn.Linear(4 * w, NUM_CLASSES)]
    else:
        layers += [nn.Linear(4 * w, 2 * PROJECTION), nn.ReLU(), nn.Linear(2 * PROJECTION, 64)]
    last = torch.channels_last
    model = nn.Sequential(*layers).to(device, memory_format=last)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, fused=True)
    batch = make_batch(arguments.side, arguments.batch_size)
    first, second = (
        torch.from_numpy(x).permute(0, 3, 1, 2).to(device, memory_format=last) for x in batch[:2]
    )
    labels = torch.from_numpy(batch[2]).to(device)
    pairs = torch.arange(2 * len(first), device=device).roll(len(first))

    def loss() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=gpu):
            if task == "supervised":
                return functional.cross_entropy(model(first), labels)
            rows = functional.normalize(model(torch.cat([first, second])))
            logits = (rows @ rows.T / TEMPERATURE).fill_diagonal_(-torch.inf)
            return functional.cross_entropy(logits, pairs)

    log = TurnLog(arguments.num_steps, torch.cuda.get_device_name() if gpu else "cpu")
    for round_ in range(1, arguments.num_rounds + 3):
        for _ in range(arguments.num_steps):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.step()
        log.scalars(task, round_, {"loss": value.item()})


class Child:
    """A process that runs the training steps of one library, one round for each call of `turn()`.

    `turn()` returns the time per step of the round.
    """

    def __init__(self, python: str, library: str, task: str, arguments: argparse.Namespace):
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in vars(arguments).items()]
        own = os.environ.get("XLA_FLAGS", "")
        self.process = subprocess.Popen(
            [python, __file__, *flags, f"--child={library}", f"--task={task}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "XLA_FLAGS": f"--xla_backend_optimization_level=2 {own}".strip()},
        )  # fmt: skip
        self.read()
        self.turn()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a child process ended: see above; is torch in --torch-python?")
        return dict(json.loads(line))

    def turn(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        time.sleep(0.3)  # the other library's idle threads spin for a while
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.read()


def quartiles(values: list[float]) -> list[float]:
    """Return the lower quartile, the median and the upper quartile of `values`."""
    return [round(value, 3) for value in statistics.quantiles(values, n=4, method="inclusive")]


def compare_libraries(task: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one task in both libraries in turns; return milliseconds per step and ratios."""
    pythons = {"jax": sys.executable, "torch": arguments.torch_python}
    pythons = {name: python for name, python in pythons.items() if python}
    children = {name: Child(python, name, task, arguments) for name, python in pythons.items()}
    rounds = [
        {name: child.turn() for name, child in children.items()}
        for _ in range(arguments.num_rounds)
    ]
    for child in children.values():
        child.process.kill()
        child.process.wait()

    def ratios(key: str) -> list[float]:
        return quartiles([round_["jax"][key] / round_["torch"][key] for round_ in rounds])

    def least(library: str, key: str) -> float:
        return round(min(round_[library][key] for round_ in rounds), 3)

    row = {
        "task": task, "devices": [rounds[0][name]["device"] for name in pythons],
        "jax_ms": least("jax", "ms"), "jax_core": least("jax", "core"),
        "jax_images_per_second": round(1e3 * arguments.batch_size / least("jax", "ms")),
    }  # fmt: skip
    if len(pythons) == 1:
        return row
    return row | {
        "torch_ms": least("torch", "ms"), "ratio": ratios("ms"),
        "torch_core": least("torch", "core"), "core_ratio": ratios("core"),
    }  # fmt: skip


def format_row(row: dict[str, Any]) -> str:
    """Format the result of one task as a line of text."""
    line = f"{row['task']:12} {row['jax_ms']:11.2f} {row['jax_images_per_second']:9d}"
    if "ratio" not in row:
        return line
    (low, mid, high), (_, core, _) = row["ratio"], row["core_ratio"]
    ratio = f"{mid:5.2f} ({low:.2f}-{high:.2f})"
    return (
        f"{line} {row['torch_ms']:11.2f}  {ratio}        {core:5.2f} "
        f"({row['jax_core']} / {row['torch_core']})"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        help="a Python that has torch; empty: jaxlabel alone",
    )
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--num-steps", type=int, default=10, help="in a round")
    parser.add_argument("--num-rounds", type=int, default=9)
    parser.add_argument("--child", default="", choices=("", "jax", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--task", default="", choices=("", *TASKS), help="empty: both")
    arguments = parser.parse_args()
    child, task = arguments.child, arguments.task
    del arguments.child, arguments.task
    if child:
        runs: dict[str, Callable[[str, argparse.Namespace], None]]
        runs = {"jax": run_jax, "torch": run_torch}
        runs[child](task, arguments)
        return 0
    print("task         jaxlabel ms  images/s  PyTorch ms  ratio (quartiles)    by processor time")
    rows = [compare_libraries(name, arguments) for name in TASKS if task in ("", name)]
    print(*map(format_row, rows), sep="\n")
    print(json.dumps({"machine": platform.machine(), **vars(arguments), "rows": rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
