"""From an experiment file to the list of its runs.

Experiment files import recipes, and recipes JAX, which takes seconds: so the list is kept in the
sweep's directory and read again as long as nothing that it was made from has changed.
"""

import dataclasses
import functools
import importlib.util
import itertools
import json
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxlabel import cache, files
from jaxlabel.config import RunConfig, validate
from jaxlabel.errors import UsageError, did_you_mean
from jaxlabel.sweep.types import Arm, Experiment, Plan, Run, Table, config_class

DATA_ROOT = "DATA_ROOT"


def find(experiment: str) -> Path:
    """The experiment file, looked for here, in the repository and in the installed package.

    Raises:
      UsageError: it is in none of them.
    """
    package = Path(__file__).parents[1]
    name = experiment if experiment.endswith(".py") else f"{experiment}.py"
    name = name if "/" in name or Path(name).is_file() else f"experiments/{name}"
    known: list[str] = []
    for folder in (Path(), package.parent, package):
        if (folder / name).is_file():
            return (folder / name).resolve()
        known += [
            f"experiments/{path.name}" for path in sorted((folder / "experiments").glob("*.py"))
        ]
    raise UsageError(f"there is no experiment file {name}{did_you_mean(name, known)}; experiments/ "
                     "holds those that come along")  # fmt: skip


def read(file: Path, workdir: Path, quick: bool, data_root: str) -> Plan:
    """The plan of an experiment in a sweep's directory, made or as it is kept there.

    Raises:
      UsageError: the file or something in it does not fit, or the directory holds another sweep.
    """
    path = workdir / "plan.json"
    kept = files.read_json(path) or {}
    for key, now in (("experiment", file.stem), ("quick", quick)):
        if kept and kept.get(key) != now:
            raise UsageError(f"{workdir} holds a sweep with {key} {kept.get(key)!r}, not {now!r}: "
                             "choose another --workdir")  # fmt: skip
    neighbours = [[p.name, p.read_bytes()] for p in sorted(file.parent.glob("*.py"))]
    place = str(workdir.resolve())
    fingerprint = cache.digest([cache.source(), neighbours, file.name, quick, data_root, place])
    if kept.get("fingerprint") == fingerprint:
        return Plan(**kept | {"runs": [Run(**run) for run in kept["runs"]]})
    plan = make(file, workdir, quick, data_root)._replace(fingerprint=fingerprint)
    files.write_json(path, plan._asdict() | {"runs": [run._asdict() for run in plan.runs]})
    return plan


def make(file: Path, workdir: Path, quick: bool, data_root: str) -> Plan:
    """The plan, from the experiment file itself."""
    about, experiment = load(file, quick)
    store = f"sqlite:///{workdir.resolve() / 'labels.db'}"
    runs = []
    for table in experiment.tables:
        for arm in table.arms:
            runs += list(unrolled(table, arm, data_root, store))
    names: set[str] = set()
    for run in runs:
        if run.name in names:
            raise UsageError(f"{file.name}: two runs are named {run.name}: rename an arm or table")
        names.add(run.name)
    tables = [{"title": t.title, "measures": list(t.measures), "over": t.over}
              for t in experiment.tables]  # fmt: skip
    return Plan("", file.stem, about, experiment.question, quick, data_root, tables, runs)


def load(file: Path, quick: bool) -> tuple[str, Experiment]:
    """The file's docstring and what its get_experiment returns.

    Raises:
      UsageError: it cannot be run, or is no experiment.
    """
    spec = importlib.util.spec_from_file_location("experiment", file)
    assert spec is not None and spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_experiment"):
            raise UsageError(f"{file} defines no get_experiment(quick)")
        experiment = module.get_experiment(quick)
    except UsageError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"line {where.lineno} of {Path(where.filename).name}"
        raise UsageError(f"{file} cannot be run: {error!r} at {place}") from error
    if not isinstance(experiment, Experiment) or not module.__doc__:
        raise UsageError(f"{file}: it takes a docstring, and a get_experiment(quick) that returns "
                         "an Experiment")  # fmt: skip
    return module.__doc__.strip(), experiment


def unrolled(table: Table, arm: Arm, data_root: str, store: str) -> Iterator[Run]:
    """The arm's runs, row by row, the seeds fastest.

    Raises:
      UsageError: the grid has an unknown setting or a value that does not fit.
    """
    place = f"{table.title}, {arm.name}"
    fields = {field.name for field in dataclasses.fields(arm.base)}
    for name in arm.grid:
        if name not in fields:
            raise UsageError(f"{place}: there is no setting {name}{did_you_mean(name, fields)}")
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
                name=_name(table, arm, cell, seed),
                recipe=f"{type(config).__module__}:{type(config).__qualname__}",
                config=json.loads(json.dumps(_placed(config, data_root, store, place))),
                table=table.title, row=arm.name, cell=cell,
                theirs=arm.theirs[number] if arm.theirs else None,
            )  # fmt: skip


@functools.cache
def defaults(recipe: str) -> dict[str, Any]:
    """The default settings of a run's recipe, as a plan has them."""
    fields = dataclasses.fields(config_class(recipe))
    known = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    return json.loads(json.dumps(known))


def _placed(config: RunConfig, data_root: str, store: str, place: str) -> dict[str, Any]:
    """The settings with the data's and the label store's place on this machine."""
    settings = dataclasses.asdict(config)
    if DATA_ROOT in config.data:
        if not data_root:
            raise UsageError(f"{place} reads {config.data}: say where with --data_root=DIR, the "
                             "directory that holds a folder per data set")  # fmt: skip
        settings["data"] = config.data.replace(DATA_ROOT, data_root.rstrip("/") or "/")
        kind, _, where = settings["data"].partition(":")
        if kind in ("idx", "folder", "npz") and not Path(where).exists():
            raise UsageError(f"there is no {where}: --data_root=DIR is the directory that holds a "
                             "folder per data set")  # fmt: skip
    settings["store"] = config.store or store
    return settings


def _name(table: Table, arm: Arm, cell: dict[str, Any], seed: int) -> str:
    """A folder's name that people can read."""
    values = [f"{name}={str(value).rpartition('/')[2]}" for name, value in cell.items()]
    data = [] if "data" in cell else [re.split("[:/]", arm.base.data.rstrip("/"))[-1]]
    words = [table.title.split(":")[0], *data, arm.name, *values]
    slug = "-".join(re.sub(r"[^a-z0-9_=.]+", "-", word.lower()).strip("-.") for word in words)
    return f"{slug[:120]}-s{seed}"
