"""Tests of the GPU queue: unique names, no repeated runs, and the table of results."""

import argparse
import contextlib
import itertools
import json
import sys
from pathlib import Path

import pytest

from jaxlabel.config import validate
from jaxlabel.experiment import configfile
from jaxlabel.nets import devices, native
from jaxlabel.query import STRATEGIES
from jaxlabel.semisupervised import NAMES

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import gpu_jobs
import gpu_queue as queue


def line(name, seed, accuracy=0.9, **more):
    return {"queue": name, "seed": seed, "preset": "gpu", "bar": "89%", "test_accuracy": accuracy,
            "seconds": 3.0, "labels_spent": 500, "device": "GPU", **more}  # fmt: skip


def test_job_names_are_unique_and_the_grid_is_complete():
    assert set(gpu_jobs.QUERIES) == set(STRATEGIES) and set(gpu_jobs.OBJECTIVES) == set(NAMES)
    names = [job.name for job in gpu_jobs.all_jobs()]
    assert len(names) == len(set(names))
    cells = len(gpu_jobs.OBJECTIVES) * len(gpu_jobs.QUERIES) * len(gpu_jobs.LABELS) * 3
    assert sum(name.startswith("grid") for name in names) == cells


def test_every_semisup_job_has_settings_that_its_config_takes():
    for job in itertools.islice(gpu_jobs.all_jobs(), 400):
        if job.config.startswith("semisup:"):
            config = configfile.load("configs/semisup.py", f":{job.config[8:]}", "gpu")
            for name, value in job.settings.items():
                assert hasattr(config, name)
                setattr(config, name, value)
            validate(config)


def test_runs_with_a_result_are_not_repeated(tmp_path):
    path = tmp_path / "lines.jsonl"
    left = queue.runs_left([path], "gpu")
    job, seed = left[1]
    queue.append_result(path, line(job.name, seed))
    with path.open("a") as file:
        file.write('{"queue": "half writ')  # a machine that stopped while writing
    assert [*queue.runs_left([path], "gpu")] == [left[0], *left[2:]]
    queue.append_result(path, line(left[0][0].name, left[0][1]))
    assert [*queue.runs_left([path], "gpu")] == left[2:]
    assert queue.runs_left([path], "tiny") == queue.runs_left([], "tiny")
    job, seed = left[2]  # a run of three networks, which today's recipe does not train
    queue.append_result(path, line(job.name, seed, config={"members": 3}))
    assert [*queue.runs_left([path], "gpu")] == left[2:]
    queue.append_result(path, line(job.name, seed, config={"members": 1}))
    assert [*queue.runs_left([path], "gpu")] == left[3:]


def test_the_flagship_comes_first_with_all_first_seeds_before_second_seeds():
    left = [(job, seed) for job, seed in queue.runs_left([], "gpu") if job.config]
    flagship = [(job, seed) for job, seed in left if job.name.startswith("flagship")]
    assert left[: len(flagship)] == flagship
    assert [seed for _, seed in flagship] == sorted(seed for _, seed in flagship)
    named = {job.name for job, _ in flagship}
    for wanted in ("300", "400", "10", "40", "100", "500", "certified"):
        assert f"flagship, fashion_mnist, {wanted}" in named


def test_a_job_can_be_named_exactly_or_by_a_part_of_its_name():
    left = queue.runs_left([], "gpu")
    names = {job.name for job, _ in queue.only_named(left, "flagship, fashion_mnist, 400")}
    assert names == {"flagship, fashion_mnist, 400"}
    names = {job.name for job, _ in queue.only_named(left, "flagship, fashion_mnist, 400,")}
    assert names == {f"flagship, fashion_mnist, 400, {end}"
                     for end in ("fine_gradient_conv", "devices=1", "devices=8")}  # fmt: skip
    done = [(job, seed) for job, seed in left if job.name != "flagship, fashion_mnist, 400"]
    assert queue.only_named(done, "flagship, fashion_mnist, 400") == []


def test_a_cpu_executes_the_code_path_of_gpus(tmp_path, monkeypatch):
    """The network computes in bfloat16, and many steps are one call."""
    monkeypatch.setenv(devices.ACT_AS, "gpu")
    options = argparse.Namespace(data_root="", preset="tiny", workdir=str(tmp_path))
    changes = {"budget": 20.0, "learning_rate": 1e-2}
    try:
        found = queue.run_job(gpu_jobs.Job("a", "flagship:digits", changes), 0, options)
    finally:
        monkeypatch.undo()
        native.select("auto")
    assert found["cpu_kernels"] == "XLA, bfloat16 (JAXLABEL_ACT_AS=gpu)"
    assert found["labels_spent"] == 20 and found["test_accuracy"] > 0.25


