"""Checkpoints by Orbax: the flat leaves of a pytree, whole or not at all."""

import contextlib
import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlabel import files
from jaxlabel.errors import JaxlabelError

CLASSES = "classes"  # beside the leaves: how many there were when they were saved
OVERHEAD = 100_000  # bytes of a checkpoint's own files
PASSING = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE,
           errno.ENFILE, errno.ENOMEM)  # fmt: skip


class Misfit(JaxlabelError):
    """A checkpoint was saved from a tree with other leaves.

    Attributes:
      num_classes: how many classes there were then; -1 where that is not known.
    """

    def __init__(self, message: str, num_classes: int):
        super().__init__(message)
        self.num_classes = num_classes


def open_manager(folder: Path) -> Any:
    """An Orbax manager that keeps the last two steps in `folder` and saves synchronously."""
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, enable_async_checkpointing=False, create=True
    )
    with _one_line(folder):
        return ocp.CheckpointManager(folder.absolute(), options=options)


def save(manager: Any, folder: Path, step: int, tree: Any, num_classes: int = -1) -> None:
    """Saves the leaves of `tree`, unless a checkpoint of this step or a later one is there.

    Leaves alone, not their structure: so Flax's graph mode and tree mode read each other's.

    Raises:
      JaxlabelError: the disk is full.
    """
    import orbax.checkpoint as ocp

    newest = manager.latest_step()
    if newest is not None and newest >= step:
        return
    arrays = {_name(i): _as_array(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}
    # Orbax refuses empty arrays and empty trees.
    arrays = {name: array for name, array in arrays.items() if array.size}
    arrays |= {"step": np.array(step), CLASSES: np.array(num_classes)}
    # asked first: what Orbax's threads cannot write they complain about in many tracebacks
    if shutil.disk_usage(folder).free < sum(array.nbytes for array in arrays.values()) + OVERHEAD:
        raise files.disk_full(folder)
    with _one_line(folder):
        manager.save(step, args=ocp.args.StandardSave(arrays))


def restore(
    manager: Any, folder: Path, like: Any, say: Callable[[str], None], *, remove: bool = True
) -> tuple[int, Any] | None:
    """The newest checkpoint that can be read (step, tree in the structure of `like`), or None.

    Args:
      say: is told of one that is damaged.
      remove: whether that one is removed, so that its step can be saved again.

    Raises:
      Misfit: it was saved from a tree with other leaves.
      JaxlabelError: the system refuses to read it, which may pass; nothing is removed.
    """
    import orbax.checkpoint as ocp

    leaves, structure = jax.tree.flatten(like)
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            with _quiet():
                saved = manager.restore(step, args=ocp.args.StandardRestore())
        except Exception as error:  # Orbax raises a different class for each kind of damage.
            if isinstance(error, MemoryError) or getattr(error, "errno", None) in PASSING:
                raise JaxlabelError(f"{folder}: step {step} cannot be read now ({error}); "
                                    "nothing is lost, start again") from error  # fmt: skip
            fate = "is removed" if remove else "is left out"
            say(f"{folder.name}: the checkpoint of step {step} cannot be read and {fate} "
                f"({type(error).__name__})")  # fmt: skip
            if remove:
                manager.delete(step)
            continue
        return step, jax.tree.unflatten(structure, _fitted(saved, leaves, folder))
    return None


def _fitted(saved: dict[str, np.ndarray], leaves: list[Any], folder: Path) -> list[Any]:
    """The saved arrays as leaves like the given ones."""
    wanted = [_as_array(leaf) for leaf in leaves]
    expected = {_name(i) for i, array in enumerate(wanted) if array.size}
    remedy = f"remove {folder} to start this part again"
    num_classes = int(saved.get(CLASSES, -1))
    if expected != (got := saved.keys() - {"step", CLASSES}):
        raise Misfit(
            f"{folder}: the checkpoint holds {len(got)} arrays where the code has "
            f"{len(expected)}; {remedy}",
            num_classes,
        )
    for index, array in enumerate(wanted):
        there = saved.get(_name(index), array)
        if there.shape != array.shape or there.dtype != array.dtype:
            raise Misfit(
                f"{folder}: array {index} of the checkpoint is {there.dtype}{list(there.shape)} "
                f"where the code has {array.dtype}{list(array.shape)}; {remedy}",
                num_classes,
            )
    return [
        _like(leaf, saved.get(_name(index), wanted[index])) for index, leaf in enumerate(leaves)
    ]


def _as_array(leaf: Any) -> Any:
    """The leaf as NumPy, a typed random key as its data; a shape alone stays what it is."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _like(leaf: Any, array: np.ndarray) -> Any:
    if _is_key(leaf):
        return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=jax.random.key_impl(leaf))
    if isinstance(leaf, np.ndarray | np.generic | int | float):
        return array
    return jax.numpy.asarray(array)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _name(index: int) -> str:
    return f"{index:05d}"


@contextlib.contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """A context that makes one line of a full disk, which Orbax reports as a ValueError."""
    try:
        with _quiet(), files.refusals(folder):
            yield
    except ValueError as error:
        if "No space left" not in str(error):
            raise
        raise files.disk_full(folder) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A context without Orbax's own log lines: what matters is raised as well."""
    logger = logging.getLogger("absl")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
