"""The data types of sweeps: an experiment, the plan of its runs, and the outcome of a run.

A sweep is the execution of all runs of an experiment.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlabel.config import RunConfig


class Arm(NamedTuple):
    """A method with a grid of settings, which an experiment compares with other arms.

    For example, the grid {"budget": [500, 1000], "steps": [10, 20]} has four combinations of
    settings. Each combination is a row of a results table and is run with several seeds.

    Attributes:
      name: a short name, which the table shows in each row of the arm.
      base: the configuration that has the values of all settings that are not in the grid.
      grid: for each setting that the arm varies, the list of its values. In the order of the rows,
        the setting named last changes fastest.
      seeds: the seeds; each combination is run once with each of them.
      theirs: for each row a published result to compare with, or None if the row has none; an empty
        sequence if no row has one.
    """

    name: str
    base: RunConfig
    grid: Mapping[str, Sequence[Any]] = {}
    seeds: Sequence[int] = range(5)
    theirs: Sequence[float | None] = ()


class Table(NamedTuple):
    """The description of a table of results, which compares several arms.

    An arm is a method with a grid of settings.

    Attributes:
      title: the title of the table.
      arms: the arms, in the order in which the table shows them.
      measures: the measures that the table shows, a column for each. A measure is a key of a run's
        result.json. The table's figure shows the first measure, and only the first one is compared
        with published results.
      over: the quantity on the horizontal axis of the table's figure: a key of a run's result.json,
        such as "labels_spent", or the name of a setting.
    """

    title: str
    arms: Sequence[Arm]
    measures: Sequence[str] = ("test_accuracy",)
    over: str = "labels_spent"


class Experiment(NamedTuple):
    """A research question, and descriptions of the tables of results that answer it.

    Attributes:
      question: the question in one sentence.
      tables: the descriptions of the tables, which determine the training runs of the experiment.
    """

    question: str
    tables: Sequence[Table]


class Run(NamedTuple):
    """One training run of an experiment, as data that can be stored as JSON.

    Attributes:
      name: the name of the run, which is also the name of its folder.
      recipe: the configuration's class as "module:name", such as "jaxlabel.methods.semisup:Config";
        it determines the method.
      config: the settings of the run by name.
      table: the title of the results table that shows the run.
      row: the name of the arm (a method with a grid of settings) to which the run belongs.
      cell: the run's values of the settings in the grid, such as {"budget": 500}.
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
      fingerprint: a hash of the experiment file, jaxlabel's code, and the arguments from which the
        plan was made. It shows whether the plan is up to date.
      experiment: the name of the experiment file without ".py".
      about: the docstring of the experiment file.
      question: the research question of the experiment.
      quick: True for the experiment's small variant, which takes less time.
      data_root: the directory that holds a folder for each data set.
      tables: for each results table a dictionary with its title, its measures, and the quantity on
        the horizontal axis of its figure.
      runs: the runs, in the order in which the tables show them.
      data_roots: all values of `data_root` with which sweeps in the directory of the runs began.
    """

    fingerprint: str
    experiment: str
    about: str
    question: str
    quick: bool
    data_root: str
    tables: list[dict[str, Any]]
    runs: list[Run]
    data_roots: Sequence[str] = ()


class Outcome(NamedTuple):
    """A training run of an experiment that has ended, with its error message if it failed.

    Attributes:
      run: the run.
      error: the error message as one line; an empty string if the run succeeded.
      log: the path of the file that holds the text output of the run.
    """

    run: Run
    error: str
    log: Path


def config_class(recipe: str) -> type[RunConfig]:
    """Import and return a configuration class.

    Args:
      recipe: the class as "module:name", such as "jaxlabel.methods.semisup:Config".
    """
    module, _, name = recipe.partition(":")
    config: type[RunConfig] = getattr(importlib.import_module(module), name)
    return config
