"""What this machine's processor can do, as the operating system tells it."""

import functools
import hashlib
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def description() -> dict[str, str]:
    """Return what Linux says of the first processor, by its names; empty on other systems."""
    try:
        first = CPUINFO.read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def instructions() -> frozenset[str]:
    """Return the names of the processor's instruction sets, such as "avx2"."""
    return frozenset(description().get("flags", "").split())


def fingerprint() -> str:
    """Return a short hash that differs between processors that cannot share compiled code."""
    known = description()
    names = ("vendor_id", "cpu family", "model", "stepping")
    parts = [platform.machine(), *(known.get(name, "") for name in names), *sorted(instructions())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
