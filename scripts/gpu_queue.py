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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gpu_jobs import Job, all_jobs

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "experiments" / "results" / "gpu_queue.jsonl"


class TimeIsOver(BaseException):
    """An error raised at the time limit.

    It is not an `Exception`, so that code inside a run that catches all exceptions does not catch
    it.
    """


def main() -> None:
    """Run the queued experiments that have no result yet, then print a table of all results.

    Running ends at the time limit. The command line has the options.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_root", default="", help="folder of all data; tiny: uses digits")
    parser.add_argument("--preset", default="gpu", choices=("tiny", "cpu", "gpu"), help="size")
    parser.add_argument("--limit", type=float, default=540.0, help="time limit in seconds")
    parser.add_argument(
        "--only", default="", help="run only the job of this name, else all whose name contains it"
    )
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
    left = runs_left([out, PUBLISHED], options.preset)
    left = only_named(left, options.only)
    if options.list:
        print(*(f"{job.name}, seed {seed}" for job, seed in left), f"{len(left)} left", sep="\n")
        return None
    run_all(runs_with_data(left, options), options, out)
    print(results_table([out, PUBLISHED]))
    return None


def runs_left(paths: Iterable[Path], preset: str) -> list[tuple[Job, int]]:
    """Return the experiments and seeds that have no result in the files `paths`.

    Among experiments of the same recipe, the first seed of every experiment comes before the
    second.
    """
    done = current_results(paths)
    left: list[tuple[Job, int]] = []
    for _, group in itertools.groupby(all_jobs(), lambda job: job.name.partition(",")[0]):
        pairs = [(job, seed) for job in group for seed in (job.seeds if job.config else range(1))]
        pairs.sort(key=lambda pair: pair[1])
        left += [(job, seed) for job, seed in pairs if (job.name, seed, preset) not in done]
    return left


def only_named(left: list[tuple[Job, int]], name: str) -> list[tuple[Job, int]]:
    """Return the runs of the experiment `name`; if there is none, those whose name contains it."""
    is_whole = any(job.name == name for job in all_jobs())
    return [pair for pair in left if (pair[0].name == name if is_whole else name in pair[0].name)]


def run_all(left: list[tuple[Job, int]], options: argparse.Namespace, out: Path) -> None:
    """Run experiments in turn until the time limit; append each result to the file `out`."""
    deadline = time.monotonic() + options.limit
    signal.signal(signal.SIGALRM, _time_is_over)
    for job, seed in left:
        seconds = deadline - time.monotonic()
        if seconds < 5:
            break
        print(f"--- {job.name}, seed {seed}, {seconds:.0f} s left", flush=True)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            line = run_script(job) if job.command else run_job(job, seed, options)
        except TimeIsOver:
            print("the time limit is reached: the next call resumes this run from its checkpoints")
            break
        except Exception as error:  # a failed job must not prevent the others from running
            print(f"{job.name}: {type(error).__name__}: {error}", flush=True)
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        append_result(out, line | {"queue": job.name, "seed": seed, "preset": options.preset,
                            "bar": job.bar})  # fmt: skip


def run_job(job: Job, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run an experiment with one seed and return its result, without paths of the local machine."""
    from jaxlabel.config import MapConfig
    from jaxlabel.experiment import configfile
    from jaxlabel.experiment import run as experiment

    file, _, variant = job.config.partition(":")
    path = configfile.find(f"configs/{file}.py")
    config = configfile.load(path, f":{variant}", options.preset)
    settings = dict(job.settings)
    if options.preset == "tiny":
        settings.pop("steps", None)
    source = data_source(variant, options)
    config = dataclasses.replace(config, **settings, seed=seed, data=source)
    if isinstance(config, MapConfig):
        config.map = "none"
    slug = "".join(c if c.isalnum() else "-" for c in job.name)
    workdir = Path(options.workdir) / f"{options.preset}-{slug}-s{seed}"
    result = experiment.run(config, workdir)
    print(experiment.summary(result, workdir))
    named = f"idx:DATA_ROOT/{variant}" if options.data_root else source
    shown = dict(result["config"]) | {"store": "", "account": "", "data": named}
    return {key: value for key, value in result.items() if key != "ledger"} | {"config": shown}


