"""Prepare the command line for any environment: precision, devices, terminals of other encodings.

It is called before JAX is imported. Subprocesses inherit the environment variables.
"""

import sys
from collections.abc import MutableMapping

from jaxlabel.api.xla import settle_xla

FALSE = ("", "0", "false", "off", "no")


def settle(environment: MutableMapping[str, str]) -> list[str]:
    """Set the environment variables of JAX and XLA, and return lines for the user.

    Variables that the user has set keep their values, except those with which jaxlabel cannot work.
    """
    lines = []
    if environment.get("JAX_ENABLE_X64", "").lower() not in FALSE:
        environment["JAX_ENABLE_X64"] = "0"
        lines.append("JAX_ENABLE_X64 is not used: jaxlabel computes with 32 bits")
    settle_xla(environment)
    return lines


def settle_streams() -> None:
    """Let standard output and error escape what their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def backend_fault(environment: MutableMapping[str, str]) -> str:
    """Return what to do if JAX cannot start on its device; "" if it can.

    Args:
      environment: the environment variables, for the message.
    """
    if "jax" not in sys.modules:
        return ""
    import jax

    try:
        jax.devices()
    except Exception as error:  # JAX raises RuntimeError, and its plug-ins raise AssertionError
        reason = (str(error).splitlines() or ["no such device"])[0][:200]
        if platforms := environment.get("JAX_PLATFORMS", ""):
            return (f"JAX cannot use JAX_PLATFORMS={platforms} on this machine ({reason}): unset "
                    "it, or set it to cpu")  # fmt: skip
        return f"JAX cannot start on this machine's device ({reason}): set JAX_PLATFORMS=cpu"
    return ""
