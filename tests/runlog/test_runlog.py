import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.runlog import RunLog, open_workdir

CONFIG = {"data": "digits", "seed": 0, "budget": 64.0, "sizes": (1, 2)}
WRITTEN = {"version": 1, **CONFIG, "sizes": [1, 2]}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- the directory


def test_a_directory_accepts_its_own_configuration_again(tmp_path):
    for sessions in (1, 2):
        with open_workdir(tmp_path / "a" / "b", CONFIG):
            pass
        assert json.loads((tmp_path / "a/b/config.json").read_text()) == WRITTEN
        assert json.loads((tmp_path / "a/b/session.json").read_text())["sessions"] == sessions


def test_the_refusal_of_another_configuration_names_the_different_settings(tmp_path):
    open_workdir(tmp_path, CONFIG | {"seed": 9}).close()
    open_workdir(tmp_path, CONFIG).close()  # nothing was done with the settings before
    (tmp_path / "run.json").write_text("{}")
    other = {**CONFIG, "seed": 1, "new": True}
    difference = "new is not set there and true here, seed is 0 there and 1 here; choose"
    with pytest.raises(UsageError, match=difference):
        open_workdir(tmp_path, other)
    with pytest.raises(UsageError, match=r"budget is 64\.0 there and inf here"):
        open_workdir(tmp_path, CONFIG | {"budget": np.inf})
    many = dict.fromkeys(CONFIG, "x")
    with pytest.raises(UsageError, match=r"\(and 1 more\)"):
        open_workdir(tmp_path, many)
    open_workdir(tmp_path, CONFIG).close()  # the refusals hold no lock and changed nothing


def test_a_directory_with_foreign_files_is_refused_and_unchanged(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"holds thesis.tex but no config.json"):
        open_workdir(tmp_path, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is not a directory"):
        open_workdir(tmp_path / "thesis.tex", CONFIG)
    with pytest.raises(JaxlabelError, match="Not a directory"):
        open_workdir(tmp_path / "thesis.tex" / "run", CONFIG)


def test_files_of_the_shell_or_of_a_killed_start_are_allowed(tmp_path):
    for name in ("train.log", ".lock", ".config.json.1234.part"):
        (tmp_path / name).write_text("")
    open_workdir(tmp_path, CONFIG).close()
    assert not (tmp_path / ".config.json.1234.part").exists()


def test_only_one_process_at_a_time_opens_a_directory(tmp_path):
    script = "import sys, jaxlabel.runlog as r; r.open_workdir(sys.argv[1], {'a': 1})"
    with open_workdir(tmp_path, {"a": 1}):
        other = subprocess.run(
            [sys.executable, "-c", script, tmp_path], capture_output=True, text=True
        )
    assert f"UsageError: {tmp_path} is in use by process {os.getpid()}" in other.stderr
    assert subprocess.run([sys.executable, "-c", script, tmp_path]).returncode == 0


# --- numbers


def test_a_replayed_record_is_written_once_and_kept_as_it_was(tmp_path):
    for loss in (1.0, 2.0):
        with RunLog(tmp_path) as log:
            log.scalars("train", 100, {"loss": jnp.float32(loss), "labels": np.int64(3)})
            log.scalars("other", 100, {"loss": float("nan")})
            log.scalars("train", 100, {"loss": 7.0})
    one, other = lines(tmp_path / "metrics.jsonl")
    assert {**one, "seconds": 0} == {
        "version": 1, "phase": "train", "step": 100, "seconds": 0, "loss": 1.0, "labels": 3
    }  # fmt: skip
    assert isinstance(one["labels"], int) and other["loss"] is None


def test_a_half_written_record_is_dropped_and_written_again(tmp_path):
    with RunLog(tmp_path) as log:
        log.scalars("train", 1, {"loss": 1.0})
        log.scalars("train", 2, {"loss": 2.0})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    with RunLog(tmp_path) as log:
        log.scalars("train", 1, {"loss": 9.0})
        log.scalars("train", 2, {"loss": 2.0})
    assert [(r["step"], r["loss"]) for r in lines(path)] == [(1, 1.0), (2, 2.0)]


def test_metrics_with_reserved_names_are_refused(tmp_path):
    with RunLog(tmp_path) as log, pytest.raises(ValueError, match="train: seconds, step"):
        log.scalars("train", 1, {"seconds": 1.0, "step": 2})


def test_seconds_add_up_over_sessions(tmp_path):
    with RunLog(tmp_path) as log:
        log.scalars("train", 1, {"loss": 1.0})
    session = json.loads((tmp_path / "session.json").read_text())
    (tmp_path / "session.json").write_text(json.dumps({**session, "seconds": 100.5}))
    with RunLog(tmp_path) as log:
        assert 100.5 <= log.seconds < 110
        log.scalars("train", 2, {"loss": 1.0})
    assert lines(tmp_path / "metrics.jsonl")[1]["seconds"] >= 100.5
    (tmp_path / "session.json").unlink()
    with RunLog(tmp_path) as log:
        assert log.seconds >= 100.5


@pytest.mark.parametrize("content", [b"", b'{"seconds": 1', b"[]"])
def test_a_damaged_session_file_is_begun_anew_with_one_line(tmp_path, content, capsys):
    with open_workdir(tmp_path, CONFIG) as log:
        log.scalars("train", 1, {"loss": 1.0})
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(lines(path)[0] | {"seconds": 100.5}) + "\n")
    (tmp_path / "session.json").write_bytes(content)
    capsys.readouterr()
    with open_workdir(tmp_path, CONFIG) as log:
        assert log.seconds >= 100.5  # the metrics have it
    said = capsys.readouterr().err
    assert "session.json is damaged, as after a power cut" in said and said.count("\n") == 1
    assert json.loads((tmp_path / "session.json").read_text())["sessions"] == 1


