"""Save and restore the arrays of a pytree with Orbax.

A checkpoint is written completely or not at all.
"""

import contextlib
import errno
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlabel import files
from jaxlabel.errors import JaxlabelError

CLASSES = "classes"  # the key of the number of classes in a checkpoint
OVERHEAD = 100_000  # bytes of a checkpoint beside its arrays
LATE = 0.5  # seconds to wait for the other reads of a checkpoint after one of them has failed
READING = threading.Lock()  # held while `sys.unraisablehook` is replaced
# Errors of the operating system that may disappear on a second try.
TRANSIENT = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE,
             errno.ENFILE, errno.ENOMEM)  # fmt: skip


class Misfit(JaxlabelError):
    """The error raised when the arrays of a checkpoint do not fit the expected pytree.

    The arrays differ from the leaves of the pytree in number, shape or dtype.

    Attributes:
      num_classes: the number of classes when the checkpoint was saved; -1 if unknown.
    """

    def __init__(self, message: str, num_classes: int):
        super().__init__(message)
        self.num_classes = num_classes


def open_manager(folder: Path) -> Any:
    """Return an Orbax manager that saves and loads checkpoints in `folder`.

    The manager keeps the last two checkpoints, and saving blocks until the checkpoint is written.

    Raises:
      JaxlabelError: the folder cannot be written.
    """
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, enable_async_checkpointing=False, create=False
    )
    if jax.process_count() > 1:  # only the leader has a manager and must not wait for the others
        options.multiprocessing_options = ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="leader"
        )
    with _short_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return ocp.CheckpointManager(folder.absolute(), options=options)


