"""Tests that the number of devices changes no batch, and results only by rounding."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import many_devices
import numpy as np
import pytest

from jaxlabel import train
from jaxlabel.errors import UsageError
from jaxlabel.nets import devices, native
from jaxlabel.semisupervised import cycles, setup


def on_simulated_devices(count, path):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
    program = Path(many_devices.__file__)
    done = subprocess.run(
        [sys.executable, str(program), str(count), str(path)], capture_output=True, text=True,
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(path) as arrays:
        return done.stdout, dict(arrays)


def test_eight_devices_compute_what_one_computes(tmp_path):
    said, eight = on_simulated_devices(8, tmp_path / "eight.npz")
    assert said == "XLA, float32 (oneDNN cannot divide a batch over 8 devices)\n"
    native.select("xla")
    try:
        one = many_devices.results()
    finally:
        native.select("auto")
    assert devices.count() == 1
    np.testing.assert_array_equal(eight["rows"], one["rows"])
    np.testing.assert_array_equal(eight["teacher_devices"], 1)
    np.testing.assert_array_equal(eight["streamed"], eight["semisup"][:10])
    assert len(one["semisup"]) == 40 and one["contrastive"][-1] < one["contrastive"][0] - 0.3
    for name in ("semisup", "contrastive"):
        np.testing.assert_allclose(eight[name], one[name], atol=1e-4)
    for name in ("probabilities", "features"):
        np.testing.assert_allclose(eight[name], one[name], atol=1e-3)


def test_one_device_adds_nothing_to_the_programs():
    array = jax.numpy.arange(6.0)
    assert devices.shard(array) is devices.replicate(array) is devices.first_copy(array) is array
    text = jax.jit(lambda x: devices.shard(x) + 1).lower(array).as_text()
    assert "sharding_constraint" not in text and "mesh" not in text


def test_a_cycle_is_one_loop_in_bfloat16_on_a_gpu(monkeypatch):
    config = dataclasses.replace(many_devices.CONFIG, network="conv")
    key, data = jax.random.key(0), many_devices.labelled_data()

    def program():
        """Return whether a step uses bfloat16, and how the steps of a cycle are executed."""
        cycle = cycles.make_cycle(config, 4)
        state = jax.eval_shape(lambda: setup.initial_state(config, many_devices.IMAGES, 10, key))
        text = str(jax.make_jaxpr(cycle.step)(state, data, key))
        loop = train._advance(cycle.step, devices.mesh()).__name__
        return "bf16[" in text, loop

    try:
        native.select("xla")
        assert program() == (False, "stepwise")
        monkeypatch.setenv(devices.ACT_AS, "gpu")
        native.select("auto")
        assert program() == (True, "scanned")
    finally:
        monkeypatch.undo()
        native.select("auto")


def test_more_devices_than_there_are_is_a_usage_error():
    with pytest.raises(UsageError, match=r"config.devices=9: JAX finds 1 here"):
        devices.select(9)


def test_an_unknown_code_path_is_a_usage_error(monkeypatch):
    monkeypatch.setenv(devices.ACT_AS, "toaster")
    with pytest.raises(UsageError, match="'toaster': it takes gpu"):
        devices.is_accelerator()