def test_a_finished_run_keeps_its_time_and_command(tmp_path):
    with open_workdir(tmp_path, CONFIG) as log:
        log.finish({"classes": []})
    session = (tmp_path / "session.json").read_text()
    with open_workdir(tmp_path, CONFIG) as log:
        assert log.seconds >= json.loads(session)["seconds"]
    assert (tmp_path / "session.json").read_text() == session


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_reported_in_one_line(tmp_path):
    with (
        pytest.raises(JaxlabelError, match=r"metrics\.jsonl: no space left on the disk"),
        RunLog(tmp_path) as log,
    ):
        (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
        log.scalars("train", 1, {"loss": 1.0})


def test_arrays_are_replaced_whole(tmp_path):
    with RunLog(tmp_path) as log:
        log.arrays("map", points=np.ones((2, 2)))
        log.arrays("map", points=np.zeros(3), labels=np.arange(3))
    with np.load(tmp_path / "artifacts" / "map.npz") as arrays:
        np.testing.assert_array_equal(arrays["points"], np.zeros(3))
        np.testing.assert_array_equal(arrays["labels"], [0, 1, 2])
    assert [p.name for p in (tmp_path / "artifacts").iterdir()] == ["map.npz"]


# --- TensorBoard


def test_tensorboard_reads_everything_back(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    sheets = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    for _ in range(2):
        with open_workdir(tmp_path, CONFIG) as log:
            log.scalars("train", 100, {"loss": 0.5, "gone": float("nan")})
            log.scalars("train", 200, {"loss": 0.25})
            log.images("medoids", 3, sheets)
    with open_workdir(tmp_path, CONFIG) as log:
        log.arrays("confusion", matrix=np.array([[3, 1], [0, 4]]))
        log.finish({"test_accuracy": 0.875, "classes": ["zéro", "un"], "seconds": None})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "hparam/test_accuracy"}
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(100, 0.5), (200, 0.25)]
    assert events.Scalars("hparam/test_accuracy")[0].value == 0.875
    assert set(events.Tags()["images"]) == {"medoids", "confusion"}
    (sheet,) = events.Images("medoids")
    assert (sheet.step, sheet.width, sheet.height) == (3, 28, 18)
    assert "_hparams_/session_start_info" in events.summary_metadata
