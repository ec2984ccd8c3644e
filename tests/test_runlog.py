import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxlabel import nets
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.runlog import RunLog, open_workdir

CONFIG = {"data": "digits", "seed": 0, "budget": 64.0, "sizes": (1, 2)}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Pair(NamedTuple):
    one: object
    other: object


# --- the directory


def test_a_new_directory_gets_the_configuration_and_the_same_one_is_let_in(tmp_path):
    for sessions in (1, 2):
        with open_workdir(tmp_path / "a" / "b", CONFIG):
            pass
        assert json.loads((tmp_path / "a/b/config.json").read_text()) == {**CONFIG, "sizes": [1, 2]}
        assert json.loads((tmp_path / "a/b/session.json").read_text())["sessions"] == sessions


def test_another_configuration_is_refused_by_the_keys_that_differ(tmp_path):
    open_workdir(tmp_path, CONFIG).close()
    other = {**CONFIG, "seed": 1, "new": True}
    difference = "new is not set there and true here, seed is 0 there and 1 here; choose"
    with pytest.raises(UsageError, match=difference):
        open_workdir(tmp_path, other)
    many = dict.fromkeys(CONFIG, "x")
    with pytest.raises(UsageError, match=r"\(and 1 more\)"):
        open_workdir(tmp_path, many)
    open_workdir(tmp_path, CONFIG).close()  # the refusals hold no lock and changed nothing


