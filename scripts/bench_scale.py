"""Measure how the cost of every stage of a run grows with the number of images.

    python scripts/bench_scale.py --data=DIR                        # 1,000 to 100,000 images
    python scripts/bench_scale.py --data=DIR --largest=1000000      # and a million
    python scripts/bench_scale.py --data=DIR --stages=features,neighbours --out=scale.jsonl
    python scripts/bench_scale.py --out=scale.jsonl --stages= --figure=scale.png    # draw it

DIR is a folder in MNIST's IDX format, such as MNIST or Fashion-MNIST. Its training images are
deformed at random (`jaxlabel.augment`) until there are enough of them. Each stage runs in a process
of its own and leaves what later stages need in a temporary folder, about 1.5 kB per image. A stage
that takes more than `--limit` seconds is stopped, and larger sizes of it are left out.

Measured are the processor seconds of all threads, which other programs on the machine disturb less
than the time on the clock, and the peak memory of the process, with Python and JAX (about 0.3 GB)
and what the stage was given. If the first call took less than 20 processor seconds, the second call
is measured, so that compilation does not count. The exponent is that of the last two sizes: 1 for
linear, 2 for quadratic growth. Every measurement is appended to the file `--out`; stages and sizes
that it has are not measured again. The last line of the output is JSON.
"""

import argparse
import json
import math
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scale_stages import STAGES, make_images

BRIEF = 20.0  # processor seconds below which a second call is measured


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Run a stage in this process and return its processor seconds, seconds and peak memory."""
    run = STAGES[name](folder)
    used = 0.0
    for _ in range(2):
        start, processor = time.perf_counter(), time.process_time()
        run()
        seconds, used = time.perf_counter() - start, time.process_time() - processor
        if used > BRIEF:
            break
    unit = 1 if platform.system() == "Darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return {"processor": round(used, 3), "seconds": round(seconds, 3), "gigabytes": round(peak, 3)}


def in_child(arguments: list[str], limit: float) -> dict[str, Any]:
    """Run this script in a child process and return what it prints, or why it printed nothing."""
    command = [sys.executable, __file__, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped after {limit:.0f} s"}
    if done.returncode:
        errors = re.findall(r"^[\w.]+(?:Error|Exceeded): .*", done.stderr, re.MULTILINE)
        return {"failed": (errors or [f"exit code {done.returncode}"])[-1][:200]}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def exponent(rows: list[dict[str, Any]]) -> float | None:
    """Return the exponent of growth between the last two sizes, or None if there is only one."""
    good = [row for row in rows if row.get("processor")][-2:]
    if len(good) < 2:
        return None
    growth = math.log(good[1]["processor"] / good[0]["processor"])
    return round(growth / math.log(good[1]["images"] / good[0]["images"]), 2)


def draw(results: dict[str, list[dict[str, Any]]], file: Path) -> None:
    """Draw the processor seconds of every stage over the number of images, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="images",
                              ylabel="processor seconds")  # fmt: skip
    for number, (name, rows) in enumerate(results.items()):
        good = [row for row in rows if "processor" in row]
        axes.plot([row["images"] for row in good], [row["processor"] for row in good],
                  "osv^D"[number // 10] + "-", label=f"{name} ({exponent(rows)})")  # fmt: skip
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize="small", title="stage (exponent)")
    figure.savefig(file, dpi=110)


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the results as a table in Markdown: a row per stage, a column per size."""
    sizes = sorted({row["images"] for rows in results.values() for row in rows})
    lines = ["| stage | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent |",
             "|---|" + "---|" * (len(sizes) + 1)]  # fmt: skip
    for name, rows in results.items():
        found = {row["images"]: row for row in rows}
        cells = [
            f"{row['processor']:.2f} s, {row['gigabytes']:.2f} GB" if "processor" in row
            else row.get("failed", "not run")
            for row in (found.get(size, {}) for size in sizes)
        ]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {exponent(rows)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure the stages at all sizes, print the table and the JSON, and return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="a folder in MNIST's IDX format")
    parser.add_argument("--smallest", type=int, default=1_000, help="the first number of images")
    parser.add_argument("--largest", type=int, default=100_000, help="the last number of images")
    parser.add_argument("--stages", default=",".join(STAGES), help="which stages, with commas")
    parser.add_argument("--limit", type=float, default=600, help="seconds for a stage at a size")
    parser.add_argument("--folder", default="", help="keep the images and arrays in this folder")
    parser.add_argument("--out", default="", help="append the measurements to this file of JSON")
    parser.add_argument("--figure", default="", help="draw the table as a picture, such as PNG")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.child:
        stage, folder = flags.child[0], Path(flags.child[1])
        if stage.isdecimal():
            make_images(flags.data, int(stage), folder)
            print("{}")
        else:
            print(json.dumps(measure(stage, folder)))
        return 0
    stages = [stage for stage in flags.stages.split(",") if stage]
    if unknown := set(stages) - set(STAGES):
        parser.error(f"no stage {min(unknown)!r}: it is one of {', '.join(STAGES)}")
    if stages and not flags.data:
        parser.error("--data=DIR is needed, a folder in MNIST's IDX format")
    with tempfile.TemporaryDirectory() as temporary:
        results = run_all(flags, stages, Path(flags.folder or temporary))
    print(table(results))
    if flags.figure:
        draw(results, Path(flags.figure))
    print(json.dumps({"machine": platform.machine(), "cores": os.cpu_count(), "results": results}))
    return 0


def run_all(
    flags: argparse.Namespace, stages: list[str], place: Path
) -> dict[str, list[dict[str, Any]]]:
    """Run stages at all sizes, each in a child process, and return old and new measurements."""
    rows = []
    if flags.out and Path(flags.out).exists():
        rows = [json.loads(line) for line in Path(flags.out).read_text().splitlines()]
    size = flags.smallest
    while stages and size <= flags.largest:
        folder = place / str(size)
        if not (folder / "train-images-idx3-ubyte").exists():
            folder.mkdir(parents=True, exist_ok=True)
            made = in_child([f"--data={flags.data}", "--child", str(size), str(folder)], 3600)
            if made:
                raise SystemExit(f"the images cannot be made: {made['failed']}")
        for name in stages:
            own = [row for row in rows if row["stage"] == name and row["images"] <= size]
            if any("failed" in row or row["images"] == size for row in own):
                continue
            measured = in_child(["--child", name, str(folder)], flags.limit)
            rows.append({"stage": name, "images": size, **measured})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            if flags.out:
                with Path(flags.out).open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
        size *= 10
    rows.sort(key=lambda row: row["images"])
    results = {name: [row for row in rows if row["stage"] == name] for name in STAGES}
    return {name: found for name, found in results.items() if found}


if __name__ == "__main__":
    sys.exit(main())