def runs_with_data(
    left: list[tuple[Job, int]], options: argparse.Namespace
) -> list[tuple[Job, int]]:
    """Return the runs whose data set exists; print a line for each config file without data."""
    variants = {job.config: job.config.partition(":")[2] for job, _ in left}
    missing = {each for each, name in variants.items() if each and not data_source(name, options)}
    for config in sorted(missing):
        print(f"no data for {config}: put a folder with its data into --data_root=DIR")
    return [(job, seed) for job, seed in left if job.config not in missing]


def data_source(variant: str, options: argparse.Namespace) -> str:
    """Return the value of the setting `data` for a data set, such as "idx:DIR".

    Return an empty string if the data set is missing.
    """
    if not options.data_root and options.preset == "tiny":
        return "digits"
    folder = Path(options.data_root or ".") / variant
    if folder.is_dir():
        return f"idx:{folder}"
    if (archive := folder.with_suffix(".npz")).is_file():
        return f"npz:{archive}"
    return ""


def run_script(job: Job) -> dict[str, Any]:
    """Run a job's script; return the JSON in its last line of output, and the seconds it took."""
    started = time.monotonic()
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"  # jaxlabel, if not installed
    done = subprocess.run([sys.executable, *job.command], cwd=ROOT, stdout=subprocess.PIPE,
                          env=os.environ | {"PYTHONPATH": path}, text=True, check=True)  # fmt: skip
    output = json.loads(done.stdout.strip().splitlines()[-1])
    return {"said": output, "seconds": round(time.monotonic() - started, 2)}


def results_table(paths: Iterable[Path]) -> str:
    """Return the results in the files `paths` as a Markdown table, with one row per experiment.

    A row shows the mean over the seeds; each seed counts once.
    """
    from jaxlabel.runlog.results import mean_interval

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in current_results(paths).values():
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
    """Return the test accuracy in the result of one run.

    If the run returned clusters, return the accuracy after matching clusters to classes. Return
    None if the result has neither.
    """
    value = line.get("test_accuracy")
    return line.get("matched_accuracy") if value is None else value


def current_results(paths: Iterable[Path]) -> dict[tuple[str, int, str], dict[str, Any]]:
    """Return the last result of each run in the files `paths`, by experiment, seed and preset.

    Results of several networks (the removed setting `members`) are left out: today's flagship
    trains one.
    """
    return {
        (line["queue"], line["seed"], line["preset"]): line
        for line in read_results(paths)
        if line.get("config", {}).get("members", 1) == 1
    }


def read_results(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read the results in the files `paths`, one per line; skip repeated and incomplete lines."""
    files = [path.read_text() for path in dict.fromkeys(paths) if path.is_file()]
    texts = dict.fromkeys(itertools.chain.from_iterable(map(str.splitlines, files)))
    return [json.loads(text) for text in texts if text.endswith("}")]


def append_result(path: Path, line: Mapping[str, Any]) -> None:
    """Append a result to the file `path` as one line of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.is_file() and not path.read_bytes().endswith(b"\n")  # a machine stopped in a line
    with path.open("a") as file:
        file.write("\n" * torn + json.dumps(line, sort_keys=True) + "\n")


def merge(path: Path) -> None:
    """Add the results in the file `path`, written on another machine, to the published results.

    Only results of the preset gpu are added.
    """
    known = read_results([PUBLISHED])
    fresh = [line for line in read_results([path]) if line not in known and line["preset"] == "gpu"]
    for line in fresh:
        append_result(PUBLISHED, line)
    print(f"{len(fresh)} lines added to {PUBLISHED.relative_to(ROOT)}")


def _time_is_over(signum: int, frame: Any) -> None:
    raise TimeIsOver


if __name__ == "__main__":
    main()
