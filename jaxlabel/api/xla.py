"""Set how XLA compiles, before JAX starts. This module imports neither JAX nor NumPy."""

import os
import sys
import tempfile
from collections.abc import MutableMapping


def settle_xla(environment: MutableMapping[str, str]) -> None:
    """Set how XLA compiles and where it keeps what it compiled; what the user has set stays.

    It has to be called before JAX is imported.

    Args:
      environment: the environment variables, which are changed.
    """
    if not os.path.exists("/dev/nvidiactl"):
        # LLVM's third level takes XLA's CPU backend 5 times longer to compile random numbers
        # (2.5 s for each shape of a draw, jax 0.10.2) and makes nothing here run faster.
        own = environment.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = f"--xla_backend_optimization_level=2 {own}".strip()
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", compilation_cache())
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def compilation_cache() -> str:
    """Return a writable directory for XLA's compiled programs: ~/.cache/jaxlabel/xla if possible.

    Without a home directory, or with one that is read-only, it is a directory of this user in the
    directory for temporary files.
    """
    home = os.path.expanduser("~")
    if os.path.isabs(home):
        wanted = os.path.join(home, ".cache", "jaxlabel", "xla")
        existing = wanted
        while not os.path.exists(existing):
            existing = os.path.dirname(existing)
        if os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK):
            return wanted
    return os.path.join(tempfile.gettempdir(), f"jaxlabel-xla-{os.getuid()}")


def settle_before_jax() -> None:
    """Call `settle_xla` for this process, unless something else has imported JAX already.

    `jaxlabel.fit` then compiles as the command line does: in a third of the time, and with the
    same cache of compiled code. Import JAX before jaxlabel to keep its own settings.
    """
    if "jax" not in sys.modules:
        settle_xla(os.environ)
