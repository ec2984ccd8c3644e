"""Run the queue of experiments that need a GPU, as many as fit in a time limit.

    python scripts/gpu_queue.py --list                               # list the runs that are left
    python scripts/gpu_queue.py --data_root=DIR --limit=540          # run for up to 9 minutes
    python scripts/gpu_queue.py --preset=tiny --limit=120            # a test run, on any machine
    python scripts/gpu_queue.py --merge=FILE                         # add FILE to the results

DIR contains a folder of four IDX files per data set (`mnist`, `fashion_mnist`, `overhead_mnist`)
and optionally `cifar10.npz`; runs without data are skipped. Results are appended to
$OUT/gpu_queue.jsonl if OUT is set, else to experiments/results/gpu_queue.jsonl; runs with a result
in either are not repeated. Shared features are cached (in JAXLABEL_CACHE, else in --workdir). At
the limit the current run stops; the next call resumes it from its checkpoints in --workdir. For a
remote machine that gets only the working tree, put DIR and wheels of ml_collections, SQLAlchemy and
tensorboardX into the git-ignored `.carry`, and set JAXLABEL_COMMIT; jaxlabel need not be installed.
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
# on the CPU, oriented gradients in small cells were better than pixels (experiments/semisup.md)
ORIENTED = {"network": "fine_gradient_conv", "width": 64, "weight_decay": 0.3}


class TimeIsOver(BaseException):
    """An error raised at the time limit; no `Exception`, so that runs do not catch it."""


class Job(NamedTuple):
    """One experiment of the queue: runs of one configuration, or one command.

    Attributes:
      config: name and variant of a config file, such as "semisup:mnist"; empty for a command.
      settings: settings that differ from the config file.
      bar: the required result, shown in the table.
      command: arguments of a script that prints JSON in its last line.
    """

    name: str
    config: str = ""
    settings: Mapping[str, Any] = {}
    seeds: Iterable[int] = range(3)
    bar: str = ""
    command: tuple[str, ...] = ()


def jobs() -> Iterator[Job]:
    """Yield all jobs in the order in which they run, those with a required result first."""
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
        ("overhead_mnist", 100, "random", "pca", "70%"),  # experiments/semisup.md has the reason
    ):
        chosen = {"budget": float(labels), "query": query, "space": space}
        yield Job(f"semisup, {data}, {labels} {query}", f"semisup:{data}", chosen, bar=bar)
    yield from grid()
    # trains as long as the paper, which takes more than one session on a remote machine: so last
    yield Job("scan, cifar10, no labels", "scan:cifar10", {"budget": 0.0}, range(1), "81.6, 88.3%")


def flagship() -> Iterator[Job]:
    """Yield the flagship's jobs: fixed numbers of labels, and a certified target."""
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
    """Yield the grid of objective x query x labels x data set, the main comparisons first."""
    pairs = [("freematch", query) for query in QUERIES]
    pairs += [(objective, "random") for objective in OBJECTIVES]
    pairs += itertools.product(OBJECTIVES, QUERIES)
    for objective, query in dict.fromkeys(pairs):
        for labels, data in itertools.product(LABELS, ("fashion_mnist", "mnist", "overhead_mnist")):
            chosen = {"objective": objective, "query": query, "budget": float(labels)}
            chosen |= {"steps": 5000, "space": "graph", "graph_targets": 0.0, "contrast_steps": 0}
            yield Job(f"grid, {data}, {objective}, {query}, {labels}", f"semisup:{data}", chosen)


def main() -> None:
    """Run the jobs that are left until the time limit, and print a table of all results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_root", default="", help="folder of all data; tiny: uses digits")
    parser.add_argument("--preset", default="gpu", choices=("tiny", "cpu", "gpu"), help="size")
    parser.add_argument("--limit", type=float, default=540.0, help="time limit in seconds")
    parser.add_argument("--only", default="", help="run only jobs whose name contains this")
    parser.add_argument("--workdir", default="runs/gpu_queue", help="folder for checkpoints")
    parser.add_argument("--list", action="store_true", help="list the runs that are left and exit")
    parser.add_argument("--merge", default="", help="add this file's results to the published ones")
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
    work(with_data(left, options), options, out)
    print(table([out, PUBLISHED]))
    return None


def waiting(paths: Iterable[Path], preset: str) -> list[tuple[Job, int]]:
    """Return the jobs and seeds without a result; within a recipe, first seeds come first."""
    done = {(line["queue"], line["seed"], line["preset"]) for line in lines(paths)}
    left: list[tuple[Job, int]] = []
    for _, group in itertools.groupby(jobs(), lambda job: job.name.partition(",")[0]):
        pairs = [(job, seed) for job in group for seed in (job.seeds if job.config else range(1))]
        pairs.sort(key=lambda pair: pair[1])
        left += [(job, seed) for job, seed in pairs if (job.name, seed, preset) not in done]
    return left


def work(left: list[tuple[Job, int]], options: argparse.Namespace, out: Path) -> None:
    """Run jobs one after another until the time limit, and write each result when it is ready."""
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
            print("the time limit is reached: the next call resumes this run from its checkpoints")
            break
        except Exception as error:  # a failed job must not prevent the others from running
            print(f"{job.name}: {type(error).__name__}: {error}", flush=True)
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        append(out, line | {"queue": job.name, "seed": seed, "preset": options.preset,
                            "bar": job.bar})  # fmt: skip


def run(job: Job, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run one seed of a job and return its result, without paths of this machine."""
    from jaxlabel.experiment import configfile
    from jaxlabel.experiment import run as experiment

    file, _, variant = job.config.partition(":")
    path = configfile.find(f"configs/{file}.py")
    config = configfile.load(path, f":{variant}", options.preset)
    settings = dict(job.settings)
    if options.preset == "tiny":
        settings.pop("steps", None)
    source = data_source(variant, options)
    config = dataclasses.replace(config, **settings, seed=seed, data=source, map="none")
    slug = "".join(c if c.isalnum() else "-" for c in job.name)
    workdir = Path(options.workdir) / f"{options.preset}-{slug}-s{seed}"
    result = experiment.run(config, workdir)
    print(experiment.summary(result, workdir))
    named = f"idx:DATA_ROOT/{variant}" if options.data_root else source
    shown = dict(result["config"]) | {"store": "", "account": "", "data": named}
    return {key: value for key, value in result.items() if key != "ledger"} | {"config": shown}


