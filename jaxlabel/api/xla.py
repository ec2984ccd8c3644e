"""Set options of XLA, the compiler of JAX, before JAX starts. This module does not import JAX."""

import os
import sys
from collections.abc import MutableMapping

from jaxlabel import cache
from jaxlabel.api.xla_cache import delete_half_written


def settle_xla(environment: MutableMapping[str, str]) -> None:
    """Set environment variables that choose XLA's compiler options and its cache directory.

    XLA is the compiler of JAX, which reads the variables when it is imported. So this function must
    be called before. A cache directory and compiler options that the user has set are kept.

    Args:
      environment: the environment variables, such as `os.environ`; changed in place.
    """
    if not os.path.exists("/dev/nvidiactl"):
        # LLVM's third level takes XLA's CPU backend 5 times longer to compile random numbers
        # (2.5 s for each shape of a draw, jax 0.10.2) and makes nothing here run faster.
        own = environment.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = f"--xla_backend_optimization_level=2 {own}".strip()
    # XLA's own cache key leaves out some properties of the processor that it compiles for, so each
    # kind of processor has its own folder.
    folder = cache.compiled_code_folder("xla")
    if environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder)) == str(folder):
        delete_half_written(folder)
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def settle_before_jax() -> None:
    """Call `settle_xla` for this process, unless JAX has been imported already.

    With these options, `jaxlabel.fit` compiles in a third of the time and uses the same cache of
    compiled code as the command line. To keep JAX's own options, import JAX before jaxlabel.
    """
    if "jax" not in sys.modules:
        settle_xla(os.environ)
