"""The runs that still want a GPU: one button for whoever has one.

    python scripts/gpu_queue.py --list                               # what is left, in its order
    python scripts/gpu_queue.py --data_root=DIR --limit=540          # as many as fit 9 minutes
    python scripts/gpu_queue.py --preset=tiny --limit=120            # a dry run, on any machine
    python scripts/gpu_queue.py --merge=FILE                         # what came back, into results/

DIR holds a folder of four IDX files per data set (`mnist`, `fashion_mnist`, `overhead_mnist`) and
may hold `cifar10.npz`; a run whose data is missing is left for another time. Results are appended
to $OUT/gpu_queue.jsonl where OUT is set, else to experiments/results/gpu_queue.jsonl; what is in
either is not run again. What runs share is computed once (JAXLABEL_CACHE, else in --workdir). At
the limit the run in progress stops; it goes on from its checkpoints in --workdir. To a lent machine
that takes only the working tree carry `.carry`, git-ignored, with DIR and wheels of ml_collections,
SQLAlchemy and tensorboardX; jaxlabel need not be installed, JAXLABEL_COMMIT names the commit.
"""

import argparse
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "experiments" / "results" / "gpu_queue.jsonl"

OBJECTIVES = ("freematch", "fixmatch", "flexmatch", "softmatch", "mixmatch", "mean_teacher", "vat",
              "pseudo_label", "graph", "supervised")  # fmt: skip
QUERIES = ("random", "typiclust", "medoids", "probcover", "maxherding", "coreset", "margin",
           "entropy", "badge", "diverse")  # fmt: skip
LABELS = (40, 100, 500, 20, 250, 1000, 10)
# on the CPU small cells of gradients are ahead of pixels (semisup.md)
ORIENTED = {"network": "fine_gradient_conv", "width": 64, "weight_decay": 0.3}


class TimeIsOver(BaseException):
    """Raised by the alarm; no Exception, which a `try` of the run's own might take for its."""


class Job(NamedTuple):
    """Runs of one configuration, or one command.

    Attributes:
      config: a config file's name and variant, such as "semisup:mnist"; empty for a command.
      bar: what the issue asks for, for the table.
      command: arguments of a script that prints JSON in its last line.
    """

    name: str
    config: str = ""
    settings: Mapping[str, Any] = {}
    seeds: Iterable[int] = range(3)
    bar: str = ""
    command: tuple[str, ...] = ()


def jobs() -> Iterator[Job]:
    """The list, the bars of the issues first; it is taken from its head."""
    yield from flagship()
    step = ("scripts/bench_train_step.py", "--torch-python=", "--batch-size=4096")
    yield Job("training step, jaxlabel", command=step, bar="100,000 contrastive images/s")
    yield Job("semisup, fashion_mnist, 500 random", "semisup:fashion_mnist", {"budget": 500.0},
              bar="89%")  # fmt: skip
    yield Job("semisup, fashion_mnist, 500 random, fine_gradient_conv", "semisup:fashion_mnist",
              {"budget": 500.0} | ORIENTED, bar="89%")  # fmt: skip
    yield Job("sgan, mnist, 100", "sgan:mnist", {"budget": 100.0}, bar="98.5%")
    yield Job("scan, mnist, no labels", "scan:mnist", {"budget": 0.0}, range(5), "97%")
    yield Job("scan, fashion_mnist, no labels", "scan:fashion_mnist", {"budget": 0.0}, range(5),
              "68%")  # fmt: skip
    yield Job("scan, mnist, 10", "scan:mnist", {"budget": 10.0}, range(5), "96.5%")
    for labels, bar in ((10, "65%"), (20, "70%"), (40, "75%")):
        name = f"scan, fashion_mnist, {labels}"
        yield Job(name, "scan:fashion_mnist", {"budget": float(labels)}, bar=bar)
    yield Job("sgan, fashion_mnist, 400", "sgan:fashion_mnist", {"budget": 400.0}, bar="81.2%")
    for data, labels, query, space, bar in (
        ("fashion_mnist", 100, "medoids", "pca", "82%"),
        ("mnist", 20, "medoids", "graph", "98%"),
        ("overhead_mnist", 100, "random", "pca", "70%"),  # experiments/semisup.md says why
    ):
        chosen = {"budget": float(labels), "query": query, "space": space}
        yield Job(f"semisup, {data}, {labels} {query}", f"semisup:{data}", chosen, bar=bar)
    yield from grid()
    # as long as the paper trains: more than a short loan of a machine, with which its work is lost
    yield Job("scan, cifar10, no labels", "scan:cifar10", {"budget": 0.0}, range(1), "81.6, 88.3%")


