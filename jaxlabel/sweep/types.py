"""What an experiment file returns, and what it is unrolled to."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlabel.config import RunConfig


class Arm(NamedTuple):
    """A recipe's settings, what is varied, and the reference figures: some rows of a table.

    Attributes:
      name: what the rows say; short, for people.
      base: the settings that all its runs share.
      grid: setting to values; a row for each combination, the last setting changing fastest.
      seeds: how often each row is run.
      theirs: the figure that a row is compared with, in the rows' order; None where there is none.
    """

    name: str
    base: RunConfig
    grid: Mapping[str, Sequence[Any]] = {}
    seeds: Sequence[int] = range(5)
    theirs: Sequence[float | None] = ()


class Table(NamedTuple):
    """Arms that are to be read together.

    Attributes:
      measures: keys of a run's result; the first one is compared with `theirs` and drawn.
      over: the figure's horizontal axis: a key of the result, or a setting.
    """

    title: str
    arms: Sequence[Arm]
    measures: Sequence[str] = ("test_accuracy",)
    over: str = "labels_spent"


class Experiment(NamedTuple):
    """A question and the tables that answer it."""

    question: str
    tables: Sequence[Table]


class Run(NamedTuple):
    """One run of a sweep, in plain data.

    Attributes:
      name: its folder in the sweep's `runs`.
      recipe: the module and name of its configuration's class.
      cell: the values of the arm's grid.
    """

    name: str
    recipe: str
    config: dict[str, Any]
    table: str
    row: str
    cell: dict[str, Any]
    theirs: float | None


class Plan(NamedTuple):
    """An experiment unrolled; it is kept in the sweep's plan.json.

    Attributes:
      fingerprint: of all that it was made from.
      tables: per table its title, measures and axis.
    """

    fingerprint: str
    experiment: str
    about: str
    question: str
    quick: bool
    data_root: str
    tables: list[dict[str, Any]]
    runs: list[Run]


class Outcome(NamedTuple):
    """How a run ended: `error` is one line, empty when all went well."""

    run: Run
    error: str
    log: Path


def config_class(recipe: str) -> type[RunConfig]:
    """The class of a run's configuration, imported by its module and name."""
    module, _, name = recipe.partition(":")
    found: type[RunConfig] = getattr(importlib.import_module(module), name)
    return found
