"""The devices (GPUs, TPU cores) of a run, and how arrays are divided over them.

Training is data parallel: every device holds all weights, and all images if they fit its memory
(otherwise see `jaxlabel.nets.streaming`), and computes a part of each batch. A training step calls
`shard` for the arrays that are divided; XLA divides the computations that use them, and adds the
sums over all devices that the gradients need. The random numbers do not depend on the number of
devices, so neither do the batches. With one device, `shard`, `replicate` and `first_copy` return
their arguments unchanged.
"""

import contextlib
import functools
import os
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxlabel.errors import UsageError
from jaxlabel.nets import hosts

AXIS = "devices"  # the name of the only axis of the mesh
ACT_AS = "JAXLABEL_ACT_AS"  # an environment variable; "gpu" chooses the GPU's code path, for tests
LARGEST = 0.5  # share of a device's memory for an array, because networks and batches need the rest
Tree = TypeVar("Tree")
CONTAINERS = Path("/sys/fs/cgroup")  # where Linux says how much memory each group may use
OWN_CONTAINERS = Path("/proc/self/cgroup")  # the groups of this process
_mesh: Mesh | None = None  # set by `select`
_agreed_memory: int | None = None  # set by `agree_on_memory`


def select(limit: int = 0, *, own: bool = False) -> int:
    """Choose the devices that compute together, and return their number.

    Args:
      limit: the largest number of devices of each process; 0 for all devices of its machine.
      own: True for the devices of this process only, if several processes compute the run.

    Raises:
      UsageError: the machine has fewer than `limit` devices.
    """
    global _mesh
    available = jax.local_devices()
    if limit > len(available):
        raise UsageError(
            f"config.devices={limit}: JAX finds {len(available)} here; 0 stands for all of them"
        )
    chosen = available[: limit or None]
    if hosts.count() > 1 and not own:
        processes = range(hosts.count())
        chosen = [d for process in processes for d in jax.local_devices(process)[: limit or None]]
    _mesh = jax.make_mesh((len(chosen),), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)
    return _mesh.size


def mesh() -> Mesh:
    """Return the one-dimensional mesh of the devices that `select` chose; all devices by default.

    Caches of compiled functions use it as a key, because compiled programs depend on the devices.
    """
    if _mesh is None:
        select()
    assert _mesh is not None
    return _mesh


def count() -> int:
    """Return the number of devices that compute together."""
    return mesh().size


def memory() -> int:
    """Return the bytes of memory that JAX may use on each device.

    On a CPU, it is the memory of the machine, or the limit of the container or the Slurm job.
    """
    if _agreed_memory is not None:
        return _agreed_memory
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats["bytes_limit"]) if "bytes_limit" in stats else _host_memory()


def agree_on_memory() -> None:
    """Let `memory` return the smallest value of all processes of the run, in each of them.

    With different values, some processes might leave the images on the host and others not. They
    would execute different programs, and wait for each other for ever. All processes must call this
    function.
    """
    global _agreed_memory
    _agreed_memory = hosts.smallest("memory", memory())


def _host_memory() -> int:
    """Return the bytes of the machine's memory that this process may use."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError):  # only Linux has these files
        for line in OWN_CONTAINERS.read_text().splitlines():
            _, kinds, name = line.split(":", 2)
            if kinds == "":
                root, file = CONTAINERS, "memory.max"  # cgroups, version 2
            elif "memory" in kinds.split(","):
                root, file = CONTAINERS / "memory", "memory.limit_in_bytes"  # version 1
            else:
                continue
            group = Path(name.lstrip("/"))
            for part in (group, *group.parents):  # a group must keep to the limits around it too
                with contextlib.suppress(OSError, ValueError):  # "max" stands for no limit
                    limits.append(int((root / part / file).read_text()))
    return min(limits)


def fits(array: np.ndarray) -> bool:
    """Return True if a device can hold a whole array: if it takes at most half of the memory."""
    return array.nbytes <= LARGEST * memory()


def check_room(num_bytes: int, name: str) -> None:
    """Raise a UsageError if a computation needs more memory for an array than a device has.

    Args:
      num_bytes: the size of the array.
      name: what the array is, for the message.
    """
    if num_bytes > memory():
        raise UsageError(
            f"{name} take {num_bytes / 1e9:.1f} GB, more than the device's memory "
            f"({memory() / 1e9:.1f} GB): set image_size to a smaller side, or use a recipe "
            "that takes the images in batches, such as configs/flagship.py"
        )


def shard(tree: Tree) -> Tree:
    """Divide the rows of each array of a pytree over the devices. Call it in a compiled function.

    The values do not change. If the number of rows is not a multiple of the number of devices, XLA
    pads the parts of the last devices.
    """
    if count() == 1:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh(), PartitionSpec(AXIS)))


def replicate(tree: Tree) -> Tree:
    """Copy the arrays of a pytree to every device.

    Several processes must have equal arrays; each of them copies its own ones to its own devices.
    """
    if count() == 1:
        return tree
    everywhere = NamedSharding(mesh(), PartitionSpec())
    if not mesh().is_multi_process:
        return jax.device_put(tree, everywhere)

    def put(array: Any) -> Any:
        if isinstance(array, jax.Array) and jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(array)))
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, everywhere, lambda index: host[index])

    return jax.tree.map(put, tree)


def first_copy(tree: Tree) -> Tree:
    """Return the first device's copy of arrays that every device has.

    Computations with these arrays then run on the first device alone.
    """
    return tree if count() == 1 else jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def compile_replicated(function: Any, **options: Any) -> Any:
    """Compile a function by `jax.jit` so that every device gets a copy of its results.

    With several processes, each call first waits until all of them have compiled the function. A
    device waits only 30 seconds for the others (the time limit of Gloo, JAX's library on CPUs).

    Args:
      function: the function.
      options: further arguments of `jax.jit`.
    """
    if count() > 1:
        options["out_shardings"] = NamedSharding(mesh(), PartitionSpec())
    compiled = jax.jit(function, **options)
    if not mesh().is_multi_process:
        return compiled

    def together(*arguments: Any) -> Any:
        compiled.lower(*arguments).compile()  # kept by JAX for the call
        hosts.meet()
        return compiled(*arguments)

    return together


def is_accelerator() -> bool:
    """Return True if the programs are made for a GPU or TPU, False if they are made for a CPU.

    On a GPU or TPU, networks compute in bfloat16, one call runs many training steps, and networks
    that are trained together are vectorised. With the environment variable JAXLABEL_ACT_AS=gpu a
    CPU does the same, slowly, so that machines without a GPU can test it.

    Raises:
      UsageError: the environment variable has another value.
    """
    act_as = os.environ.get(ACT_AS, "")
    if act_as not in ("", "gpu"):
        raise UsageError(f"{ACT_AS} is {act_as!r}: it takes gpu, or nothing")
    return bool(act_as) or jax.default_backend() != "cpu"


@functools.cache
def compiler_options() -> dict[str, Any]:
    """Return XLA's compiler options for training steps; {} on a GPU or TPU.

    They disable YNNPACK, if jaxlib has an option for it. YNNPACK computes a convolution's weight
    gradient with a kernel of the image's size, which takes 1.7 to 3.5 times as long as with Eigen.
    Forward passes take equal time (experiments/train_step.md).
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: jnp.zeros(()), compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a jaxlib without this option
        return {}
    return options
