import dataclasses
import errno
import multiprocessing
import os
import shutil
import threading
import time

import jax
import numpy as np
import pytest

from jaxlabel import cache
from jaxlabel.errors import JaxlabelError, LabelsMissing
from jaxlabel.experiment import run as experiment
from jaxlabel.experiment.answers import Answers
from jaxlabel.methods import medoids
from jaxlabel.oracle.named import store_labels


@dataclasses.dataclass
class Settings:
    steps: int = 3


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    cache.begin("")
    yield tmp_path
    cache.begin("")


def counted(value, calls):
    def compute():
        calls.append(value)
        return {"codes": np.full((2, 3), value), "inertia": 0.5}

    return compute


def test_arrays_in_the_cache_are_not_computed_again(root):
    calls = []
    for _ in range(2):
        arrays = cache.cached("codes", ["digits", 0], counted(7, calls))
        np.testing.assert_array_equal(arrays["codes"], np.full((2, 3), 7))
        assert arrays.keys() == {"codes", "inertia"} and arrays["inertia"] == 0.5
    assert calls == [7]
    cache.cached("codes", ["digits", 1], counted(8, calls))
    cache.cached("kmeans", ["digits", 0], counted(9, calls))
    assert calls == [7, 8, 9]


def test_without_a_directory_nothing_is_cached(monkeypatch):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    calls = []
    for _ in range(2):
        cache.cached("codes", 0, counted(1, calls))
    assert calls == [1, 1]


def test_a_change_of_the_source_code_invalidates_the_cache(root, monkeypatch):
    calls = []
    cache.cached("codes", 0, counted(1, calls))
    monkeypatch.setattr(cache, "source", lambda: "changed")
    cache.cached("codes", 0, counted(2, calls))
    assert calls == [1, 2]


def test_a_damaged_file_is_computed_again(root):
    calls = []
    cache.cached("codes", 0, counted(1, calls))
    (path,) = (root / "codes").glob("*.npz")
    path.write_bytes(path.read_bytes()[:50])
    assert cache.cached("codes", 0, counted(2, calls))["codes"][0, 0] == 2
    assert cache.cached("codes", 0, counted(3, calls))["codes"][0, 0] == 2
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the array seems to be encrypted
    path.write_bytes(content)
    with np.load(path) as arrays, pytest.raises(RuntimeError, match="encrypted"):
        dict(arrays)
    assert cache.cached("codes", 0, counted(4, calls))["codes"][0, 0] == 4


