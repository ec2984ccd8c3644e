"""Time a training step of jaxlabel, with its CPU kernels and without, and of PyTorch.

    python scripts/bench_train_step.py --torch-python=ENV/bin/python    # an environment with torch
    python scripts/bench_train_step.py                                  # both here: jaxlabel[bench]
    python scripts/bench_train_step.py --torch-python= # jaxlabel alone

Supervised: cross-entropy on a batch. Contrastive: NT-Xent on two views of it, so twice the images
go through the network. Both on ConvNet with AdamW; the images are drawn beforehand, so augmentation
is not timed. FreeMatch: the flagship's whole step, with augmentation, on 64 labelled and 192
unlabelled images. SCAN: a clustering step on each image and a neighbour. SGAN: the updates of the
discriminator and the generator. Autoencoder: the convolutional one. These four include their
augmentation, and jaxlabel alone has them. jaxlabel steps through `train.loop`. PyTorch runs
eagerly, channels last, with its fused AdamW, in float32 and in bfloat16. On a GPU all compute in
bfloat16.

Each competitor lives in a child process of its own; they take turns, so that another load on the
machine strikes all of them. A ratio is jaxlabel's time over the other's, the median of the rounds
with their quartiles. "core" is processor time over the number of cores, which another load disturbs
less. The last line is JSON.
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
from collections.abc import Mapping
from typing import Any

import numpy as np

TASKS = ("supervised", "contrastive", "freematch", "scan", "sgan", "autoencoder")
TORCH_TASKS = TASKS[:2]
# whose process it is, and what its environment adds
COMPETITORS = {
    "jaxlabel": ("jax", {"JAXLABEL_CPU_KERNELS": "auto"}),
    "jaxlabel, bfloat16": ("jax", {"JAXLABEL_CPU_KERNELS": "bfloat16"}),
    "jaxlabel, XLA": ("jax", {"JAXLABEL_CPU_KERNELS": "xla"}),
    "PyTorch float32": ("torch", {"BENCH_BFLOAT16": ""}),
    "PyTorch bfloat16": ("torch", {"BENCH_BFLOAT16": "1"}),
}
NUM_CLASSES = 10
TEMPERATURE = 0.2
LEARNING_RATE = 1e-3


def made(side: int, batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two views of a batch of smooth blobs, float32 in [0, 1], and labels."""
    rng = np.random.default_rng(0)
    rows = np.linspace(-1, 1, side, dtype=np.float32)
    centres = rng.uniform(-0.5, 0.5, (2, batch_size, 1, 1, 1)).astype(np.float32)
    blobs = np.exp(-4 * ((rows[:, None, None] - centres[0]) ** 2 + (rows[None, :, None]) ** 2))
    views = [np.clip(blobs + rng.normal(0, 0.1, blobs.shape), 0, 1) for _ in range(2)]
    labels = rng.integers(NUM_CLASSES, size=batch_size)
    return views[0].astype(np.float32), views[1].astype(np.float32), labels


class Turns:
    """A log that waits for its turn: between two of the loop's calls it times and reports."""

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
    """Steps of jaxlabel's loop, a round each time that a line comes in."""
    import bench_tasks
    import jax

    from jaxlabel import train
    from jaxlabel.log import NullLog

    class Log(Turns, NullLog):
        """The loop's log."""

    width, arrays = arguments.width, made(arguments.side, arguments.batch_size)
    step, state, data = bench_tasks.TASKS[task](width, *arrays)
    log = Log(arguments.num_steps, jax.devices()[0].device_kind)
    num_steps = (arguments.num_rounds + 2) * arguments.num_steps
    train.loop(
        step, state, data, jax.random.key(1), log, name=task, num_steps=num_steps,
        steps_per_call=arguments.num_steps,
    )  # fmt: skip


