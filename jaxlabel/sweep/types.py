"""The data types of sweeps: an experiment, the plan of its runs, and the outcome of a run.

A sweep is the execution of all runs of an experiment.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlabel.config import RunConfig


class Arm(NamedTuple):
    """One of the compared alternatives of an experiment: a method with a grid of settings.

    Each combination of settings becomes a row of a results table.

    Attributes:
      name: a short name, which the table shows in each row of the arm.
      base: the configuration that all runs of the arm start from.
      grid: for each varied setting, the list of its values. The table has a row for each
        combination of values; the setting named last changes fastest.
      seeds: the seeds with which each combination is run.
      theirs: a published result for each row to compare with, or None for a row without one; an
        empty sequence if there are none at all.
    """

    name: str
    base: RunConfig
    grid: Mapping[str, Sequence[Any]] = {}
    seeds: Sequence[int] = range(5)
    theirs: Sequence[float | None] = ()


class Table(NamedTuple):
    """A table of results in an experiment, which holds the rows of several arms.

    An arm is one of the compared alternatives: a method with a grid of settings.

    Attributes:
      title: the title of the table.
      arms: the arms, in the order in which the table shows them.
      measures: the measures that the table shows, a column for each, named by keys of a run's
        result. The first measure is compared with published results and drawn in the figure.
      over: the horizontal axis of the figure: a key of a run's result, or a setting.
    """

    title: str
    arms: Sequence[Arm]
    measures: Sequence[str] = ("test_accuracy",)
    over: str = "labels_spent"


class Experiment(NamedTuple):
    """A research question and the tables of results that answer it.

    Attributes:
      question: the question in one sentence.
      tables: the tables.
    """

    question: str
    tables: Sequence[Table]


class Run(NamedTuple):
    """One training run of an experiment, as data that can be stored as JSON.

    Attributes:
      name: the name of the run's folder in the folder `runs` of the experiment's output.
      recipe: the configuration's class as "module:name"; it determines the method.
      config: the settings.
      table: the title of the results table to which the run belongs.
      row: the name of the arm (compared alternative) to which the run belongs.
      cell: the values of the settings that the arm varies.
      theirs: the published result to compare with; None if there is none.
    """

    name: str
    recipe: str
    config: dict[str, Any]
    table: str
    row: str
    cell: dict[str, Any]
    theirs: float | None


class Plan(NamedTuple):
    """The list of an experiment's training runs, which is stored in the file plan.json.

    Attributes:
      fingerprint: a hash of everything that the plan was made from.
      experiment: the name of the experiment file.
      about: the docstring of the experiment file.
      question: the research question of the experiment.
      quick: True for the experiment's small variant, which takes less time.
      data_root: the directory that holds a folder for each data set.
      tables: for each results table its title, measures, and horizontal axis.
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
    """How a training run of an experiment ended.

    Attributes:
      run: the run.
      error: the error message as one line; an empty string if the run succeeded.
      log: the file that holds the run's output.
    """

    run: Run
    error: str
    log: Path


def config_class(recipe: str) -> type[RunConfig]:
    """Import and return the configuration class that `recipe` names as "module:name"."""
    module, _, name = recipe.partition(":")
    config: type[RunConfig] = getattr(importlib.import_module(module), name)
    return config