def test_a_file_that_cannot_be_written_leaves_no_part(root, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(JaxlabelError, match="free some space"):
        cache.cached("codes", 0, counted(7, []))
    assert list(root.rglob("*.part")) == []


def test_an_error_is_raised_and_nothing_is_cached(root):
    with pytest.raises(ZeroDivisionError):
        cache.cached("codes", 0, lambda: {"codes": 1 // 0})
    assert list(root.rglob("*.npz")) == []
    assert cache.cached("codes", 0, lambda: {"codes": 4})["codes"] == 4


def test_arrays_of_a_run_that_was_restarted_do_not_count_as_saved(root):
    cache.begin("one")
    cache.cached("slow", 0, lambda: {"a": 1, cache.SECONDS: 1000.0})
    cache.begin("one")  # killed and started again
    assert cache.cached("slow", 0, lambda: {"a": 2}) == {"a": 1}
    assert cache.take_saved_seconds() == 0
    cache.begin("another")
    cache.cached("slow", 0, lambda: {"a": 2})
    assert cache.take_saved_seconds() == 1000
    cache.cached("slow", 0, lambda: {"a": 2})
    cache.begin("a third")
    assert cache.take_saved_seconds() == 0


def test_seconds_saved_before_a_run_do_not_count_for_it(root, capsys):
    for _ in range(2):
        cache.cached("slow", 0, lambda: {"a": 1, cache.SECONDS: 1000.0})
    config = medoids.Config(budget=24, code_steps=2, classifier_steps=2, components=8, map="none")
    assert experiment.run(config, root / "run")["seconds_shared"] < 1000


def test_a_run_that_is_started_again_reads_its_own_arrays(tmp_path, monkeypatch):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    written, write = [], cache._compute_and_write

    def write_and_count(path, compute):
        written.append(path)
        return write(path, compute)

    monkeypatch.setattr(cache, "_compute_and_write", write_and_count)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=pixels)
    config = medoids.Config(
        data=f"npz:{tmp_path / 'a.npz'}", budget=4, code_steps=2, classifier_steps=2, components=8,
        map="none",
    )  # fmt: skip
    own = (tmp_path / "run" / "cache").resolve()
    for _ in range(2):  # a person has not answered yet
        with pytest.raises(LabelsMissing):
            experiment.run(config, tmp_path / "run")
        assert {path.parent.parent for path in written} == {own} and own.is_dir()
        assert len(set(written)) == len(written)  # nothing is computed twice
        cache.cached("outside of the run", 0, lambda: {"a": 1})
        assert not (own / "outside of the run").exists()

    def answer(store, dataset, items):
        store_labels(store, dataset.name, items, ["cat"] * len(items))

    experiment.run(config, tmp_path / "run", answers=Answers(answer=answer))
    assert len(set(written)) == len(written) and not own.exists()


def test_two_runs_of_one_program_keep_their_own_folders(tmp_path, monkeypatch):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    calls = []
    cache.begin("first", folder=str(tmp_path / "first"))

    def other_run():
        cache.begin("second", folder=str(tmp_path / "second"))
        cache.cached("codes", ["digits"], counted(1, calls))
        cache.begin("")
        shutil.rmtree(tmp_path / "second")

    def compute():  # while the first run computes, the second one begins and ends
        thread = threading.Thread(target=other_run)
        thread.start()
        thread.join()
        return counted(2, calls)()

    for _ in range(2):
        arrays = cache.cached("codes", ["digits"], compute)
        np.testing.assert_array_equal(arrays["codes"], np.full((2, 3), 2))
    assert calls == [1, 2]
    cache.begin("")


def test_take_saved_seconds_sums_the_time_of_cached_arrays(root):
    def slow():
        time.sleep(0.15)
        return {"a": 1}

    cache.cached("slow", 0, slow)
    assert cache.take_saved_seconds() == 0
    cache.cached("slow", 0, slow)
    cache.cached("slow", 0, slow)
    assert 0.3 <= cache.take_saved_seconds() < 10
    assert cache.take_saved_seconds() == 0


DIFFERENT = [
    None, 0, 1, 1.0, True, "1", b"1", [], [1], [[1]], ["a", "b"], ["ab"], {}, {"a": 1}, {"b": 1},
    np.arange(3), np.arange(3.0), np.arange(4), np.arange(4).reshape(2, 2), np.array(1), Settings(),
    Settings(4), jax.random.key(0), jax.random.key(1),
]  # fmt: skip


def test_different_keys_have_different_digests():
    assert len({cache.digest(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_equal_keys_have_equal_digests():
    grid = np.arange(6).reshape(2, 3)
    assert cache.digest(grid.T) == cache.digest(grid.T.copy())
    assert cache.digest({"a": 1, "b": 2}) == cache.digest({"b": 2, "a": 1})
    assert cache.digest(Settings()) == cache.digest(Settings(3))
    assert cache.digest(jax.random.key(3)) == cache.digest(jax.random.key(3))
    # A constant: the digest does not depend on the process.
    assert cache.digest(["digits", 1, 0.5, None]) == "9a0292f33525fbb9503986433e93b50d"


def test_an_object_without_content_is_refused_as_a_key():
    with pytest.raises(TypeError, match="plain data and arrays"):
        cache.digest(object())


def _compute(folder):
    os.environ[cache.VARIABLE] = str(folder)  # the server of processes may be older than this test

    def compute():
        (folder / f"call-{time.monotonic_ns()}").touch()
        time.sleep(0.3)
        return {"a": np.arange(5)}

    return cache.cached("shared", 0, compute)["a"].sum()


def test_two_processes_compute_once(root):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([experiment.__name__, medoids.__name__])  # imports JAX once
    with context.Pool(2) as pool:
        assert pool.map(_compute, [root, root], chunksize=1) == [10, 10]
    assert len(list(root.glob("call-*"))) == 1
