"""Prepare the process for any environment: precision, caches, and terminals of other encodings.

It is called before JAX is imported. Subprocesses inherit the environment variables.
"""

import os
import sys
import tempfile
from collections.abc import MutableMapping

FALSE = ("", "0", "false", "off", "no")


def settle(environment: MutableMapping[str, str]) -> list[str]:
    """Set the environment variables of JAX and XLA, and return lines for the user.

    Variables that the user has set keep their values, except those with which jaxlabel cannot work.
    """
    lines = []
    if not os.path.exists("/dev/nvidiactl"):
        # At LLVM's optimization level 3, XLA's CPU backend takes 5 times longer to compile random
        # numbers (2.5 s for each shape, jax 0.10.2), and nothing in jaxlabel runs faster.
        user_flags = environment.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = f"--xla_backend_optimization_level=2 {user_flags}".strip()
    if environment.get("JAX_ENABLE_X64", "").lower() not in FALSE:
        environment["JAX_ENABLE_X64"] = "0"
        lines.append("JAX_ENABLE_X64 is not used: jaxlabel computes with 32 bits")
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", compilation_cache())
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    return lines


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


def settle_streams() -> None:
    """Let standard output and error escape what their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def backend_fault(error: BaseException, environment: MutableMapping[str, str]) -> str:
    """Return what to do about an error of JAX's start on a device; "" for other errors."""
    text = str(error)
    platforms = environment.get("JAX_PLATFORMS", "")
    clues = ("Unable to initialize backend", "Unknown backend", "no platforms that are instances",
             "failed to initialize")  # fmt: skip
    if not any(clue in text for clue in clues):
        return ""
    if platforms:
        return (f"JAX cannot use JAX_PLATFORMS={platforms} on this machine: unset it, or set it to "
                f"cpu ({text.splitlines()[0][:200]})")  # fmt: skip
    return f"JAX cannot start on this machine's device: set JAX_PLATFORMS=cpu ({text[:200]})"