def test_a_script_finds_jaxlabel_if_it_is_not_installed(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("import json, sys\nprint('no')\nprint(json.dumps(sys.path))\n")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    said = queue.run_script(gpu_jobs.Job("a", command=(str(script),)))["said"]
    assert said[:2] == [str(tmp_path), str(queue.ROOT)]
    assert any(path.endswith("elsewhere") for path in said)


@pytest.fixture
def fast_timer(monkeypatch):
    """Let the timer of the limit, which is at least five seconds, run ten times as fast."""
    start = queue.signal.setitimer
    monkeypatch.setattr(
        queue.signal, "setitimer", lambda which, seconds: start(which, seconds / 10)
    )


def test_a_script_is_stopped_at_the_limit(tmp_path, capsys, fast_timer):
    script = tmp_path / "script.py"
    script.write_text("import time\ntime.sleep(60)\n")
    options = argparse.Namespace(limit=5.5, preset="gpu")
    out = tmp_path / "out.jsonl"
    queue.run_all([(gpu_jobs.Job("a", command=(str(script),)), 0)], options, out)
    assert "the time limit is reached" in capsys.readouterr().out and not out.exists()


def test_runs_without_data_are_skipped(tmp_path, capsys):
    (tmp_path / "mnist").mkdir()
    options = argparse.Namespace(data_root=str(tmp_path), preset="gpu")
    left = [(gpu_jobs.Job("a", "sgan:mnist"), 0), (gpu_jobs.Job("b", "scan:cifar10"), 0),
            (gpu_jobs.Job("c", command=("x",)), 0)]  # fmt: skip
    assert [job.name for job, _ in queue.runs_with_data(left, options)] == ["a", "c"]
    assert "no data for scan:cifar10" in capsys.readouterr().out


def test_the_table_has_one_row_per_job_averaged_over_seeds(tmp_path):
    path = tmp_path / "lines.jsonl"
    for seed, accuracy in enumerate((0.88, 0.90)):
        queue.append_result(path, line("a", seed, accuracy))
    queue.append_result(path, line("b", 0, None, matched_accuracy=0.5))
    rows = queue.results_table([path]).splitlines()[2:]
    assert rows[0].startswith("| a | gpu | 89% | 89.00 (76.29 to 100.00) | 88.00 | 2 | 500 | 3 |")
    assert rows[1].startswith("| b | gpu | 89% | 50.00 | 50.00 | 1 |")


def test_the_table_shows_one_result_per_seed_and_none_that_is_to_be_repeated(tmp_path):
    path = tmp_path / "lines.jsonl"
    queue.append_result(path, line("a", 0, 0.5, config={"members": 3}))
    for accuracy in (0.6, 0.7):
        queue.append_result(path, line("a", 0, accuracy))
    (row,) = queue.results_table([path]).splitlines()[2:]
    assert row.startswith("| a | gpu | 89% | 70.00 | 70.00 | 1 |")


def test_the_limit_stops_a_run_but_a_failure_does_not_stop_other_runs(
    tmp_path, monkeypatch, fast_timer
):
    done = []

    def run(job, seed, options):
        done.append(job.name)
        if job.name == "broken":
            raise ValueError("no")
        while job.name == "long":
            with contextlib.suppress(Exception):  # as code inside a run may do
                while True:
                    pass
        return {}

    monkeypatch.setattr(queue, "run_job", run)
    options = argparse.Namespace(limit=5.3, preset="gpu")
    jobs = [(gpu_jobs.Job(name, "x:y"), 0) for name in ("broken", "good", "long", "never")]
    queue.run_all(jobs, options, tmp_path / "out.jsonl")
    assert done == ["broken", "good", "long"]
    written = [json.loads(text) for text in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["queue"] for one in written] == ["good"]


def test_merge_adds_each_gpu_result_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(queue, "PUBLISHED", tmp_path / "results" / "queue.jsonl")
    monkeypatch.setattr(queue, "ROOT", tmp_path)
    back = tmp_path / "back.jsonl"
    queue.append_result(back, line("a", 0))
    queue.append_result(back, line("a", 1) | {"preset": "tiny"})
    queue.merge(back)
    queue.merge(back)
    assert [one["seed"] for one in queue.read_results([queue.PUBLISHED])] == [0]
    assert "1 lines added" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["tiny", "gpu"])
def test_without_data_the_tiny_preset_uses_the_digits(preset, tmp_path):
    options = argparse.Namespace(data_root="", preset=preset)
    assert queue.data_source("nowhere", options) == ("digits" if preset == "tiny" else "")