def flagship() -> Iterator[Job]:
    """The flagship at fixed numbers of labels, and to a certified target."""
    bars = {"fashion_mnist": {300: "10 minutes", 400: "90%", 100: "84%", 500: "90%", 40: "78%",
                              10: "70%"},
            "mnist": {20: "98%"},
            "overhead_mnist": {100: "75%", 500: "88%", 40: "60%"}}  # fmt: skip
    for data, wanted in bars.items():
        for labels, bar in wanted.items():
            chosen = {"budget": float(labels)}
            yield Job(f"flagship, {data}, {labels}", f"flagship:{data}", chosen, range(5), bar)
    yield Job("flagship, fashion_mnist, 400, fine_gradient_conv", "flagship:fashion_mnist",
              {"budget": 400.0} | ORIENTED, range(5), "90%")  # fmt: skip
    certified = {"budget": 2000.0, "target": 0.9, "confidence": 0.95}
    yield Job("flagship, fashion_mnist, certified", "flagship:fashion_mnist", certified, range(5),
              "2,000 labels in all")  # fmt: skip


def grid() -> Iterator[Job]:
    """Objective x query x labels x data set: first one of each against the best, then the rest."""
    pairs = [("freematch", query) for query in QUERIES]
    pairs += [(objective, "random") for objective in OBJECTIVES]
    pairs += itertools.product(OBJECTIVES, QUERIES)
    for objective, query in dict.fromkeys(pairs):
        for labels, data in itertools.product(LABELS, ("fashion_mnist", "mnist", "overhead_mnist")):
            chosen = {"objective": objective, "query": query, "budget": float(labels)}
            chosen |= {"steps": 5000, "space": "graph", "graph_targets": 0.0, "contrast_steps": 0}
            yield Job(f"grid, {data}, {objective}, {query}, {labels}", f"semisup:{data}", chosen)


def main() -> None:
    """Runs what is left until the time is over, and prints the table of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_root", default="", help="a folder per data set; tiny: digits")
    parser.add_argument("--preset", default="gpu", choices=("tiny", "cpu", "gpu"))
    parser.add_argument("--limit", type=float, default=540.0, help="seconds in all")
    parser.add_argument("--only", default="", help="jobs whose name holds this")
    parser.add_argument("--workdir", default="runs/gpu_queue", help="checkpoints are kept there")
    parser.add_argument("--list", action="store_true", help="what is left; nothing runs")
    parser.add_argument("--merge", default="", help="a file of lines to add to the published ones")
    options = parser.parse_args()
    if options.merge:
        return merge(Path(options.merge))
    sys.path.insert(0, str(ROOT))
    from jaxlabel.cli.environment import settle

    settle(os.environ)
    os.environ.setdefault("JAXLABEL_CACHE", str(Path(options.workdir).resolve() / "cache"))
    out = Path(os.environ["OUT"]) / PUBLISHED.name if "OUT" in os.environ else PUBLISHED
    if options.preset != "gpu" and out == PUBLISHED:
        out = Path(options.workdir) / f"{options.preset}.jsonl"
    left = waiting([out, PUBLISHED], options.preset)
    left = [pair for pair in left if options.only in pair[0].name]
    if options.list:
        print(*(f"{job.name}, seed {seed}" for job, seed in left), f"{len(left)} left", sep="\n")
        return None
    work(at_hand(left, options), options, out)
    print(table([out, PUBLISHED]))
    return None


def waiting(paths: Iterable[Path], preset: str) -> list[tuple[Job, int]]:
    """The jobs and seeds that no file has a line of; within a recipe all first seeds come first."""
    done = {(line["queue"], line["seed"], line["preset"]) for line in lines(paths)}
    left: list[tuple[Job, int]] = []
    for _, group in itertools.groupby(jobs(), lambda job: job.name.partition(",")[0]):
        pairs = [(job, seed) for job in group for seed in (job.seeds if job.config else range(1))]
        pairs.sort(key=lambda pair: pair[1])
        left += [(job, seed) for job, seed in pairs if (job.name, seed, preset) not in done]
    return left


def work(left: list[tuple[Job, int]], options: argparse.Namespace, out: Path) -> None:
    """Runs one after the other; each line is written when it is known."""
    deadline = time.monotonic() + options.limit
    signal.signal(signal.SIGALRM, _time_is_over)
    for job, seed in left:
        seconds = deadline - time.monotonic()
        if seconds < 5:
            break
        print(f"--- {job.name}, seed {seed}, {seconds:.0f} s left", flush=True)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            line = command(job) if job.command else run(job, seed, options)
        except TimeIsOver:
            print("the time is over: the run goes on from its checkpoints next time")
            break
        except Exception as error:  # one that fails must not keep the others from their turn
            print(f"{job.name}: {type(error).__name__}: {error}", flush=True)
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        append(out, line | {"queue": job.name, "seed": seed, "preset": options.preset,
                            "bar": job.bar})  # fmt: skip


def run(job: Job, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """The result of one run, with nothing of where things are on this machine."""
    from jaxlabel.experiment import configfile
    from jaxlabel.experiment import run as experiment

    file, _, variant = job.config.partition(":")
    path = configfile.find(f"configs/{file}.py")
    config = configfile.load(path, f":{variant}", options.preset)
    settings = dict(job.settings)
    if options.preset == "tiny":
        settings.pop("steps", None)
    place = where(variant, options)
    config = dataclasses.replace(config, **settings, seed=seed, data=place, map="none")
    slug = "".join(c if c.isalnum() else "-" for c in job.name)
    workdir = Path(options.workdir) / f"{options.preset}-{slug}-s{seed}"
    result = experiment.run(config, workdir)
    print(experiment.summary(result, workdir))
    named = f"idx:DATA_ROOT/{variant}" if options.data_root else place
    shown = dict(result["config"]) | {"store": "", "account": "", "data": named}
    return {key: value for key, value in result.items() if key != "ledger"} | {"config": shown}


def at_hand(left: list[tuple[Job, int]], options: argparse.Namespace) -> list[tuple[Job, int]]:
    """The runs whose data is here; what is missing is said once."""
    variants = {job.config: job.config.partition(":")[2] for job, _ in left}
    missing = {config for config, name in variants.items() if config and not where(name, options)}
    for config in sorted(missing):
        print(f"no data for {config}: --data_root=DIR holds a folder per data set")
    return [(job, seed) for job, seed in left if job.config not in missing]


def where(variant: str, options: argparse.Namespace) -> str:
    """The data's specification; empty where there is none."""
    if not options.data_root and options.preset == "tiny":
        return "digits"
    folder = Path(options.data_root or ".") / variant
    if folder.is_dir():
        return f"idx:{folder}"
    if (archive := folder.with_suffix(".npz")).is_file():
        return f"npz:{archive}"
    return ""