def save(manager: Any, folder: Path, step: int, tree: Any, num_classes: int = -1) -> None:
    """Save a pytree as a checkpoint, unless a checkpoint of this step or a later one exists.

    Only the leaves are saved, not the structure of the pytree. A checkpoint can therefore be loaded
    both in Flax's graph mode and in its tree mode, whose structures differ.

    Args:
      manager: the Orbax manager of `folder`, from `open_manager`.
      folder: the folder of the checkpoints.
      step: the training step, which identifies the checkpoint.
      tree: a pytree of arrays and random keys.
      num_classes: the number of classes known to the run; -1 if unknown.

    Raises:
      JaxlabelError: the disk is full.
    """
    import orbax.checkpoint as ocp

    newest = manager.latest_step()
    if newest is not None and newest >= step:
        return
    arrays = {_leaf_key(i): _as_array(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}
    # Orbax refuses empty arrays and empty trees.
    arrays = {name: array for name, array in arrays.items() if array.size}
    arrays |= {"step": np.array(step), CLASSES: np.array(num_classes)}
    # The free space is checked first: Orbax's threads print many tracebacks when a write fails.
    if shutil.disk_usage(folder).free < sum(array.nbytes for array in arrays.values()) + OVERHEAD:
        raise files.disk_full(folder)
    with _short_write_errors(folder):
        manager.save(step, args=ocp.args.StandardSave(arrays))


def restore(
    manager: Any, folder: Path, like: Any, say: Callable[[str], None], *, remove: bool = True
) -> tuple[int, Any] | None:
    """Load the newest checkpoint that can be read from a folder.

    Args:
      manager: the Orbax manager of `folder`, from `open_manager`.
      folder: the folder of the checkpoints.
      like: a pytree with the structure, shapes and dtypes of the saved pytree.
      say: a function that is called with a message for the user about each damaged checkpoint.
      remove: True to delete damaged checkpoints, so that their steps can be saved again.

    Returns:
      The checkpoint's step and its pytree; None if there is no readable checkpoint.

    Raises:
      Misfit: the saved arrays differ in number, shape or dtype from `like`.
      JaxlabelError: the operating system cannot read a checkpoint, but may be able to later; the
        checkpoint is not deleted.
    """
    leaves, structure = jax.tree.flatten(like)
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            with _without_orbax_logs():
                saved = _read(manager, step)
        except Exception as error:  # Orbax raises a different class for each kind of damage.
            if isinstance(error, MemoryError) or getattr(error, "errno", None) in TRANSIENT:
                raise JaxlabelError(f"{folder}: step {step} cannot be read now ({error}); "
                                    "nothing is lost, start again") from error  # fmt: skip
            fate = "is removed" if remove else "is left out"
            say(f"{folder.name}: the checkpoint of step {step} cannot be read and {fate} "
                f"({type(error).__name__})")  # fmt: skip
            if remove:
                manager.delete(step)
            continue
        return step, jax.tree.unflatten(structure, _convert_saved(saved, leaves, folder))
    return None


def _read(manager: Any, step: int) -> dict[str, np.ndarray]:
    """Return the arrays of a checkpoint by name, such as "00012" for leaf 12 of the pytree.

    Orbax reads all arrays at the same time and closes its event loop when one of them cannot be
    read. The other reads end later, and the thread of each then prints a traceback, which says
    that the loop is closed. This function waits for them for a moment and suppresses these
    tracebacks.

    Raises:
      Exception: Orbax raises a different class for each kind of damage.
    """
    import orbax.checkpoint as ocp

    with READING:
        before = sys.unraisablehook

        def hook(failure: Any) -> None:
            if str(failure.exc_value) != "Event loop is closed":
                before(failure)

        sys.unraisablehook = hook
        try:
            saved: dict[str, np.ndarray] = manager.restore(step, args=ocp.args.StandardRestore())
            return saved
        except Exception:
            time.sleep(LATE)
            raise
        finally:
            sys.unraisablehook = before


def _convert_saved(saved: dict[str, np.ndarray], leaves: list[Any], folder: Path) -> list[Any]:
    """Return the arrays of a checkpoint as leaves of a pytree.

    An array becomes a random key, a NumPy array, or a JAX array, like the expected leaf. An array
    with one more axis, of length 1, loses it: earlier versions of the flagship saved the networks
    of a committee together, also when it had one network.

    Args:
      saved: the arrays of the checkpoint by name, such as "00012" for leaf 12.
      leaves: the expected leaves, whose types, shapes and dtypes the arrays must have.
      folder: the folder of the checkpoint, for error messages.

    Raises:
      Misfit: an array is missing or unexpected, or has another shape or dtype than its leaf.
    """
    wanted = [_as_array(leaf) for leaf in leaves]
    expected = {_leaf_key(i) for i, array in enumerate(wanted) if array.size}
    remedy = f"remove {folder} to start this part again"
    num_classes = int(saved.get(CLASSES, -1))
    if expected != (names := saved.keys() - {"step", CLASSES}):
        raise Misfit(
            f"{folder}: the checkpoint holds {len(names)} arrays where the code has "
            f"{len(expected)}; {remedy}",
            num_classes,
        )
    for index, array in enumerate(wanted):
        stored = saved.get(_leaf_key(index), array)
        if stored.shape == (1, *array.shape):
            stored = saved[_leaf_key(index)] = stored[0]
        if stored.shape != array.shape or stored.dtype != array.dtype:
            raise Misfit(
                f"{folder}: array {index} of the checkpoint is {stored.dtype}{list(stored.shape)} "
                f"where the code has {array.dtype}{list(array.shape)}; {remedy}",
                num_classes,
            )
    return [
        to_leaf_type(leaf, saved.get(_leaf_key(index), wanted[index]))
        for index, leaf in enumerate(leaves)
    ]


def _as_array(leaf: Any) -> Any:
    """Convert a leaf of a pytree to a NumPy array.

    The array of a random key has the key's raw data. A `jax.ShapeDtypeStruct`, which only describes
    an array, is returned unchanged.
    """
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def as_arrays(tree: Any) -> list[np.ndarray]:
    """Return the leaves of a pytree as NumPy arrays; a random key becomes its raw data."""
    return [_as_array(leaf) for leaf in jax.tree.leaves(tree)]


def to_leaf_type(leaf: Any, array: np.ndarray) -> Any:
    """Convert the saved `array` to the type of the expected `leaf` of a pytree.

    The result is a random key, a NumPy array, or a JAX array.
    """
    if _is_key(leaf):
        return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=jax.random.key_impl(leaf))
    if isinstance(leaf, np.ndarray | np.generic | int | float):
        return array
    return jax.numpy.asarray(array)


def _is_key(leaf: Any) -> bool:
    """Return True if a leaf of a pytree is a typed random key of JAX."""
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _leaf_key(index: int) -> str:
    """Return the name under which a checkpoint stores leaf number `index`: "00012" for 12."""
    return f"{index:05d}"


@contextlib.contextmanager
def _short_write_errors(folder: Path) -> Iterator[None]:
    """Make a context manager that turns failed writes into a JaxlabelError with a one-line message.

    Without it, Orbax reports a full disk by a ValueError with a long text.

    Args:
      folder: the folder to which Orbax writes; the message names it.
    """
    try:
        with _without_orbax_logs(), files.write_errors(folder):
            yield
    except ValueError as error:
        if "No space left" not in str(error):
            raise
        raise files.disk_full(folder) from error


@contextlib.contextmanager
def _without_orbax_logs() -> Iterator[None]:
    """Make a context manager that suppresses Orbax's log lines; exceptions are still raised."""
    logger = logging.getLogger("absl")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
