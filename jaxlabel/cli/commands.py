"""The commands of `jaxlabel`: each reads its flags, calls one function and prints what came out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from jaxlabel import __version__
from jaxlabel.cli.arguments import parse
from jaxlabel.config import RunConfig
from jaxlabel.errors import DataError, UsageError

if TYPE_CHECKING:
    from jaxlabel.data import Options

DEFAULT_CONFIG = "configs/digits.py"
LABEL_CONFIG = "configs/flagship.py:folder"

TRAIN = f"""jaxlabel train: buy labels, train, evaluate, and write a report

usage: jaxlabel train [--config=FILE[:VARIANT]] [--config.KEY=VALUE ...] [--workdir=DIR]

  --config=FILE[:VARIANT]   the experiment; default {DEFAULT_CONFIG}. configs/ holds those that
                            come along; with it, --help lists every setting of its recipe
  --workdir=DIR             where everything is written; default runs/NAME of the config.
                            Started again with the same settings, a killed run goes on

The settings of every run:"""

LABEL = f"""jaxlabel label: label pictures on a local web page while the run trains

usage: jaxlabel label --data=folder:PICTURES [--workdir=DIR] [--config=FILE[:VARIANT]]
                      [--config.KEY=VALUE ...] [--budget=N] [--target=SHARE] [--port=N]
                      [--host=HOST] [--password=TEXT] [--no_browser] [--votes=K] [--arbiter=NAME]

  --data=SPEC       the pictures; a bare path is taken for folder:PATH
  --workdir=DIR     where everything is written; default runs/label_NAME of the folder. Started
                    again, the page and the run go on; jaxlabel train can go on with it too
  --config=FILE     the recipe; default {LABEL_CONFIG}
  --budget=N        how many labels may be bought
  --target=SHARE    the accuracy to certify, such as 0.95; without it nothing is certified
  --port=N          where the page listens; default: a free port
  --host=HOST       default 127.0.0.1; another one lets other machines in and needs --password
  --no_browser      only print the page's address
  --votes=K         each label takes the answers of K people (?as=NAME in the address)
  --arbiter=NAME    the person who decides where others differ

The settings of every run:"""

SWEEP = """jaxlabel sweep: run an experiment's grid side by side, into tables and figures

usage: jaxlabel sweep --experiment=FILE [--workdir=DIR] [--jobs=N] [--quick] [--data_root=DIR]
                      [--publish] [--go_on] [--limit=MINUTES] [--slurm]
                      [--slurm_options=KEY=VALUE,...]

  --experiment=FILE   the experiment; experiments/README.md lists those that come along
  --workdir=DIR       where everything is written; default runs/NAME of the experiment. Started
                      again, a sweep does what is missing; a run that is done is not done again
  --jobs=N            runs at a time, each with its share of the cores; default: one per core
  --quick             the experiment's quick variant
  --data_root=DIR     holds a folder of IDX files per data set (fashion_mnist/, mnist/, ...)
  --publish           append the results to results/NAME.jsonl beside the experiment, its table
                      and figures beside that
  --go_on             a run whose result is in that file already, from whatever machine, is done
  --limit=MINUTES     after so long no run is begun; runs are begun seed by seed, so that what
                      there is can be compared
  --slurm             submit the runs to Slurm (the extra slurm); --slurm_options are submitit's
                      parameters, such as timeout_min=60,slurm_partition=cpu"""

REPORT = """jaxlabel report: write report.html again from what a work directory holds

usage: jaxlabel report --workdir=DIR"""

LEDGER = """jaxlabel ledger: print what was spent on which labels

usage: jaxlabel ledger --workdir=DIR [--rows]

  --workdir=DIR   the run
  --rows          a line for each label bought, after the table"""

ANSWER = """jaxlabel answer: import a person's answers into a run's label store

A run whose store has no answer for an image writes WORKDIR/questions.csv and stops. Fill its
column `label` with class names, import it, and start the run again.

usage: jaxlabel answer --workdir=DIR [--labels=FILE]

  --workdir=DIR   the run that asks
  --labels=FILE   the answers; default WORKDIR/questions.csv"""

PREDICT = """jaxlabel predict: label images with the model of a finished run, without training