def command(job: Job) -> dict[str, Any]:
    """What a script's last line says."""
    started = time.monotonic()
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"  # it need not be installed
    done = subprocess.run([sys.executable, *job.command], cwd=ROOT, stdout=subprocess.PIPE,
                          env=os.environ | {"PYTHONPATH": path}, text=True, check=True)  # fmt: skip
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return {"said": said, "seconds": round(time.monotonic() - started, 2)}


def table(paths: Iterable[Path]) -> str:
    """A Markdown table: a row per job, over its seeds."""
    from jaxlabel.runlog.results import mean_interval

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines(paths):
        groups.setdefault((line["queue"], line["preset"]), []).append(line)
    rows = ["| run | preset | bar | accuracy | worst | n | labels | seconds | device |",
            "|---|---|---|---:|---:|---:|---:|---:|---|"]  # fmt: skip
    for (name, preset), group in groups.items():
        found = [100 * value for line in group if (value := accuracy(line)) is not None]
        text, worst = "", ""
        if found:
            mean, low, high = mean_interval(found)
            worst = f"{min(found):.2f}"
            text = f"{mean:.2f}"
            if low is not None and high is not None:
                text += f" ({max(low, 0):.2f} to {min(high, 100):.2f})"
        spent = "/".join(dict.fromkeys(str(line.get("labels_spent", "")) for line in group))
        seconds = max(line["seconds"] + line.get("seconds_shared", 0.0) for line in group)
        device = ", ".join(dict.fromkeys(str(line.get("device", "")) for line in group))
        bar = group[0]["bar"]
        rows.append(f"| {name} | {preset} | {bar} | {text} | {worst} | {len(group)} | {spent} | "
                    f"{seconds:.0f} | {device} |")  # fmt: skip
    return "\n".join(rows)


def accuracy(line: Mapping[str, Any]) -> float | None:
    """The test accuracy, or that of clusters matched to classes."""
    value = line.get("test_accuracy")
    return line.get("matched_accuracy") if value is None else value


def lines(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """All results so far, each once."""
    files = [path.read_text() for path in dict.fromkeys(paths) if path.is_file()]
    texts = dict.fromkeys(itertools.chain.from_iterable(map(str.splitlines, files)))
    return [json.loads(text) for text in texts if text.endswith("}")]


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Adds a line to the file, at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.is_file() and not path.read_bytes().endswith(b"\n")  # by a machine taken away
    with path.open("a") as file:
        file.write("\n" * torn + json.dumps(line, sort_keys=True) + "\n")


def merge(path: Path) -> None:
    """Adds what came back from another machine to the published results."""
    known = lines([PUBLISHED])
    fresh = [line for line in lines([path]) if line not in known and line["preset"] == "gpu"]
    for line in fresh:
        append(PUBLISHED, line)
    print(f"{len(fresh)} lines added to {PUBLISHED.relative_to(ROOT)}")


def _time_is_over(signum: int, frame: Any) -> None:
    raise TimeIsOver


if __name__ == "__main__":
    main()
