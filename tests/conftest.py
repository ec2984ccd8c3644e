"""Fixtures that several test files share."""

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from postgres import temporary_url

# XLA's compilation takes most of the tests' time, while the compiled code runs for milliseconds. So
# don't optimise, and cache all compiled code on disk. XLA ends the process if it does not know a
# flag, so other versions of it, which may lack the second flag, get the first one alone.
FLAGS = ["--xla_backend_optimization_level=0"]
if metadata.version("jaxlib").startswith("0.10."):
    FLAGS += ["--xla_cpu_use_fusion_emitters=false"]
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "jaxlabel-xla")
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# JAX keeps what it has compiled, so garbage collections find little and took a tenth of the time.
gc.set_threshold(100_000, 50, 1000)


@pytest.fixture(scope="session", autouse=True)
def import_in_this_process() -> Iterator[Callable[..., list[str]]]:
    """Let runs import labels without a new process, whose start takes a second; yield the original.

    The command line's tests and those with the fixture `import_in_a_process` start real processes.
    """
    from jaxlabel.data import importing

    original = importing.in_subprocess
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "in_subprocess", importing.import_labels)
        yield original


@pytest.fixture
def import_in_a_process(
    import_in_this_process: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Import labels in a separate process, as users do."""
    from jaxlabel.data import importing

    monkeypatch.setattr(importing, "in_subprocess", import_in_this_process)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty label store, once in a SQLite file and once on a PostgreSQL server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'labels.db'}"
    else:
        with temporary_url() as url:
            yield url


# `pytest --hypothesis-profile=long` tries inputs for minutes instead of a second per test. No
# profile has a deadline: the tests that promise a time measure processor time themselves.
settings.register_profile(
    "quick", max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
settings.register_profile(
    "long", max_examples=100_000, deadline=None, print_blob=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
settings.load_profile("quick")
