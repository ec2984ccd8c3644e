"""Choose the library that computes convolutions and norms on the CPU, once per process."""

import contextlib
import ctypes
import os
import threading
from typing import NamedTuple

import jax
import numpy as np

from jaxlabel.errors import UsageError
from jaxlabel.nets import devices
from jaxlabel.nets.native import building

VARIABLE = "JAXLABEL_CPU_KERNELS"
SETTINGS = ("auto", "onednn", "bfloat16", "xla")
TARGETS = (
    "jaxlabel_convolution",
    "jaxlabel_convolution_input_gradient",
    "jaxlabel_convolution_weight_gradient",
    "jaxlabel_norm",
    "jaxlabel_norm_gradient",
)
# Bits of oneDNN's dnnl_cpu_isa_t: each instruction set includes those below it.
ISA_BFLOAT16 = 0xE7
ISA_NAMES = {0xFEF: "AMX", 0xE7: "AVX-512 BF16", 0x27: "AVX-512", 0x7: "AVX2"}


class Kernels(NamedTuple):
    """The library that computes convolutions and norms, and the dtype it computes in.

    Attributes:
      name: "onednn" or "xla".
      dtype: the dtype of the activations, "float32" or "bfloat16"; weights are always float32.
      why: the reason for the choice, such as "as configured", which is shown to the user.
    """

    name: str
    dtype: str
    why: str

    def __str__(self) -> str:
        library = {"onednn": "oneDNN", "xla": "XLA"}[self.name]
        return f"{library}, {self.dtype} ({self.why})"


_lock = threading.RLock()
_selected: Kernels | None = None
_library: ctypes.CDLL | None = None


def select(setting: str = "auto") -> Kernels:
    """Choose the library that computes convolutions and norms in this process, and return it.

    On a GPU or TPU this is always XLA in bfloat16. If the choice differs from an earlier one, JAX's
    caches of compiled functions are cleared.

    Args:
      setting: the choice for a CPU. "onednn": oneDNN in float32. "bfloat16": oneDNN with bfloat16
        activations. "xla": XLA in float32. "auto": the value of the environment variable
        JAXLABEL_CPU_KERNELS; if that is not set, oneDNN in float32 if it can be used, else XLA.

    Raises:
      UsageError: the setting is unknown, or it names oneDNN or bfloat16 and this machine cannot use
        it.
    """
    global _selected
    with _lock:
        asked = _asked(setting)
        if asked not in SETTINGS:
            raise UsageError(f"{VARIABLE} is {asked!r}: it takes one of {', '.join(SETTINGS)}")
        chosen = _choose(asked)
        if _selected is not None and chosen[:2] != _selected[:2]:
            jax.clear_caches()
        _selected = chosen
        return chosen


def selected() -> Kernels:
    """Return the library that `select` chose; if it was not called yet, choose as for "auto"."""
    with _lock:
        return _selected or select()


def preload(setting: str = "auto") -> None:
    """Start to compile and load the oneDNN kernels in a thread, if `select` will need them.

    `select` waits for the thread, so a program that calls this first can read its data meanwhile.

    Args:
      setting: the setting that `select` will get.
    """

    def load() -> None:
        with _lock, contextlib.suppress(building.Unavailable):  # `select` will report the error
            _load()

    if _asked(setting) != "xla" and jax.default_backend() == "cpu":
        threading.Thread(target=load, name="jaxlabel-kernels").start()


def _asked(setting: str) -> str:
    """Return the setting, or the value of JAXLABEL_CPU_KERNELS for the setting "auto"."""
    return setting if setting != "auto" else os.environ.get(VARIABLE) or "auto"


def _choose(asked: str) -> Kernels:
    backend, count = jax.default_backend(), devices.count()
    if devices.is_accelerator():
        why = f"the device is a {backend}" if backend != "cpu" else f"{devices.ACT_AS}=gpu"
        return Kernels("xla", "bfloat16", why)
    if count > 1 and asked in ("onednn", "bfloat16"):
        raise UsageError(
            f"cpu_kernels={asked} computes on one device, and JAX finds {count}: set "
            "config.devices=1"
        )
    if count > 1:
        return Kernels("xla", "float32", f"oneDNN cannot divide a batch over {count} devices")
    if asked == "xla":
        return Kernels("xla", "float32", "as configured")
    try:
        isa = _load().jaxlabel_effective_isa()
    except building.Unavailable as error:
        if asked in ("onednn", "bfloat16"):
            raise UsageError(f"cpu_kernels={asked} cannot be used: {error}") from error
        return Kernels("xla", "float32", str(error))
    if asked == "bfloat16" and not has_bfloat16(isa):
        raise UsageError(
            f"cpu_kernels=bfloat16 would be slow: this processor has {isa_name(isa)} and no "
            "bfloat16 instructions; take cpu_kernels=onednn"
        )
    dtype = "bfloat16" if asked == "bfloat16" else "float32"
    return Kernels("onednn", dtype, f"the processor has {isa_name(isa)}")


def has_bfloat16(isa: int) -> bool:
    """Return True if an instruction set computes in bfloat16, as AVX-512 BF16 and AMX do.

    Without such instructions oneDNN emulates bfloat16, which takes longer than float32.

    Args:
      isa: the number of the instruction set, a value of oneDNN's enumeration `dnnl_cpu_isa_t`.
    """
    return isa & ISA_BFLOAT16 == ISA_BFLOAT16


def isa_name(isa: int) -> str:
    """Return the name of an instruction set, such as "AVX2", from its number in oneDNN.

    Args:
      isa: a value of oneDNN's enumeration `dnnl_cpu_isa_t`.
    """
    return next((name for bits, name in ISA_NAMES.items() if isa & bits == bits), "SSE4.1")


def _load() -> ctypes.CDLL:
    """Return the compiled oneDNN kernels; the first call loads them and registers them with JAX."""
    global _library
    if _library is None:
        library = building.load()
        for name in TARGETS:
            function = jax.ffi.pycapsule(getattr(library, name))
            jax.ffi.register_ffi_target(name, function, platform="cpu")
        _library = library
    return _library


def usable(images: jax.Array) -> bool:
    """Return True if `select` chose oneDNN and it can compute on images of this shape and dtype."""
    kernels = selected()
    dtype = np.dtype(images.dtype).name
    takes_type = dtype in ("float32", kernels.dtype)
    return (
        kernels.name == "onednn" and takes_type and images.ndim == 4 and 0 not in images.shape[1:]
    )
