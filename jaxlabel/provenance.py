"""What a result was made with: the device, the versions, the commit."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from jaxlabel import __version__
from jaxlabel.nets import native

LIBRARIES = ("jax", "flax", "optax", "numpy")


def made_with() -> dict[str, Any]:
    """Return the device, what computes convolutions on it, the versions and the commit."""
    return {
        "device": device(),
        "cpu_kernels": str(native.selected()),
        "versions": versions(),
        "commit": commit(),
    }


def device() -> str:
    """The accelerator's name, or the number of CPU cores."""
    first = jax.devices()[0]
    if first.platform == "cpu":
        return (
            f"CPU, {len(os.sched_getaffinity(0))} cores"
            if hasattr(os, "sched_getaffinity")
            else "CPU"
        )
    return f"{len(jax.devices())}x {first.device_kind}"


def versions() -> dict[str, str]:
    """Python's, jaxlabel's, which need not be installed for that, and those of its libraries."""
    own = {"python": platform.python_version(), "jaxlabel": __version__}
    return own | {name: version(name) for name in LIBRARIES}


def commit() -> str:
    """The commit of jaxlabel's source, with "+" when it was changed since.

    Outside git what the environment's JAXLABEL_COMMIT says, else "".
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    command = [*git, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    told = os.environ.get("JAXLABEL_COMMIT", "")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return told
    return done.stdout.strip() if done.returncode == 0 else told
