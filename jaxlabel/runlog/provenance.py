"""Record the device, the library versions and the git commit with which a result was made."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from jaxlabel import __version__
from jaxlabel.nets import devices, hosts, native

LIBRARIES = ("jax", "flax", "optax", "numpy")


def made_with() -> dict[str, Any]:
    """Return entries for the file result.json that say how the result of a run was made.

    They are "device", "cpu_kernels" (the kernels of convolutions on the CPU), "versions" (of the
    libraries) and "commit" (of jaxlabel's source code).
    """
    return {
        "device": device(),
        "cpu_kernels": str(native.selected()),
        "versions": versions(),
        "commit": commit(),
    }


def device() -> str:
    """Return the name of the devices of the run, such as "2x NVIDIA A100" or "CPU, 8 cores"."""
    first, count = jax.devices()[0], hosts.count() * devices.count()
    if first.platform != "cpu":
        return f"{count}x {first.device_kind}"
    name = f"{count}x CPU" if count > 1 else "CPU"
    if hasattr(os, "sched_getaffinity"):
        name += f", {len(os.sched_getaffinity(0))} cores"
    return name


def versions() -> dict[str, str]:
    """Return the versions of Python, jaxlabel, JAX, Flax, Optax and NumPy, by name.

    For example, the entry "jax" is "0.4.30". jaxlabel need not be installed as a package.
    """
    base = {"python": platform.python_version(), "jaxlabel": __version__}
    return base | {name: version(name) for name in LIBRARIES}


def commit() -> str:
    """Return the git commit of jaxlabel's source code, followed by "+" if files have changed since.

    If git does not track the source code, the environment variable JAXLABEL_COMMIT is returned, or
    an empty string if the variable is not set. This is the case if jaxlabel is installed in an
    environment inside the repository of another project.
    """
    file, said = Path(__file__), ""
    git = ["git", "-C", str(file.parent)]
    described = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        for words in (["ls-files", "--error-unmatch", file.name], described):
            said = subprocess.run(
                [*git, *words], capture_output=True, text=True, timeout=10, check=True
            ).stdout
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("JAXLABEL_COMMIT", "")
    return said.strip()