def test_a_directory_with_something_else_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"holds thesis.tex but no config.json"):
        open_workdir(tmp_path, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is not a directory"):
        open_workdir(tmp_path / "thesis.tex", CONFIG)
    with pytest.raises(JaxlabelError, match="Not a directory"):
        open_workdir(tmp_path / "thesis.tex" / "run", CONFIG)


def test_what_the_shell_or_a_killed_start_left_is_no_obstacle(tmp_path):
    for name in ("train.log", ".lock", ".config.json.1234.part"):
        (tmp_path / name).write_text("")
    open_workdir(tmp_path, CONFIG).close()
    assert not (tmp_path / ".config.json.1234.part").exists()


def test_a_second_process_is_refused_and_the_end_of_the_first_lets_it_in(tmp_path):
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
        "phase": "train", "step": 100, "seconds": 0, "loss": 1.0, "labels": 3
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


def test_the_logs_own_keys_are_refused(tmp_path):
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


def test_a_finished_run_keeps_its_time_and_command(tmp_path):
    with open_workdir(tmp_path, CONFIG) as log:
        log.finish({"classes": []})
    session = (tmp_path / "session.json").read_text()
    with open_workdir(tmp_path, CONFIG) as log:
        assert log.seconds >= json.loads(session)["seconds"]
    assert (tmp_path / "session.json").read_text() == session


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_one_line(tmp_path):
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


# --- checkpoints


def tree():
    return {
        "weights": jnp.arange(6.0, dtype=jnp.bfloat16).reshape(2, 3),
        "none": np.zeros((0, 4)),
        "state": (np.int32(3), jax.random.key(7), Pair(np.array([True]), 2.5)),
    }


def test_a_tree_comes_back_as_it_was(tmp_path):
    with RunLog(tmp_path) as log:
        assert log.restore("a", tree()) is None
        log.save("a", 5, tree())
        log.save("b", 1, {})
    with RunLog(tmp_path) as log:
        like = jax.tree.map(lambda leaf: leaf, tree())
        step, restored = log.restore("a", like)
        assert log.restore("b", {}) == (1, {})
    assert step == 5 and jax.tree.structure(restored) == jax.tree.structure(tree())
    assert restored["weights"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(restored["weights"], tree()["weights"])
    assert restored["none"].shape == (0, 4)
    count, key, pair = restored["state"]
    assert count == 3 and pair.one[0] and pair.other == 2.5
    assert jax.random.bits(key) == jax.random.bits(jax.random.key(7))


def test_the_last_two_are_kept_and_an_old_step_is_not_written_again(tmp_path):
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.save("a", step, {"x": np.full(2, step)})
        log.save("a", 3, {"x": np.full(2, -1)})
        log.save("a", 2, {"x": np.full(2, -1)})
        step, restored = log.restore("a", {"x": np.zeros(2, int)})
    assert (step, restored["x"].tolist()) == (3, [3, 3])
    assert sorted(p.name for p in (tmp_path / "checkpoints/a").iterdir()) == ["2", "3"]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, capsys):
    with RunLog(tmp_path) as log:
        for step in (1, 2):
            log.save("a", step, {"x": np.full(2, step)})
    for path in (tmp_path / "checkpoints/a/2/default").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with RunLog(tmp_path) as log:
        step, restored = log.restore("a", {"x": np.zeros(2, int)})
        log.save("a", 2, {"x": np.full(2, 2)})
        assert log.restore("a", {"x": np.zeros(2, int)})[0] == 2
    assert (step, restored["x"].tolist()) == (1, [1, 1])
    assert "a: the checkpoint of step 2 cannot be read and is removed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"x": np.zeros(3)}, r"array 0 .* is float64\[2\] where the code has float64\[3\]"),
        ({"x": np.zeros(2, np.float32)}, r"array 0 .* the code has float32\[2\]"),
        ({"x": np.zeros(2), "y": np.zeros(1)}, "holds 1 arrays where the code has 2"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, like, message):
    with RunLog(tmp_path) as log:
        log.save("a", 1, {"x": np.zeros(2)})
        with pytest.raises(JaxlabelError, match=message):
            log.restore("a", like)


@pytest.mark.parametrize("saved_in", [True, False])
def test_flax_modes_read_each_others_checkpoints(tmp_path, saved_in):
    inputs = jnp.linspace(0, 1, 8).reshape(2, 4)
    with RunLog(tmp_path) as log:
        with nnx.set_graph_mode(saved_in):
            model = nets.Dense((4, 5, 3), nnx.Rngs(0))
            expected = model(inputs)
            log.save("model", 1, model)
        with nnx.set_graph_mode(not saved_in):
            other = nets.Dense((4, 5, 3), nnx.Rngs(1))
            assert not np.array_equal(other(inputs), expected)
            _, restored = log.restore("model", other)
            np.testing.assert_array_equal(restored(inputs), expected)


WRITER = """
import sys, numpy as np
from jaxlabel.runlog import open_workdir
log = open_workdir(sys.argv[1], {"a": 1})
restored = log.restore("net", {"x": np.zeros((300, 300)), "y": np.zeros(5)})
step = 0 if restored is None else restored[0]
assert restored is None or all((v == step).all() for v in restored[1].values()), "torn"
while True:
    step += 1
    log.scalars("train", step, {"loss": step})
    log.arrays("map", points=np.full((100, 100), step))
    log.save("net", step, {"x": np.full((300, 300), float(step)), "y": np.full(5, float(step))})
    print("saved", flush=True)
"""


def test_kill_9_at_any_moment_leaves_a_usable_directory(tmp_path):
    reached, rng = [], np.random.default_rng()
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "saved\n"
        time.sleep(rng.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with open_workdir(tmp_path, {"a": 1}) as log:
            step, restored = log.restore("net", {"x": np.zeros((300, 300)), "y": np.zeros(5)})
        reached.append(step)
        assert (restored["x"] == step).all() and (restored["y"] == step).all()
        records = lines(tmp_path / "metrics.jsonl")
        assert [r["step"] for r in records] == list(range(1, len(records) + 1))
        assert step <= len(records) and np.all(np.diff([r["seconds"] for r in records]) >= 0)
        with np.load(tmp_path / "artifacts" / "map.npz") as arrays:
            assert len(np.unique(arrays["points"])) == 1
    assert reached == sorted(set(reached))