usage: jaxlabel predict --workdir=DIR --data=SPEC [--out=FILE.csv] [--split=NAME]

  --workdir=DIR   the run; its settings say how images are resized and converted
  --data=SPEC     digits, idx:DIR, npz:FILE, folder:DIR or tfds:NAME
  --out=FILE      a row per image: its label, and the probability of each class; default labels.csv
  --split=NAME    test, train or all; default: test where there are test images, else train
  --data_dir=DIR  where tfds:NAME is prepared; default: as the run had it"""

DATA_INFO = """jaxlabel data info: counts, shapes, duplicates and a sheet of samples

usage: jaxlabel data info --data=SPEC [--sheet=FILE.png] [--image_size=N] [--image_mode=MODE]
                          [--folder_labels] [--skip_unreadable] [--data_dir=DIR]

  --data=SPEC     digits, idx:DIR, npz:FILE, folder:DIR or tfds:NAME
  --sheet=FILE    where the sheet of samples goes; default NAME_samples.png"""

DATA_EXPLORE = """jaxlabel data explore: a page of samples, maps, clusters and their scores

usage: jaxlabel data explore --data=SPEC [--out=DIR] [--labels] [--seed=N] [--image_size=N]
                             [--image_mode=MODE] [--folder_labels] [--skip_unreadable]
                             [--data_dir=DIR]

  --data=SPEC     digits, idx:DIR, npz:FILE, folder:DIR or tfds:NAME
  --out=DIR       where explore.html goes; default explore
  --labels        look at all the training labels as well: samples by class, accuracy and
                  homogeneity over k, confusion. For research: no run has paid for them"""

DATA_PREPARE = """jaxlabel data prepare: make a data set ready for tfds:NAME, without TensorFlow

usage: jaxlabel data prepare --name=NAME [--manual_dir=DIR] [--data_dir=DIR]

  --name=NAME         mnist, fashion_mnist or cifar10
  --manual_dir=DIR    take the original files from here instead of the network
  --data_dir=DIR      where to; default ~/tensorflow_datasets"""


def train(arguments: list[str]) -> None:
    """Runs an experiment, or goes on with one."""
    from jaxlabel.cli import settings

    asks_help = any(a in ("--help", "-h", "-help") for a in arguments)
    if asks_help and not any(a.lstrip("-").startswith("config") for a in arguments):
        print(f"{TRAIN}\n{settings.describe(RunConfig())}")
        return
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    config, name = settings.read(values, arguments, DEFAULT_CONFIG, TRAIN)
    from jaxlabel.experiment.run import run

    run(config, Path(values.workdir or Path("runs") / name))


def label(arguments: list[str]) -> None:
    """Serve the labelling page."""
    from jaxlabel.cli import settings

    if any(a in ("--help", "-h", "-help") for a in arguments):
        print(f"{LABEL}\n{settings.describe(RunConfig())}")
        return
    values = flags.FlagValues()
    for name in ("data", "workdir", "budget", "target", "password", "arbiter"):
        flags.DEFINE_string(name, "", "", flag_values=values)
    flags.DEFINE_string("host", "127.0.0.1", "", flag_values=values)
    flags.DEFINE_integer("port", 0, "", flag_values=values)
    flags.DEFINE_integer("votes", 1, "", flag_values=values)
    flags.DEFINE_boolean("no_browser", False, "", flag_values=values)
    config, _ = settings.read(values, arguments, LABEL_CONFIG, LABEL)
    from jaxlabel.label import command

    config = command.settled(config, values.data, values.budget, values.target)
    given: dict[str, Any] = {name: values[name].value for name in command.Options._fields}
    name = Path(config.data.partition(":")[2] or config.data).resolve().name
    workdir = Path(values.workdir or Path("runs") / f"label_{name}")
    command.label(config, workdir, command.Options(**given))


def sweep(arguments: list[str]) -> None:
    """Runs an experiment's grid, or what is missing of it."""
    values = _parse(
        arguments, SWEEP, experiment=None, workdir=None, jobs=0, quick=False, data_root="",
        publish=False, go_on=False, limit=0, slurm=False, slurm_options="",
    )  # fmt: skip
    if not values.experiment:
        raise UsageError("--experiment=FILE is missing: experiments/README.md lists them")
    if values.jobs < 0:
        raise UsageError(f"--jobs={values.jobs}: it takes a number of runs, or 0 for the default")
    if values.limit < 0:
        raise UsageError(f"--limit={values.limit}: it takes minutes, or 0 for none")
    from jaxlabel.sweep import engine

    name = Path(values.experiment).stem + ("_quick" if values.quick else "")
    engine.sweep(
        values.experiment, Path(values.workdir or Path("runs") / name), quick=values.quick,
        data_root=values.data_root,
        options=engine.Options(
            values.jobs, values.slurm_options if values.slurm else None, values.publish,
            values.go_on, values.limit,
        ),
    )  # fmt: skip


