"""The kernels are compiled once, and where they cannot be, XLA computes and one line says why."""

import concurrent.futures
import os
import platform
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import pytest

from jaxlabel import cache
from jaxlabel.errors import UsageError
from jaxlabel.nets import native
from jaxlabel.nets.native import building, selection

COMPILER = """#!/bin/sh
# Pretends to compile: counts its calls and copies a library that was compiled before.
echo "$@" >> {calls}
while [ "$1" != -o ]; do shift; done
cp {library} "$2"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home directory, so that the cache is empty, and a process that has not chosen."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(selection, "_library", None)
    monkeypatch.setattr(selection, "_selected", None)
    monkeypatch.delenv(selection.VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A compiler that copies the real library: a test is not to wait for a real one."""
    try:
        building.load()
        real = building.cache_folder() / f"kernels-{building.key(building.find_onednn())}.so"
    except building.Unavailable as error:
        pytest.skip(str(error))
    calls, command = tmp_path / "calls", tmp_path / "c++"
    command.write_text(COMPILER.format(calls=calls, library=real))
    command.chmod(0o755)
    monkeypatch.setenv("CXX", str(command))
    calls.touch()
    return calls


def num_built(calls: Path) -> int:
    return sum("-shared" in line for line in calls.read_text().splitlines())


def test_it_is_compiled_once(compiler, home):
    building.load()
    building.load()
    assert num_built(compiler) == 1
    assert [path.suffix for path in sorted(building.cache_folder().iterdir())] == [".lock", ".so"]


PRELOADED = """
import threading
from jaxlabel.nets import native
native.preload("xla")
assert "jaxlabel-kernels" not in {thread.name for thread in threading.enumerate()}
native.preload("auto")
print(native.select("auto").name)  # waits for the thread, or does its work
"""


def test_preloading_compiles_beside_other_work_and_only_what_will_be_used(compiler, home):
    # a process of its own: JAX keeps the functions of the first library that a process loads
    command, environment = [sys.executable, "-c", PRELOADED], {**os.environ, "HOME": str(home)}
    done = subprocess.run(command, env=environment, check=True, text=True, stdout=subprocess.PIPE)
    assert done.stdout.strip() == "onednn"
    assert num_built(compiler) == 1


def test_preloading_leaves_an_error_to_select(home, monkeypatch):
    monkeypatch.setattr(building, "COMPILERS", ())
    monkeypatch.setenv("CXX", "")
    native.preload("auto")  # a thread that raised would fail this test
    assert native.select("auto").name == "xla"


def test_a_damaged_library_is_compiled_again(compiler, home):
    building.load()
    [path] = building.cache_folder().glob("*.so")
    for damaged in (b"", path.read_bytes()[:-5000], b"x" * 100):
        path.unlink()  # this process has it open
        path.write_bytes(damaged)
        building.load()
        assert building.is_intact(path)
    assert num_built(compiler) == 4


def test_an_upgrade_or_another_processor_gets_a_library_of_its_own(compiler, home, monkeypatch):
    building.load()
    monkeypatch.setattr(cache, "processor_fingerprint", lambda: "another")
    building.load()
    monkeypatch.setattr(building.jaxlib, "__version__", "99")
    building.load()
    assert num_built(compiler) == 3


def test_several_processes_at_once_compile_it_once(compiler, home):
    code = "from jaxlabel.nets.native import building; building.load()"
    environment = {**os.environ, "HOME": str(home)}

    def load(_: int) -> int:
        return subprocess.run([sys.executable, "-c", code], env=environment, check=True).returncode

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        list(threads.map(load, range(3)))
    assert num_built(compiler) == 1


def test_a_home_that_cannot_be_written(compiler, home, monkeypatch):
    """The library is compiled once into the user's folder in the directory for temporary files."""
    (home / ".cache").write_text("a file where the folder should be")
    (home / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
    building.load()
    building.load()
    assert num_built(compiler) == 1
    [folder] = (home / "tmp").glob("jaxlabel-cache-*")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_written(compiler, home, monkeypatch):
    """Without any folder for it, every process compiles the library for itself."""
    (home / "file").write_text("no folder")
    monkeypatch.setattr(building, "cache_folder", lambda: home / "file" / "kernels")
    building.load()
    building.load()
    assert num_built(compiler) == 2


def test_without_a_compiler(home, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    expect_xla("C\\+\\+ compiler; install one")


def test_without_onednn(home, monkeypatch):
    def missing(name: str) -> None:
        raise building.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(building.importlib.metadata, "files", missing)
    expect_xla("pip install onednn-cpu-gomp==2023.2.0")


def test_a_compiler_that_fails(home, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    expect_xla("the C\\+\\+ compiler fails")


def test_another_machine(home, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    expect_xla("x86-64 Linux")


def test_an_old_processor(home, monkeypatch):
    monkeypatch.setattr(cache, "processor_instructions", frozenset)
    expect_xla("AVX2")


def expect_xla(why: str) -> None:
    """auto falls back to XLA and says why; onednn is refused with the same words."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("the other reason comes first here")
    found = native.select("auto")
    assert found.name == "xla" and found.dtype == "float32"
    with pytest.raises(UsageError, match=why):
        native.select("onednn")


def test_the_setting_comes_before_the_environment(home, monkeypatch):
    monkeypatch.setenv(selection.VARIABLE, "xla")
    assert native.select("auto") == native.Kernels("xla", "float32", "as configured")
    assert str(native.selected()) == "XLA, float32 (as configured)"
    monkeypatch.setenv(selection.VARIABLE, "mkl")
    with pytest.raises(UsageError, match="takes one of auto, onednn, bfloat16, xla"):
        native.select("auto")
    assert native.select("xla").name == "xla"


@pytest.mark.parametrize(
    ("isa", "name", "has_bfloat16"),
    [(0x7, "AVX2", False), (0xF, "AVX2", False), (0x1F, "AVX2", False),
     (0x27, "AVX-512", False), (0x67, "AVX-512", False),
     (0xE7, "AVX-512 BF16", True), (0x1EF, "AVX-512 BF16", True),
     (0xFEF, "AMX", True), (0x1FEF, "AMX", True)],
)  # fmt: skip
def test_the_instruction_sets_of_onednn(isa, name, has_bfloat16, home, monkeypatch):
    """The values of oneDNN's dnnl_cpu_isa_t, from AVX2 to AMX with FP16."""
    assert (selection.isa_name(isa), selection.has_bfloat16(isa)) == (name, has_bfloat16)
    library = types.SimpleNamespace(jaxlabel_effective_isa=lambda: isa)
    monkeypatch.setattr(selection, "_load", lambda: library)
    assert native.select("auto") == native.Kernels("onednn", "float32", f"the processor has {name}")
    if has_bfloat16:
        assert native.select("bfloat16").dtype == "bfloat16"
    else:
        with pytest.raises(UsageError, match="take cpu_kernels=onednn"):
            native.select("bfloat16")