def run_torch(task: str, arguments: argparse.Namespace) -> None:
    """The same steps by PyTorch."""
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
        layers += [nn.Linear(4 * w, 128), nn.ReLU(), nn.Linear(128, 64)]
    last = torch.channels_last
    model = nn.Sequential(*layers).to(device, memory_format=last)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, fused=True)
    made_here = made(arguments.side, arguments.batch_size)
    first, second = (
        torch.from_numpy(x).permute(0, 3, 1, 2).to(device, memory_format=last)
        for x in made_here[:2]
    )
    labels = torch.from_numpy(made_here[2]).to(device)
    pairs = torch.arange(2 * len(first), device=device).roll(len(first))

    def loss() -> torch.Tensor:
        with torch.autocast(
            device.type, torch.bfloat16, enabled=gpu or bool(os.environ.get("BENCH_BFLOAT16"))
        ):
            if task == "supervised":
                return functional.cross_entropy(model(first), labels)
            rows = functional.normalize(model(torch.cat([first, second])))
            logits = (rows @ rows.T / TEMPERATURE).fill_diagonal_(-torch.inf)
            return functional.cross_entropy(logits, pairs)

    log = Turns(arguments.num_steps, torch.cuda.get_device_name() if gpu else "cpu")
    for round_ in range(1, arguments.num_rounds + 3):
        for _ in range(arguments.num_steps):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.step()
        log.scalars(task, round_, {"loss": value.item()})


class Child:
    """A library's process; `turn()` returns what its next round took."""

    def __init__(self, name: str, task: str, arguments: argparse.Namespace):
        library, environment = COMPETITORS[name]
        python = sys.executable if library == "jax" else arguments.torch_python
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in vars(arguments).items()]
        own = os.environ.get("XLA_FLAGS", "")
        flag = {"XLA_FLAGS": f"--xla_backend_optimization_level=2 {own}".strip()}
        self.process = subprocess.Popen(
            [python, __file__, *flags, f"--child={library}", f"--task={task}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **flag, **environment},
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


def spread(values: list[float]) -> list[float]:
    """Return the lower quartile, the median and the upper quartile."""
    return [round(value, 3) for value in statistics.quantiles(values, n=4, method="inclusive")]


def leave_out_bfloat16() -> None:
    """Leave jaxlabel in bfloat16 out of the comparison, and say why, if it can't compute so here.

    A process of its own finds out, because this one must not take the device's memory.
    """
    code = "from jaxlabel.nets import native; native.select('bfloat16')"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if tried.returncode:
        del COMPETITORS["jaxlabel, bfloat16"]
        print(f"jaxlabel in bfloat16 is left out: {tried.stderr.strip().splitlines()[-1]}")


def compare(task: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row for each competitor: milliseconds, and jaxlabel's time over its time."""
    names = [
        name for name, (library, _) in COMPETITORS.items()
        if library == "jax" or (arguments.torch_python and task in TORCH_TASKS)
    ]  # fmt: skip
    children = {name: Child(name, task, arguments) for name in names}
    rounds = [
        {name: child.turn() for name, child in children.items()}
        for _ in range(arguments.num_rounds)
    ]
    for child in children.values():
        child.process.kill()
        child.process.wait()

    def row(name: str) -> dict[str, Any]:
        found = {"task": task, "name": name, "device": rounds[0][name]["device"]}
        for key in ("ms", "core"):
            ratios = [round_["jaxlabel"][key] / round_[name][key] for round_ in rounds]
            found[key] = round(min(round_[name][key] for round_ in rounds), 3)
            found[f"{key}_ratio"] = spread(ratios)
        return found

    return [row(name) for name in names]


def text(row: dict[str, Any]) -> str:
    """Return a row for people."""
    ratios = [f"{mid:5.2f} ({low:.2f}-{high:.2f})"
              for low, mid, high in (row["ms_ratio"], row["core_ratio"])]  # fmt: skip
    numbers = f"{row['ms']:9.2f} {row['core']:9.2f}  {ratios[0]}  {ratios[1]}"
    return f"{row['task']:12} {row['name']:17} {numbers}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="empty: jaxlabel alone")
    for name, default in (("batch-size", 256), ("side", 28), ("width", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--num-steps", type=int, default=10, help="in a round")
    parser.add_argument("--num-rounds", type=int, default=9)
    parser.add_argument("--child", default="", choices=("", "jax", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--task", default="", choices=("", *TASKS), help="empty: all")
    arguments = parser.parse_args()
    child, task = arguments.child, arguments.task
    del arguments.child, arguments.task
    if child:
        runs = {"jax": run_jax, "torch": run_torch}
        runs[child](task, arguments)
        return 0
    leave_out_bfloat16()
    print(
        "task         competitor         least ms   core ms  jaxlabel over it   by processor time"
    )
    rows = []
    for name in [name for name in TASKS if task in ("", name)]:
        rows += (found := compare(name, arguments))
        print(*map(text, found), sep="\n", flush=True)
    print(json.dumps({"machine": platform.machine(), **vars(arguments), "rows": rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
