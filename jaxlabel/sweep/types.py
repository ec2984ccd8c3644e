"""The data types of sweeps: an experiment, its plan, and the outcome of its runs."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlabel.config import RunConfig


class Arm(NamedTuple):
    """A part of a table: one recipe with a grid of settings.

    Attributes:
      name: a short name that the rows of the table show.
      base: the settings that all runs of the arm share.
      grid: for each varied setting its values. The table has a row for each combination; the last
        setting changes fastest.
      seeds: the seeds with which each row is run.
      theirs: a published figure for each row to compare with, or None; empty if there are none.
    """

    name: str
    base: RunConfig
    grid: Mapping[str, Sequence[Any]] = {}
    seeds: Sequence[int] = range(5)
    theirs: Sequence[float | None] = ()


class Table(NamedTuple):
    """A table of results, made of several arms.

    Attributes:
      title: the title of the table.
      arms: the arms, whose rows follow one another.
      measures: keys of a run's result, a column each. The first one is compared with `theirs` and
        drawn in the figure.
      over: the figure's horizontal axis: a key of the result, or a setting.
    """

    title: str
    arms: Sequence[Arm]
    measures: Sequence[str] = ("test_accuracy",)
    over: str = "labels_spent"


class Experiment(NamedTuple):
    """A question and the tables that answer it.

    Attributes:
      question: the question in one sentence.
      tables: the tables.
    """

    question: str
    tables: Sequence[Table]


class Run(NamedTuple):
    """One run of a sweep, as data that JSON can hold.

    Attributes:
      name: the name of the run's folder in the sweep's folder `runs`.
      recipe: the module and name of the configuration's class, as "module:name".
      config: the settings.
      table: the title of the table.
      row: the name of the arm.
      cell: the values of the settings in the arm's grid.
      theirs: the published figure to compare with, or None.
    """

    name: str
    recipe: str
    config: dict[str, Any]
    table: str
    row: str
    cell: dict[str, Any]
    theirs: float | None


class Plan(NamedTuple):
    """The list of an experiment's runs, stored in the sweep's plan.json.

    Attributes:
      fingerprint: a hash of everything that the plan was made from.
      experiment: the name of the experiment file.
      about: the docstring of the experiment file.
      question: the experiment's question.
      quick: True for the quick variant.
      data_root: the directory that holds a folder per data set.
      tables: for each table its title, measures, and horizontal axis.
      runs: the runs in the order of the tables' rows.
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
    """The end of a run.

    Attributes:
      run: the run.
      error: the error as one line; "" if the run succeeded.
      log: the file that holds the run's output.
    """

    run: Run
    error: str
    log: Path


def config_class(recipe: str) -> type[RunConfig]:
    """Import and return the configuration class that is named as "module:name"."""
    module, _, name = recipe.partition(":")
    config: type[RunConfig] = getattr(importlib.import_module(module), name)
    return config
