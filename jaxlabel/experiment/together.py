"""One run by several processes: what process 0, the leader, does, and what the others do."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cache, config, data
from jaxlabel.data.dataset import Dataset, options_of
from jaxlabel.errors import DataError, JaxlabelError, UsageError
from jaxlabel.experiment import outside_features
from jaxlabel.log import Log, NullLog
from jaxlabel.nets import devices, hosts, native
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor
from jaxlabel.runlog import RunLog, checkpoints, dataset_snapshot

Recipe = Callable[..., Predictor]


def start(settings: config.RunConfig, coordinator: str, num_processes: int, number: int) -> None:
    """Connect this process with the other processes of the run; see `hosts.start`.

    Raises:
      UsageError: the run has settings with which several processes cannot compute it.
    """
    if settings.outside_features:
        raise UsageError("config.features works with one process only: leave out --coordinator")
    if settings.labels:
        raise UsageError("config.labels works with one process only: leave out --coordinator")
    os.environ.pop(cache.VARIABLE, None)  # what one process reads there, another might not find
    hosts.start(coordinator, num_processes, number)
    devices.agree_on_memory()


@contextlib.contextmanager
def leading() -> Iterator[None]:
    """Make a context manager for the leader's run, which releases the other processes at its end.

    They wait for the leader before and after the recipe. If the leader ends with an error, they
    are told the error.
    """
    try:
        yield
    except Exception as error:
        hosts.fail(error)
        raise
    hosts.from_leader(list)
    hosts.part()


def lead(
    recipe: Recipe, settings: config.RunConfig, dataset: Dataset, oracle: Oracle, log: RunLog
) -> Predictor:
    """Execute a recipe, together with the other processes if there are any.

    Args:
      recipe: the function `run` of the recipe's module.
      settings: the settings of the run.
      dataset: the images.
      oracle: the oracle, from which the recipe buys labels.
      log: the run's log.
    """
    if hosts.count() == 1:
        key = jax.random.key(settings.seed)
        return recipe(settings, dataset.train_images, oracle, key, log)
    hosts.from_leader(lambda: [_digest(settings), dataset.train_items.astype(str)])
    return _together(recipe, settings, dataset, oracle, log)


def follow(recipe: Recipe, settings: config.RunConfig) -> None:
    """Execute a recipe with the leader, in a process that is not the leader.

    Args:
      recipe: the function `run` of the recipe's module.
      settings: the settings of the run, which the leader has too.

    Raises:
      JaxlabelError: the leader has ended with an error.
      UsageError: this process has other settings than the leader.
      DataError: this process finds other images than the leader.
    """
    config.validate(settings)
    devices.select(settings.devices)
    native.select(settings.cpu_kernels)
    dataset = data.load(settings.data, options_of(settings))
    settings = dataclasses.replace(settings, kind=outside_features.kind_of(settings, dataset))
    if task := hosts.from_leader(list):  # else the run was finished before
        if str(task[0]) != _digest(settings):
            raise UsageError(f"process {hosts.number()} has other settings than process 0: give "
                             "all processes the same flags")  # fmt: skip
        _together(recipe, settings, in_order(dataset, task[1].tolist()), None, NullLog())
        hosts.from_leader(list)  # the leader evaluates
    hosts.part()


def _digest(settings: config.RunConfig) -> str:
    return cache.digest(repr(settings))


def _together(
    recipe: Recipe, settings: config.RunConfig, dataset: Dataset, oracle: Oracle | None, log: Log
) -> Predictor:
    key = jax.random.key(settings.seed)
    predictor = recipe(settings, dataset.train_images, SharedOracle(oracle), key, SharedLog(log))
    devices.select(settings.devices, own=True)
    return predictor


def in_order(dataset: Dataset, items: list[str]) -> Dataset:
    """Return a data set with its training images in the order of the ids `items`.

    Raises:
      DataError: the data set holds other images.
    """
    rows = dataset_snapshot.order_of(dataset.train_items.tolist(), items)
    if rows is None:
        raise DataError(f"process {hosts.number()} finds other images than process 0: give all "
                        "processes the same data")  # fmt: skip
    if np.array_equal(rows, np.arange(len(rows))):
        return dataset  # a copy of memory-mapped images might not fit into the memory
    return dataset._replace(
        train_images=dataset.train_images[rows], train_items=dataset.train_items[rows]
    )


class SharedOracle:
    """An oracle for all processes of a run: the leader buys, and all of them get the labels.

    It has those methods of `Oracle` that recipes use.

    Args:
      oracle: the oracle (the seller of labels) in the leader; None in the other processes.
    """

    def __init__(self, oracle: Oracle | None):
        self._oracle = oracle

    def ask(
        self, indices: Int[np.ndarray, "n"], *, purpose: str = "train", round: int = 0
    ) -> Int[np.ndarray, "n"]:
        """Buy the labels of the images at `indices`, as `Oracle.ask`.

        Raises:
          JaxlabelError: this process asks for other images than the leader, because their
            computers or libraries round differently.
        """
        asked, labels = self._from_leader(
            lambda oracle: [indices, oracle.ask(indices, purpose=purpose, round=round)]
        )
        if not np.array_equal(asked, indices):
            raise JaxlabelError(
                f"process {hosts.number()} chose other images than process 0: all processes need "
                "the same processors and the same versions of all libraries"
            )
        return labels

    def cost(self, indices: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """Return the current price of the label of each image at `indices`."""
        return self._from_leader(lambda oracle: [oracle.cost(indices)])[0]

    def first_copies(self, indices: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """Return, for each image at `indices`, the position of the first identical image."""
        return self._from_leader(lambda oracle: [oracle.first_copies(indices)])[0]

    def peek_accuracy(self, labels: Int[np.ndarray, "n"]) -> float:
        """Return the share of training images whose true label equals the given label."""
        return float(self._from_leader(lambda oracle: [oracle.peek_accuracy(labels)])[0])

    @functools.cached_property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return int(self._from_leader(lambda oracle: [oracle.num_classes])[0])

    @functools.cached_property
    def recorded(self) -> bool:
        """Return False if somebody has to be asked for labels."""
        return bool(self._from_leader(lambda oracle: [oracle.recorded])[0])

    @functools.cached_property
    def prices(self) -> Float[np.ndarray, "num_images"]:
        """Return the price of the label of every training image."""
        return self._from_leader(lambda oracle: [oracle.prices])[0]

    @property
    def remaining(self) -> float:
        """Return the budget that is left."""
        return float(self._from_leader(lambda oracle: [oracle.remaining])[0])

    @property
    def num_bought(self) -> int:
        """Return the number of different items whose labels were asked for."""
        return int(self._from_leader(lambda oracle: [oracle.num_bought])[0])

    def _from_leader(self, question: Callable[[Oracle], Sequence[Any]]) -> list[np.ndarray]:
        def answer() -> Sequence[Any]:
            assert self._oracle is not None
            return question(self._oracle)

        return hosts.from_leader(answer)


class SharedLog:
    """A log for all processes of a run. The leader writes, and all of them restore its checkpoints.

    Args:
      log: the log of the run in the leader; a log that writes nothing in the other processes.
    """

    def __init__(self, log: Log):
        self._log = log

    def __getattr__(self, name: str) -> Any:
        """Return a method of this process's log, for every method but `restore`."""
        return getattr(self._log, name)

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        """Return the newest checkpoint of the given name in every process.

        Args:
          name: the name under which the checkpoint was saved.
          like: a pytree of the same structure as the saved one.
        """

        def read() -> Sequence[Any]:
            found = self._log.restore(name, like)
            return [] if found is None else [found[0], *checkpoints.as_arrays(found[1])]

        if not (found := hosts.from_leader(read)):
            return None
        leaves, structure = jax.tree.flatten(like)
        restored = map(checkpoints.to_leaf_type, leaves, found[1:])
        return int(found[0]), jax.tree.unflatten(structure, restored)