def report(arguments: list[str]) -> None:
    """Writes report.html and prints where it is."""
    workdir = _workdir(_parse(arguments, REPORT, workdir=None))
    from jaxlabel.report import write_report

    print(write_report(workdir))


def ledger(arguments: list[str]) -> None:
    """Prints the table of what was bought."""
    values = _parse(arguments, LEDGER, workdir=None, rows=False)
    from jaxlabel.experiment import account

    print(account.ledger(_workdir(values), rows=values.rows))


def answer(arguments: list[str]) -> None:
    """Imports answers from a CSV file and prints how many."""
    values = _parse(arguments, ANSWER, workdir=None, labels=None)
    from jaxlabel.experiment import account

    said, refused = account.answer(_workdir(values), values.labels)
    print(said)
    if refused:
        raise DataError(refused)


def predict(arguments: list[str]) -> None:
    """Labels images with a finished run's model and prints how many."""
    values = _parse(
        arguments, PREDICT, workdir=None, data=None, out="labels.csv", split="", data_dir=None
    )
    workdir = _workdir(values)
    if not values.data:
        raise UsageError("--data=SPEC is missing: digits, idx:DIR, npz:FILE, folder:DIR, tfds:NAME")
    from jaxlabel.experiment.predict import predict as predict_images

    print(
        predict_images(
            workdir, values.data, Path(values.out), split=values.split, data_dir=values.data_dir
        )
    )


def data_info(arguments: list[str]) -> None:
    """Prints what a data set holds."""
    values = _parse(
        arguments, DATA_INFO, data=None, sheet=None, image_size=0, image_mode="auto",
        folder_labels=False, skip_unreadable=False, data_dir="",
    )  # fmt: skip
    if not values.data:
        raise UsageError("--data=SPEC is missing: digits, idx:DIR, npz:FILE, folder:DIR, tfds:NAME")
    from jaxlabel.data.info import info

    print(info(values.data, _options(values), values.sheet))


def data_explore(arguments: list[str]) -> None:
    """Writes the page that shows a data set, and prints where it is."""
    values = _parse(
        arguments, DATA_EXPLORE, data=None, out="explore", labels=False, seed=0, image_size=0,
        image_mode="auto", folder_labels=False, skip_unreadable=False, data_dir="",
    )  # fmt: skip
    if not values.data:
        raise UsageError("--data=SPEC is missing: digits, idx:DIR, npz:FILE, folder:DIR, tfds:NAME")
    from jaxlabel.experiment.explore import explore

    place = Path(values.out)
    print(explore(values.data, place, _options(values), labels=values.labels, seed=values.seed))


def data_prepare(arguments: list[str]) -> None:
    """Prepares a data set for tensorflow-datasets."""
    values = _parse(arguments, DATA_PREPARE, name=None, manual_dir=None, data_dir=None)
    if not values["name"].value:
        raise UsageError("--name=NAME is missing: mnist, fashion_mnist or cifar10")
    from jaxlabel.data.prepare import prepare

    print(prepare(values["name"].value, values.manual_dir, values.data_dir))


def version() -> None:
    """Prints jaxlabel's version and Python's."""
    print(f"jaxlabel {__version__} (Python {sys.version.split()[0]})")


def _parse(
    arguments: list[str], usage: str, **defaults: str | int | bool | None
) -> flags.FlagValues:
    """The flags of a command, defined by their defaults; None is a string not given."""
    values = flags.FlagValues()
    for name, default in defaults.items():
        if isinstance(default, bool):
            flags.DEFINE_boolean(name, default, "", flag_values=values)
        elif isinstance(default, int):
            flags.DEFINE_integer(name, default, "", flag_values=values)
        else:
            flags.DEFINE_string(name, default, "", flag_values=values)
    parse(values, arguments, usage)
    return values


def _options(values: flags.FlagValues) -> "Options":
    """How the images are to be read."""
    from jaxlabel.data import Options

    given: dict[str, Any] = {name: values[name].value for name in Options._fields}
    return Options(**given)


def _workdir(values: flags.FlagValues) -> Path:
    if not values.workdir:
        raise UsageError("--workdir=DIR is missing: the directory that jaxlabel train wrote")
    if not (Path(values.workdir) / "config.json").is_file():
        raise UsageError(f"{values.workdir} is not a work directory: it has no config.json")
    return Path(values.workdir)
