"""Compile the C++ kernels in `src/` once, and keep the compiled library in the user's cache.

The library's file name contains a hash of everything it depends on: the sources, jaxlib, oneDNN,
the processor and the C library. So a library is never loaded on another machine or after an
upgrade. The last bytes of the file are a hash of the other bytes. If they do not fit, the file is
damaged, and it is compiled again instead of loaded.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jaxlib

from jaxlabel import cache

SOURCES = Path(__file__).parent / "src"
COMPILED = ("primitives.cc", "convolution.cc", "norm.cc")  # slowest first
FLAGS = (
    "-std=c++17", "-w", "-fPIC", "-fvisibility=hidden", "-march=native",
    # with -O3, GCC 12 unrolls the loops over channels before it could vectorise them
    "-O2", "-ftree-vectorize", "-fno-trapping-math", "-mprefer-vector-width=512",
)  # fmt: skip
COMPILERS = ("g++", "c++", "clang++")
ONEDNN = "2023.2.0"
SECONDS = 300  # a compiler that takes longer is stopped
HASH_BYTES = hashlib.sha256().digest_size


class Unavailable(Exception):
    """The error that this machine cannot compute convolutions and norms by oneDNN on its CPU.

    Its message says why, and which package or compiler to install.
    """


class OneDNN(NamedTuple):
    """The paths of the installed oneDNN library.

    Attributes:
      library: the shared library.
      headers: the folder of the C++ header files.
    """

    library: Path
    headers: Path


def load() -> ctypes.CDLL:
    """Load the compiled CPU kernels (C++ functions for convolutions and norms that call oneDNN).

    They are compiled first if the user's cache has no library for this machine.

    Raises:
      Unavailable: this is no x86-64 Linux with AVX2, or oneDNN or a C++ compiler is missing.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise Unavailable("the fast kernels are for x86-64 Linux")
    if "avx2" not in cache.processor_instructions():
        raise Unavailable("the fast kernels need a processor with AVX2")
    onednn = find_onednn()
    target = cache_folder() / f"kernels-{key(onednn)}.so"
    if is_intact(target):
        return open_library(target)
    compiler = find_compiler()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _compile_lock(target):
            if not is_intact(target):  # another process may have just made it
                compile_library(compiler, onednn, target)
    except OSError:  # The cache cannot be written: compile for this process only.
        with tempfile.TemporaryDirectory(prefix="jaxlabel-kernels-") as folder:
            target = Path(folder) / target.name
            compile_library(compiler, onednn, target)
            return open_library(target)
    return open_library(target)


def open_library(path: Path) -> ctypes.CDLL:
    """Load a shared library of compiled CPU kernels into this process.

    Raises:
      Unavailable: the system's loader rejects it, for instance because libgomp is not installed.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        hint = "; install libgomp (Debian: apt install libgomp1)" if "libgomp" in str(error) else ""
        raise Unavailable(f"the kernels do not load: {error}{hint}") from error


def cache_folder() -> Path:
    """Return the folder in the user's cache that holds the compiled CPU kernels."""
    return cache.compiled_code_folder("kernels")


def find_onednn() -> OneDNN:
    """Find oneDNN's library and header files among the installed Python packages.

    Raises:
      Unavailable: a package is not installed.
    """
    library = _installed_file("onednn-cpu-gomp", "libdnnl.so.3")
    header = _installed_file("onednn-devel-cpu-gomp", "oneapi/dnnl/dnnl.hpp")
    return OneDNN(library, header.parents[2])


def find_compiler() -> list[str]:
    """Return the command of a C++ compiler.

    It is the value of the environment variable CXX if that is set, else the first of g++, c++ and
    clang++ that is installed.

    Raises:
      Unavailable: there is no compiler.
    """
    chosen = os.environ.get("CXX", "").split()
    if chosen and shutil.which(chosen[0]):
        return chosen
    for name in COMPILERS:
        if (found := shutil.which(name)) is not None:
            return [found]
    raise Unavailable("there is no C++ compiler; install one (Debian: apt install g++)")


def key(onednn: OneDNN) -> str:
    """Return a hash of everything that the compiled CPU kernels depend on.

    A library is stored in the cache under this hash, so that another processor or another version
    of oneDNN or jaxlib gets a library of its own.
    """
    hashed = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        hashed.update(path.name.encode() + path.read_bytes())
    libc = "-".join(platform.libc_ver())
    built_with = (jaxlib.__version__, ONEDNN, str(onednn.library), *FLAGS)
    hashed.update("\n".join((*built_with, cache.processor_fingerprint(), libc)).encode())
    return hashed.hexdigest()[:16]


def is_intact(path: Path) -> bool:
    """Return True if a file is a complete library that `compile_library` has written."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-HASH_BYTES]).digest() == content[-HASH_BYTES:]


def compile_library(compiler: Sequence[str], onednn: OneDNN, target: Path) -> None:
    """Compile the C++ source files in parallel, and write the shared library atomically.

    Raises:
      Unavailable: the compiler fails.
      OSError: the folder of the library cannot be written.
    """
    include = [f"-I{jax.ffi.include_dir()}", f"-I{onednn.headers}"]
    with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as folder:
        objects = [str(Path(folder) / f"{name}.o") for name in COMPILED]
        _run_in_parallel(
            [*compiler, *FLAGS, *include, "-c", str(SOURCES / name), "-o", made]
            for name, made in zip(COMPILED, objects, strict=True)
        )
        library = Path(folder) / "library.so"
        rpath = ["-Xlinker", "-rpath", "-Xlinker", str(onednn.library.parent)]
        linked = [*objects, "-o", str(library), str(onednn.library), *rpath]
        _run_in_parallel([[*compiler, "-shared", *linked]])
        content = library.read_bytes()
        library.write_bytes(content + hashlib.sha256(content).digest())
        library.replace(target)


def _run_in_parallel(commands: Iterator[list[str]] | list[list[str]]) -> None:
    """Run several compiler commands in parallel and wait until all of them have ended.

    Raises:
      Unavailable: a command fails, or takes longer than `SECONDS`.
    """
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    failed = ""
    for process in running:
        try:
            output = process.communicate(timeout=SECONDS)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            output = process.communicate()[0] + f"stopped after {SECONDS} s"
        if process.returncode != 0:
            errors = [line for line in output.splitlines() if "error" in line] or [output.strip()]
            failed = failed or errors[0] or f"exit code {process.returncode}"
    if failed:
        raise Unavailable(f"the C++ compiler fails: {failed[:300]}")


def _installed_file(package: str, name: str) -> Path:
    """Return the path of a file of an installed Python package; the path ends in `name`.

    Args:
      package: the name of the package.
      name: the last part of the file's path in the package.

    Raises:
      Unavailable: the package is not installed.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate())).resolve()
        if str(file).endswith(name) and path.is_file():
            return path
    raise Unavailable(f"oneDNN is missing; pip install {package}=={ONEDNN}")


@contextlib.contextmanager
def _compile_lock(target: Path) -> Iterator[None]:
    """Hold a file lock in a `with` block, so that only one process at a time compiles the library.

    The operating system releases the lock if the process is killed.
    """
    with target.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