def with_data(left: list[tuple[Job, int]], options: argparse.Namespace) -> list[tuple[Job, int]]:
    """Return the runs whose data exists; print one line for each config without data."""
    variants = {job.config: job.config.partition(":")[2] for job, _ in left}
    missing = {each for each, name in variants.items() if each and not data_source(name, options)}
    for config in sorted(missing):
        print(f"no data for {config}: put a folder with its data into --data_root=DIR")
    return [(job, seed) for job, seed in left if job.config not in missing]


def data_source(variant: str, options: argparse.Namespace) -> str:
    """Return the value of config.data for a data set, or an empty string if its data is missing."""
    if not options.data_root and options.preset == "tiny":
        return "digits"
    folder = Path(options.data_root or ".") / variant
    if folder.is_dir():
        return f"idx:{folder}"
    if (archive := folder.with_suffix(".npz")).is_file():
        return f"npz:{archive}"
    return ""


def command(job: Job) -> dict[str, Any]:
    """Run a job's script and return the JSON of its last output line and the seconds taken."""
    started = time.monotonic()
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"  # jaxlabel, if not installed
    done = subprocess.run([sys.executable, *job.command], cwd=ROOT, stdout=subprocess.PIPE,
                          env=os.environ | {"PYTHONPATH": path}, text=True, check=True)  # fmt: skip
    output = json.loads(done.stdout.strip().splitlines()[-1])
    return {"said": output, "seconds": round(time.monotonic() - started, 2)}


def table(paths: Iterable[Path]) -> str:
    """Return a Markdown table with one row per job, averaged over its seeds."""
    from jaxlabel.runlog.results import mean_interval

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines(paths):
        groups.setdefault((line["queue"], line["preset"]), []).append(line)
    rows = ["| run | preset | bar | accuracy | worst | n | labels | seconds | device |",
            "|---|---|---|---:|---:|---:|---:|---:|---|"]  # fmt: skip
    for (name, preset), group in groups.items():
        values = [100 * value for line in group if (value := accuracy(line)) is not None]
        text, worst = "", ""
        if values:
            mean, low, high = mean_interval(values)
            worst = f"{min(values):.2f}"
            text = f"{mean:.2f}"
            if low is not None and high is not None:
                text += f" ({max(low, 0):.2f} to {min(high, 100):.2f})"
        spent = "/".join(dict.fromkeys(str(line.get("labels_spent", "")) for line in group))
        seconds = max(line["seconds"] + line.get("seconds_shared", 0.0) for line in group)
        device = ", ".join(dict.fromkeys(str(line.get("device", "")) for line in group))
        rows.append(f"| {name} | {preset} | {group[0]['bar']} | {text} | {worst} | {len(group)} | "
                    f"{spent} | {seconds:.0f} | {device} |")  # fmt: skip
    return "\n".join(rows)


def accuracy(line: Mapping[str, Any]) -> float | None:
    """Return a result's test accuracy, or the accuracy of clusters matched to classes."""
    value = line.get("test_accuracy")
    return line.get("matched_accuracy") if value is None else value


def lines(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read all result lines of the files, without duplicates and incomplete lines."""
    files = [path.read_text() for path in dict.fromkeys(paths) if path.is_file()]
    texts = dict.fromkeys(itertools.chain.from_iterable(map(str.splitlines, files)))
    return [json.loads(text) for text in texts if text.endswith("}")]


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Append a result to the file as one line of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.is_file() and not path.read_bytes().endswith(b"\n")  # a machine stopped in a line
    with path.open("a") as file:
        file.write("\n" * torn + json.dumps(line, sort_keys=True) + "\n")


def merge(path: Path) -> None:
    """Add the results in a file from another machine, if of preset gpu, to the published ones."""
    known = lines([PUBLISHED])
    fresh = [line for line in lines([path]) if line not in known and line["preset"] == "gpu"]
    for line in fresh:
        append(PUBLISHED, line)
    print(f"{len(fresh)} lines added to {PUBLISHED.relative_to(ROOT)}")


def _time_is_over(signum: int, frame: Any) -> None:
    raise TimeIsOver


if __name__ == "__main__":
    main()
