"""Checkpoints are restored exactly, damaged ones are skipped, and kill -9 tears none."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from flax import nnx

from jaxlabel import nets
from jaxlabel.errors import JaxlabelError
from jaxlabel.runlog import RunLog, checkpoints, open_workdir


class Pair(NamedTuple):
    one: object
    other: object


def tree():
    return {
        "weights": jnp.arange(6.0, dtype=jnp.bfloat16).reshape(2, 3),
        "none": np.zeros((0, 4)),
        "state": (np.int32(3), jax.random.key(7), Pair(np.array([True]), 2.5)),
    }


def test_a_restored_tree_equals_the_saved_one(tmp_path):
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


def test_a_state_that_was_saved_as_a_committee_of_one_is_restored(tmp_path):
    state = {"weights": jnp.arange(6.0).reshape(2, 3), "number": np.int32(7)}
    with RunLog(tmp_path) as log:
        log.save("one", 1, jax.tree.map(lambda leaf: leaf[None], state))
        log.save("three", 1, jax.tree.map(lambda leaf: np.stack([leaf] * 3), state))
        _, restored = log.restore("one", state)
        assert jax.tree.map(np.shape, restored) == {"weights": (2, 3), "number": ()}
        np.testing.assert_array_equal(restored["weights"], state["weights"])
        assert restored["number"] == 7
        with pytest.raises(JaxlabelError, match=r"int32\[3\] where the code has int32"):
            log.restore("three", state)


def test_the_last_two_are_kept_and_an_old_step_is_not_written_again(tmp_path):
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.save("a", step, {"x": np.full(2, step)})
        log.save("a", 3, {"x": np.full(2, -1)})
        log.save("a", 2, {"x": np.full(2, -1)})
        step, restored = log.restore("a", {"x": np.zeros(2, int)})
    assert (step, restored["x"].tolist()) == (3, [3, 3])
    assert sorted(p.name for p in (tmp_path / "checkpoints/a").iterdir()) == ["2", "3"]


def test_a_damaged_checkpoint_is_replaced_by_the_previous_one(tmp_path, capsys):
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


def test_a_truncated_checkpoint_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    printed = []  # by Orbax's threads
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    monkeypatch.setattr(checkpoints, "LATE", 3.0)  # seconds, on a busy machine
    arrays = [np.random.default_rng(n).random(40_000) for n in range(4)]
    with RunLog(tmp_path) as log:
        log.save("a", 1, arrays)
    for path in (tmp_path / "checkpoints/a/1/default").rglob("ocdbt.process_0/d/*"):
        path.write_bytes(path.read_bytes()[:50])
    with RunLog(tmp_path) as log:
        assert log.restore("a", arrays) is None
    said = capsys.readouterr().err
    assert "a: the checkpoint of step 1 cannot be read and is removed" in said
    assert said.count("\n") == 1 and printed == []


def test_a_checkpoint_that_is_unreadable_for_now_is_kept(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with RunLog(tmp_path) as log:
        log.save("a", 1, {"x": np.full(2, 1)})
    with RunLog(tmp_path) as log, monkeypatch.context() as patch:
        patch.setattr(orbax.checkpoint.CheckpointManager, "restore", refuse)
        with pytest.raises(JaxlabelError, match=r"a: step 1 cannot be read now .*Permission"):
            log.restore("a", {"x": np.zeros(2, int)})
    with RunLog(tmp_path) as log:
        assert log.restore("a", {"x": np.zeros(2, int)})[0] == 1


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"x": np.zeros(3)}, r"array 0 .* is float64\[2\] where the code has float64\[3\]"),
        ({"x": np.zeros(2, np.float32)}, r"array 0 .* the code has float32\[2\]"),
        ({"x": np.zeros(2), "y": np.zeros(1)}, "holds 1 arrays where the code has 2"),
    ],
)
def test_a_checkpoint_of_another_tree_is_refused(tmp_path, like, message):
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
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert [r["step"] for r in records] == list(range(1, len(records) + 1))
        assert step <= len(records) and np.all(np.diff([r["seconds"] for r in records]) >= 0)
        with np.load(tmp_path / "artifacts" / "map.npz") as arrays:
            assert len(np.unique(arrays["points"])) == 1
    assert reached == sorted(set(reached))


def test_only_networks_with_too_few_classes_start_again(tmp_path, capsys):
    with RunLog(tmp_path) as log:
        log.classes(["a", "b"])
        for name in ("old", "other"):
            log.save(name, 10, {"head": np.zeros(2)})
            log.scalars(name, 10, {"loss": 1.0})
    with RunLog(tmp_path) as log:
        log.classes(["a", "b", "c"])
        assert log.restore("old", {"head": np.zeros(3)}) is None
        log.scalars("old", 10, {"loss": 2.0})
        log.save("old", 10, {"head": np.ones(3)})
        log.save("new", 10, {"head": np.ones(3)})
        with pytest.raises(JaxlabelError, match=r"remove .*new to start"):
            log.restore("new", {"head": np.zeros(4)})  # no new class: the code has changed
    assert "old starts again: there are classes that it did not know" in capsys.readouterr().err
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(r["phase"], r["loss"]) for r in records] == [("other", 1.0), ("old", 2.0)]
    with RunLog(tmp_path) as log:
        assert log.restore("old", {"head": np.zeros(3)})[1]["head"].tolist() == [1, 1, 1]


def test_metrics_of_networks_that_start_again_are_replaced_in_their_place(tmp_path):
    with RunLog(tmp_path) as log:
        log.classes(["a", "b"])
        log.save("round_0", 10, np.zeros(2))
        log.scalars("rounds", 0, {"belief": 0.5})
        log.scalars("rounds", 1, {"belief": 0.6})
    with RunLog(tmp_path) as log:
        log.classes(["a", "b", "c"])
        log.scalars("rounds", 0, {"belief": 0.8})  # no network has started again yet
        assert log.restore("round_0", np.zeros(3)) is None
        for belief in (0.9, 0.7):
            log.scalars("rounds", 0, {"belief": belief})
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["belief"]) for r in records] == [(0, 0.9), (1, 0.6)]
