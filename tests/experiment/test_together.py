"""Tests of a run by several processes."""

import dataclasses
import os
import runpy
import socket
import subprocess
import sys

import numpy as np
import pytest

from jaxlabel import data, files
from jaxlabel.cli import guard, main
from jaxlabel.errors import DataError, JaxlabelError, UsageError
from jaxlabel.experiment import together
from jaxlabel.experiment.run import run
from jaxlabel.nets import devices, hosts, native
from jaxlabel.oracle import LabelStore

SETTINGS = {"budget": 20.0, "query": "margin", "initial_query": "random", "initial_labels": 10,
            "steps": 12, "cpu_kernels": "xla", "sinks": ""}  # fmt: skip


class Service(dict):
    """JAX's coordination service in this process, as far as messages need it."""

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite or key not in self
        self[key] = value

    def key_value_dir_get(self, folder):
        return [(key, self[key]) for key in self if key.startswith(folder)]

    def blocking_key_value_get(self, key, timeout):
        return self[key]

    def wait_at_barrier(self, name, timeout):
        self["barrier"] = name

    key_value_set_bytes = key_value_set
    blocking_key_value_get_bytes = blocking_key_value_get


@pytest.fixture
def process(monkeypatch):
    """Return a function that turns this process into the one of a number, of two."""
    service = Service()
    monkeypatch.setattr(hosts, "_client", lambda: service)

    def become(number):
        for name, value in {"_num_processes": 2, "_process": number, "_num_messages": 0}.items():
            monkeypatch.setattr(hosts, name, value)
        return service

    return become


def test_messages_arrive_whole_and_in_order(process, monkeypatch):
    monkeypatch.setattr(hosts, "PART", 100)
    sent = [np.arange(1000), np.array(["a", "bc"]), 0.5], [], [np.zeros((0, 3), np.float32)]
    service = process(0)
    for arrays in sent:
        hosts.from_leader(lambda arrays=arrays: arrays)
    assert int(service["message/1"]) > 80  # 8000 bytes in parts of 100
    hosts.fail(DataError("the disk is full"))
    process(1)
    for arrays in sent:
        received = hosts.from_leader(lambda: pytest.fail("only the leader computes"))
        assert len(received) == len(arrays)
        for found, wanted in zip(received, arrays, strict=True):
            np.testing.assert_array_equal(found, wanted)
    with pytest.raises(JaxlabelError, match=r"process 0 has ended \(the disk is full\)"):
        hosts.from_leader(list)
    assert service["barrier"] == "failed"


def test_all_processes_get_the_labels_that_the_leader_buys(process):
    class Seller:
        num_classes, prices, asked = 3, np.ones(5), []

        def ask(self, indices, **reason):
            self.asked.append((indices.tolist(), reason))
            return indices * 2

    def use(oracle, indices):
        assert oracle.num_classes == oracle.num_classes == 3
        assert oracle.prices.sum() == 5
        return oracle.ask(np.array(indices), round=4).tolist()

    process(0)
    assert use(together.SharedOracle(Seller()), [1, 4]) == [2, 8]
    assert Seller.asked == [([1, 4], {"purpose": "train", "round": 4})]
    process(1)
    assert use(together.SharedOracle(None), [1, 4]) == [2, 8]
    process(1)
    with pytest.raises(JaxlabelError, match="process 1 chose other images than process 0"):
        use(together.SharedOracle(None), [1, 3])


def test_every_process_has_the_images_in_the_leader_s_order():
    dataset = data.load("digits")._replace(
        train_images=np.arange(4), train_items=np.array(["a", "b", "a", "c"], object)
    )
    ordered = together.in_order(dataset, ["c", "a", "a", "b"])
    assert ordered.train_images.tolist() == [3, 0, 2, 1]
    assert ordered.train_items.tolist() == ["c", "a", "a", "b"]
    assert together.in_order(dataset, ["a", "b", "a", "c"]) is dataset  # copies no images
    for other in (["c", "a", "b"], ["c", "a", "a", "d"]):
        with pytest.raises(DataError, match="finds other images than process 0"):
            together.in_order(dataset, other)


@pytest.mark.parametrize("given", [("host", 2, 0), ("host:1", 2, 2), ("host:1", 0, 0)])
def test_wrong_flags_are_refused(given):
    with pytest.raises(UsageError, match="with I from 0 to N-1"):
        hosts.start(*given)


@pytest.mark.parametrize("setting", ["features", "labels"])
def test_what_only_one_process_can_use_is_refused(setting):
    settings = runpy.run_path("configs/flagship.py")["get_config"]("digits", "tiny")
    settings = dataclasses.replace(settings, **{setting: "a"})
    with pytest.raises(UsageError, match=f"config.{setting} works with one process only"):
        together.start(settings, "host:1", 2, 0)


