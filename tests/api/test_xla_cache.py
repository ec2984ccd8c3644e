"""XLA's cache of compiled code after a process was killed while it wrote a file."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from jaxlabel.api import xla, xla_cache

COMPILE = """
from jaxlabel.api.xla import settle_before_jax
settle_before_jax()
import jax
print(jax.jit(lambda x: 2 * x + 1)(3.0))
"""


def compile_something(home: Path) -> str:
    """Compile a function in a process of its own, and return what it printed, warnings included."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", COMPILE], capture_output=True, text=True,
        timeout=300, env=variables | {"HOME": str(home), "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_file_that_a_killed_process_left_half_written_is_written_again(tmp_path):
    assert compile_something(tmp_path) == "7.0\n"
    paths = sorted(tmp_path.glob(".cache/jaxlabel/xla/*/*-cache"))
    sizes = [path.stat().st_size for path in paths]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(path.read_bytes()[: size // 2])
    assert paths and [compile_something(tmp_path) for _ in range(2)] == ["7.0\n"] * 2
    for path, size in zip(paths, sizes, strict=True):  # the time it took is in the file too
        assert path.stat().st_size == pytest.approx(size, abs=20)


def test_only_half_written_files_are_deleted(tmp_path, monkeypatch):
    whole = zlib.compress(bytes(range(256)) * 100)
    contents = {
        "whole": whole, "half": whole[:50], "without end": whole[:-1], "empty": b"", "short": b"(",
        "zstd": xla_cache.ZSTD + b"1", "unknown": b"another format",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / f"{name}-cache").write_bytes(content)
    (tmp_path / "half").write_bytes(whole[:50])  # no file of compiled code
    monkeypatch.setattr(xla_cache, "_zstd", lambda: None)
    xla_cache.delete_half_written(tmp_path)
    kept = {path.name for path in tmp_path.iterdir()} - {xla_cache.CHECKED}
    assert kept == {"whole-cache", "zstd-cache", "unknown-cache", "half"}

    def cut_off(content):
        raise EOFError

    monkeypatch.setattr(xla_cache, "_zstd", lambda: cut_off)
    xla_cache.delete_half_written(tmp_path)
    assert not (tmp_path / "zstd-cache").exists() and (tmp_path / "whole-cache").exists()


def test_a_file_is_checked_once(tmp_path, monkeypatch):
    path = tmp_path / "a-cache"
    path.write_bytes(zlib.compress(b"code"))
    os.utime(path, (1e9, 1e9))
    read: list[bytes] = []
    monkeypatch.setattr(xla_cache, "_is_whole", lambda content: read.append(content) or True)
    for _ in range(3):
        xla_cache.delete_half_written(tmp_path)
    assert len(read) == 1
    path.write_bytes(b"changed")
    xla_cache.delete_half_written(tmp_path)
    assert read[1:] == [b"changed"]
    xla_cache.delete_half_written(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_an_entry_that_cannot_be_read_does_not_end_the_check(tmp_path):
    (tmp_path / "folder-cache").mkdir()
    for number in range(3):
        (tmp_path / f"{number}-cache").write_bytes(b"")
    xla_cache.delete_half_written(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"folder-cache", xla_cache.CHECKED}


def test_a_folder_that_the_user_has_named_is_left_alone(tmp_path):
    (tmp_path / "a-cache").write_bytes(b"")
    xla.settle_xla({"JAX_COMPILATION_CACHE_DIR": str(tmp_path)})
    assert [path.name for path in tmp_path.iterdir()] == ["a-cache"]
