"""Training on images that stay on the host, because they do not fit into the device's memory.

A training step takes its mini-batch out of the data, as in `data.images[rows]`. If the images do
not fit into the device's memory, an `OnHost` stands for them in the data. Two programs are then
compiled from the same step: one that only finds out which rows the step takes, and one that gets
these rows of the images as an input. Threads read the rows of the next steps, for example from a
memory-mapped file, while the device computes. So every step can be used if its rows depend only on
its random key and its data; the mini-batches are the same as if the device held the images.
"""

import collections
import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, Key

from jaxlabel.nets import devices

AHEAD = 4  # mini-batches that are read ahead, each by a thread of its own
PLANNED = 100  # steps whose rows are found out in one call
MISREAD = "rows that were not read"  # a metric: above 0 if a step takes other rows than planned
Part = TypeVar("Part")
Read = TypeVar("Read")
Step = Callable[[Any, Any, Key[Array, ""]], tuple[Any, Any]]  # as in jaxlabel.train
Given = tuple[tuple[Array, Array], ...]  # the rows that a step takes, and what they contain


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class OnHost:
    """Images on the host, as a training step sees them: it can only take rows out of them.

    Attributes:
      number: the number of the array, from 0, among those that stay on the host.
      shape: the shape of the array.
      dtype: the name of the array's dtype.
    """

    number: int
    shape: tuple[int, ...]
    dtype: str

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Int[Array, "..."]) -> Array:
        return _take.get()(self, rows)


# What indexing an OnHost does, while a step is traced.
_take: contextvars.ContextVar[Callable[[OnHost, Array], Array]] = contextvars.ContextVar("take")


def is_on_host(leaf: Any) -> bool:
    """Return True for an `OnHost`; pass it to functions of `jax.tree` as `is_leaf`."""
    return isinstance(leaf, OnHost)


def take_out(data: Any) -> tuple[Any, list[np.ndarray]]:
    """Replace the images in a pytree that are too large for the device (`devices.fits`).

    Images are NumPy arrays with four axes.

    Returns:
      The pytree, in which an `OnHost` stands for all images that are too large and all other arrays
      are on the device; and the images that are too large, by their number.
    """
    large: list[np.ndarray] = []

    def place(leaf: Any) -> Any:
        are_images = isinstance(leaf, np.ndarray) and leaf.ndim == 4
        if not are_images or devices.fits(leaf):
            return jnp.asarray(leaf)
        large.append(leaf)
        return OnHost(len(large) - 1, leaf.shape, leaf.dtype.name)

    return jax.tree.map(place, data), large


def feed(step: Step) -> Callable[..., tuple[Any, dict[str, Array]]]:
    """Return the training step `step` with one more argument: the rows that were read for it.

    The argument is one item of `read_batches`, or () if the device has all the data.
    """

    def fed(state: Any, data: Any, key: Key[Array, ""], given: Given) -> Any:
        left, wrong = iter(given), []

        def take(array: OnHost, rows: Array) -> Array:
            planned, content = next(left)
            wrong.append(jnp.any(rows != planned))
            return content

        with _taking(take):
            state, metrics = step(state, data, key)
        misread = {MISREAD: jnp.float32(jnp.stack(wrong).any())} if wrong else {}
        return state, {**metrics, **misread}

    return fed


def read_batches(
    step: Step, state: Any, data: Any, key: Key[Array, ""], large: list[np.ndarray],
    first: int, last: int,
) -> Generator[Given, None, None]:  # fmt: skip
    """Yield what each training step from `first` to `last` - 1 takes out of the large arrays.

    The random key of step i is `fold_in(key, i)`. Close the generator, as that of `read_ahead`.

    Args:
      step: the training step.
      state: a training state; its values do not matter.
      data: the data of the step, in which an `OnHost` stands for each large array.
      large: the large arrays.
    """
    find_rows = _find_rows(step, devices.mesh())

    def planned() -> Iterator[Any]:
        for start in range(first, last, PLANNED):
            numbers = np.arange(start, start + PLANNED, dtype=np.int32)
            asked = jax.device_get(find_rows(state, data, key, numbers))
            for place in range(min(PLANNED, last - start)):
                yield [(array, rows[place]) for array, rows in asked]

    def read(asked: list[tuple[OnHost, np.ndarray]]) -> Given:
        given = tuple((rows, np.take(large[array.number], rows, axis=0)) for array, rows in asked)
        return devices.replicate(jax.tree.map(jnp.asarray, given))

    return read_ahead(read, planned())


def read_ahead(read: Callable[[Part], Read], parts: Iterable[Part]) -> Generator[Read, None, None]:
    """Yield `read(part)` for each part in order, while threads read up to `AHEAD` parts more.

    Close the generator (`contextlib.closing`): it ends the threads and frees what they have read.
    """
    pool = ThreadPoolExecutor(AHEAD, "read_ahead")
    waiting: collections.deque[Any] = collections.deque()
    try:
        for part in parts:
            waiting.append(pool.submit(read, part))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def check_rows(metrics: dict[str, float]) -> None:
    """Remove the metric `MISREAD`, and raise a RuntimeError if it is above 0."""
    if metrics.pop(MISREAD, 0.0):
        raise RuntimeError(
            "a training step on images that do not fit the device must choose its rows by its "
            "random key and its data alone, not by the state of the training"
        )


@functools.lru_cache(maxsize=4)
def _find_rows(step: Step, mesh: Mesh) -> Callable[..., Any]:
    """Return a compiled function that returns which rows steps take, given their numbers.

    It returns a pair for each time that the step indexes an `OnHost`: the `OnHost`, and the rows,
    an array whose first axis counts the steps. XLA leaves out all computations of the step on which
    the rows do not depend.
    """

    def of_step(state: Any, data: Any, key: Key[Array, ""]) -> Any:
        asked = []

        def take(array: OnHost, rows: Array) -> Array:
            asked.append((array, rows))
            return jnp.zeros((*rows.shape, *array.shape[1:]), array.dtype)

        with _taking(take):
            step(state, data, key)
        return tuple(asked)

    def of_steps(state: Any, data: Any, key: Key[Array, ""], numbers: Int[Array, "steps"]) -> Any:
        return jax.lax.map(
            lambda number: of_step(state, data, jax.random.fold_in(key, number)), numbers
        )

    return devices.compile_replicated(of_steps)


@contextlib.contextmanager
def _taking(take: Callable[[OnHost, Array], Array]) -> Iterator[None]:
    """Make a context manager in which indexing an `OnHost` calls `take`."""
    token = _take.set(take)
    try:
        yield
    finally:
        _take.reset(token)