def test_all_processes_count_on_the_smallest_memory(process, monkeypatch):
    settings = runpy.run_path("configs/flagship.py")["get_config"]("digits", "tiny")
    monkeypatch.setenv("JAXLABEL_CACHE", "unused")  # the function removes it; now it comes back
    monkeypatch.setattr(hosts, "start", lambda *flags: None)
    monkeypatch.setattr(devices, "_agreed_memory", None)
    process(1)["memory/0"] = "1000"  # process 0 has less
    together.start(settings, "host:1", 2, 1)
    assert devices.memory() == 1000


@pytest.mark.parametrize(
    ("host", "is_bound"),
    [("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("node7", False)],
)
def test_a_run_on_one_machine_listens_to_no_network(host, is_bound, monkeypatch):
    given = {}
    monkeypatch.setattr("jax.distributed.initialize", lambda **flags: given.update(flags))
    hosts.start(f"{host}:1", 2, 0)
    assert given.get("coordinator_bind_address") == (f"{host}:1" if is_bound else None)


@pytest.mark.parametrize(
    ("machines", "gpus", "found"), [("2", "4", [0, 1, 2, 3]), ("1", "4", None), ("2", "", None)]
)
def test_the_only_process_of_a_machine_uses_all_gpus_that_slurm_gives(
    machines, gpus, found, monkeypatch
):
    variables = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": machines, "SLURM_GPUS_ON_NODE": gpus}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    given = {}
    monkeypatch.setattr("jax.distributed.initialize", lambda **flags: given.update(flags))
    hosts.start(hosts.AUTO, 0, -1)
    assert given.get("local_device_ids") == found


@pytest.fixture
def end_child(tmp_path, monkeypatch, capfd):
    """Return a function that runs a shell script as the child, and returns what the parent says."""
    program = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def end(script):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        code = guard.run(["train", "--coordinator=localhost:1"])
        said = capfd.readouterr()
        assert said.out == ""
        return code, said.err

    return end


def test_a_child_that_jax_aborts_is_explained_in_one_line(end_child, tmp_path):
    assert guard.is_needed(["train", "--coordinator=x"])
    assert not guard.is_needed(["train", "--coordinators=x"])
    code, said = end_child("echo a trace of many lines >&2; kill -ABRT $$")
    (kept,) = tmp_path.glob("*.log")
    assert kept.read_text() == "a trace of many lines\n"
    assert code == 1
    assert said == f"jaxlabel: {guard.LOST} (signal 6); {kept} has what it wrote\n"
    assert end_child("exit 2") == (2, "")


@pytest.mark.parametrize(
    ("name", "says"),
    [("KILL", "signal 9 (Killed) has ended this process of the run, as when the memory is full: "),
     ("SEGV", "signal 11 (Segmentation fault) has ended this process of the run: ")],
)  # fmt: skip
def test_a_signal_to_this_process_is_not_blamed_on_others(end_child, tmp_path, name, says):
    assert end_child(f"kill -{name} $$") == (1, f"jaxlabel: {says}{guard.GO_ON}\n")
    assert not list(tmp_path.glob("*.log"))


class Left(BaseException):
    """Stands for the end of the process."""


def test_an_unexpected_error_ends_the_child_at_once(monkeypatch, capsys):
    def leave(code):
        raise Left(code)

    def bug(words):
        raise TypeError("a bug")

    monkeypatch.setattr(main, "run", bug)
    monkeypatch.setattr("os._exit", leave)
    with pytest.raises(TypeError):
        main.main(["report"])
    monkeypatch.setattr(guard, "_is_child", True)
    with pytest.raises(Left, match="1"):
        main.main(["report"])
    assert "TypeError: a bug" in capsys.readouterr().err


def test_a_lost_process_keeps_the_words_of_jax(monkeypatch):
    monkeypatch.setattr(guard, "_is_child", True)
    assert guard.lost_process("NCCL is too old\n at 0x1") == f"{guard.LOST} (NCCL is too old)"
    assert guard.lost_process("a bug") == ""


def start(number, port, workdir):
    """Start one of two processes of a run, with two devices each."""
    flags = [f"--config.{name}={value}" for name, value in SETTINGS.items()]
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "jaxlabel", "train", "--config=configs/semisup.py:digits",
         "--config.preset=tiny", *flags, f"--workdir={workdir}", "--num_processes=2",
         f"--coordinator=localhost:{port}", f"--process_id={number}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def test_two_processes_buy_what_one_buys(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [start(number, port, tmp_path / "two") for number in (0, 1)]
    try:
        said = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    assert "4 devices share each batch" in said[0][1] and "20 labels bought" in said[0][0]
    assert said[1][0] == ""
    tiny = runpy.run_path("configs/semisup.py")["get_config"]("digits", "tiny")
    try:
        run(dataclasses.replace(tiny, **SETTINGS), tmp_path / "one")
    finally:
        native.select("auto")
    bought, accuracies = [], []
    for name in ("one", "two"):
        with LabelStore(f"sqlite:///{tmp_path / name}/labels.db") as store:
            rows = store.ledger(store.accounts()[0].name)
        bought.append([(row.item, row.label, row.round) for row in rows])
        accuracies.append(files.read_json(tmp_path / name / "result.json")["test_accuracy"])
    assert len(bought[0]) == 20 and bought[0] == bought[1]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.005)
