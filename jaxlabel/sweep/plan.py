"""Make the list of an experiment's runs from the experiment file.

The list, called plan, is stored in the file plan.json in the directory of the runs. It is made
anew only if the experiment file, jaxlabel, or an option has changed, because the import of an
experiment file takes seconds.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxlabel import cache, files
from jaxlabel.config import RunConfig, validate
from jaxlabel.errors import UsageError, did_you_mean
from jaxlabel.experiment import account, configfile
from jaxlabel.sweep import places
from jaxlabel.sweep.places import DATA_ROOT, in_other_folder
from jaxlabel.sweep.types import Arm, Experiment, Plan, Run, Table, config_class


def find(experiment: str) -> Path:
    """Return the absolute path of an experiment file.

    The function looks in the current directory and then in jaxlabel's repository, if jaxlabel is
    used from there. An installed wheel has no experiments.

    Args:
      experiment: the path of the file, or the name of a file in the folder experiments of one of
        these two directories; the ending ".py" may be left out.

    Raises:
      UsageError: the file is in neither of these directories.
    """
    name = experiment if experiment.endswith(".py") else f"{experiment}.py"
    name = name if "/" in name or Path(name).is_file() else f"experiments/{name}"
    names: list[str] = []
    for folder in (Path(), Path(__file__).parents[2]):
        if (folder / name).is_file():
            return (folder / name).resolve()
        names += [
            f"experiments/{path.name}" for path in sorted((folder / "experiments").glob("*.py"))
        ]
    raise UsageError(f"there is no experiment file {name}{did_you_mean(name, names)}; the folder "
                     "experiments of jaxlabel's repository has those that come with it"
                     )  # fmt: skip


def read(file: Path, workdir: Path, quick: bool, data_root: str) -> Plan:
    """Return the plan (the list of runs) of an experiment.

    The plan is read from the file plan.json if this file exists and is up to date: the experiment
    file, jaxlabel's code and the arguments are unchanged. Otherwise a new plan is made and stored.

    Args:
      file: the experiment file.
      workdir: the directory for all files of the runs, which holds plan.json.
      quick: True for the experiment's small variant, which takes less time.
      data_root: the directory that holds a folder for each data set; may be an empty string.

    Raises:
      UsageError: the experiment file or a setting in it is wrong, or `workdir` holds the runs of
        another experiment.
    """
    path = workdir / "plan.json"
    stored = files.read_json(path) or {}
    for key, value in (("experiment", file.stem), ("quick", quick)):
        if stored and stored.get(key) != value:
            raise UsageError(f"{workdir} holds a sweep with {key} {stored.get(key)!r}, not "
                             f"{value!r}: choose another --workdir")  # fmt: skip
    # an experiment may import its neighbours and load the settings in configs/
    folders = file.parent, file.parent.parent / "configs"
    neighbours = [[p.name, p.read_bytes()] for each in folders for p in sorted(each.glob("*.py"))]
    place = str(workdir.resolve())
    fingerprint = cache.digest([cache.source(), neighbours, file.name, quick, data_root, place])
    if stored.get("fingerprint") == fingerprint:
        return Plan(**stored | {"runs": [Run(**run) for run in stored["runs"]]})
    roots = places.roots_of_same_data(workdir, data_root)
    plan = make(file, workdir, quick, data_root)
    plan = plan._replace(fingerprint=fingerprint, data_roots=roots)
    files.write_json(path, plan._asdict() | {"runs": [run._asdict() for run in plan.runs]})
    return plan


def make(file: Path, workdir: Path, quick: bool, data_root: str) -> Plan:
    """Import an experiment file and return the plan (the list of runs) of the experiment.

    The caller must fill in the plan's attribute `fingerprint`, which is an empty string.

    Args:
      file: the experiment file.
      workdir: the directory for all files of the runs.
      quick: True for the experiment's small variant, which takes less time.
      data_root: the directory that holds a folder for each data set; may be an empty string.

    Raises:
      UsageError: the experiment file or a setting in it is wrong, or two runs have the same name.
    """
    about, experiment = load(file, quick)
    store = account.store_url("", workdir)
    runs = []
    for table in experiment.tables:
        for arm in table.arms:
            runs += list(runs_of_arm(table, arm, data_root, store))
    names: set[str] = set()
    for run in runs:
        if run.name in names:
            raise UsageError(f"{file.name}: two runs are named {run.name}: rename an arm or table")
        names.add(run.name)
    tables = [{"title": t.title, "measures": list(t.measures), "over": t.over}
              for t in experiment.tables]  # fmt: skip
    return Plan("", file.stem, about, experiment.question, quick, data_root, tables, runs)


def load(file: Path, quick: bool) -> tuple[str, Experiment]:
    """Import an experiment file, and return its docstring and the experiment that it defines.

    Args:
      file: the experiment file, which defines the function get_experiment(quick).
      quick: True for the experiment's small variant, which takes less time.

    Raises:
      UsageError: the file cannot be executed, or lacks a docstring or a valid get_experiment().
    """
    module = configfile.import_file(str(file))
    if not hasattr(module, "get_experiment"):
        raise UsageError(f"{file} defines no get_experiment(quick)")
    with configfile.explained_errors(str(file)):
        experiment = module.get_experiment(quick)
    if not isinstance(experiment, Experiment):
        raise UsageError(f"{file}: get_experiment(quick) returned {experiment!r:.60}: it must "
                         "return an Experiment")  # fmt: skip
    if not module.__doc__:
        raise UsageError(f"{file} has no docstring: begin it with a text in triple quotes that "
                         "says what it compares")  # fmt: skip
    if not _are_all(experiment.tables, Table):
        raise UsageError(f"{file}: Experiment.tables must be a list of Table")
    for table in experiment.tables:
        if not _are_all(table.arms, Arm) or isinstance(table.measures, str):
            raise UsageError(f"{file}: in the table {table.title!r}, arms must be a list of Arm, "
                             "and measures a list of names")  # fmt: skip
    return module.__doc__.strip(), experiment


def _are_all(values: Any, kind: type) -> bool:
    """Return True if `values` is a list or tuple (and no named tuple) of instances of `kind`."""
    is_plain = isinstance(values, list | tuple) and not hasattr(values, "_fields")
    return is_plain and all(isinstance(value, kind) for value in values)


def _check_arm(arm: Arm, place: str) -> None:
    """Raise a UsageError if an attribute of an arm has the wrong type, or a setting is unknown.

    Args:
      arm: the arm, a method with a grid of settings.
      place: the names of the arm's table and of the arm, for the error message.
    """
    if not isinstance(arm.base, RunConfig):
        raise UsageError(f"{place}: its base is {arm.base!r:.60}, not a recipe's Config")
    if not isinstance(arm.seeds, Sequence | range) or not _are_all([*arm.seeds], int):
        raise UsageError(f"{place}: seeds={arm.seeds!r:.60}: it takes a list of whole numbers, "
                         "such as range(5)")  # fmt: skip
    fields = {field.name for field in dataclasses.fields(arm.base)}
    for name, values in arm.grid.items():
        if name == "seed":
            raise UsageError(f"{place}: its grid has the setting seed: give the arm seeds= instead")
        if name not in fields:
            raise UsageError(f"{place}: there is no setting {name}{did_you_mean(name, fields)}")
        if not isinstance(values, list | tuple | range):
            raise UsageError(f"{place}: its grid has {name}={values!r:.60}: it takes a list of "
                             "values")  # fmt: skip


def runs_of_arm(table: Table, arm: Arm, data_root: str, store: str) -> Iterator[Run]:
    """Yield all training runs of an arm, which is a method with a grid of settings.

    There is a run for each combination of settings and each seed. All seeds of a combination come
    one after another.

    Args:
      table: the results table that shows the arm.
      arm: the arm.
      data_root: the directory that holds a folder for each data set.
      store: the URL of the database of labels for runs whose setting `store` is empty.

    Raises:
      UsageError: the grid has an unknown setting or a value that is not allowed, or the number of
        published results differs from the number of combinations.
    """
    place = f"{table.title}, {arm.name}"
    _check_arm(arm, place)
    cells = [dict(zip(arm.grid, values, strict=True))
             for values in itertools.product(*arm.grid.values())]  # fmt: skip
    if arm.theirs and len(arm.theirs) != len(cells):
        raise UsageError(f"{place}: {len(cells)} rows, but {len(arm.theirs)} figures of theirs")
    for number, cell in enumerate(cells):
        for seed in arm.seeds:
            config = dataclasses.replace(arm.base, **cell, seed=seed)
            try:
                validate(config)
            except UsageError as error:
                raise UsageError(f"{place}: {error}") from error
            yield Run(
                name=_run_name(table, arm, cell, seed),
                recipe=f"{type(config).__module__}:{type(config).__qualname__}",
                config=files.to_json_types(_resolve_paths(config, data_root, store, place)),
                table=table.title, row=arm.name, cell=files.to_json_types(cell),
                theirs=arm.theirs[number] if arm.theirs else None,
            )  # fmt: skip


@functools.cache
def defaults(recipe: str) -> dict[str, Any]:
    """Return the default settings of a configuration class, by name, as values for JSON.

    Args:
      recipe: the class as "module:name", such as "jaxlabel.methods.semisup:Config".
    """
    fields = dataclasses.fields(config_class(recipe))
    values = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    settings: dict[str, Any] = files.to_json_types(values)
    return settings


def _resolve_paths(config: RunConfig, data_root: str, store: str, place: str) -> dict[str, Any]:
    """Return a run's settings as a dictionary, in which the paths of data and labels are filled in.

    Args:
      config: the settings of the run.
      data_root: the directory that replaces the placeholder DATA_ROOT in the setting `data`, which
        is for example "idx:DATA_ROOT/mnist".
      store: the URL of a database of labels, which becomes the setting `store` if that is empty.
      place: the names of the run's table and compared method, for error messages.

    Raises:
      UsageError: the directory of the data is missing or not given.
    """
    settings = dataclasses.asdict(config)
    if in_other_folder(config.data, DATA_ROOT, "") != config.data:
        if not data_root:
            raise UsageError(f"{place} reads {config.data}: say where with --data_root=DIR, the "
                             "directory that holds a folder per data set")  # fmt: skip
        settings["data"] = in_other_folder(config.data, DATA_ROOT, data_root)
        kind, _, where = settings["data"].partition(":")
        if kind in ("idx", "folder", "npz") and not Path(where).exists():
            raise UsageError(f"there is no {where}: --data_root=DIR is the directory that holds a "
                             "folder per data set")  # fmt: skip
    if files.without_password(config.labels) != config.labels:
        raise UsageError(f"{place} has a password in config.labels, which the plan would show: put "
                         "it into ~/.pgpass or the variable PGPASSWORD")  # fmt: skip
    settings["store"] = config.store or store
    return settings


def _run_name(table: Table, arm: Arm, cell: dict[str, Any], seed: int) -> str:
    """Return a readable name for the folder of a run: "s3-mnist-random-labels-budget=500-s0".

    Args:
      table: the results table that shows the run. The name begins with the part of the table's
        title before a colon.
      arm: the arm (a method with a grid of settings) to which the run belongs.
      cell: the run's values of the settings in the grid, such as {"budget": 500}.
      seed: the seed of the run.
    """
    values = [f"{name}={str(value).rpartition('/')[2]}" for name, value in cell.items()]
    data = [] if "data" in cell else [re.split("[:/]", arm.base.data.rstrip("/"))[-1]]
    words = [table.title.split(":")[0], *data, arm.name, *values]
    slug = "-".join(re.sub(r"[^a-z0-9_=.]+", "-", word.lower()).strip("-.") for word in words)
    return f"{slug[:120]}-s{seed}"
