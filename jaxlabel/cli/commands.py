"""The functions that execute the commands of `jaxlabel`; `catalogue.py` declares their flags.

A function gets the parsed flags. It imports the modules that it needs when it is called, so help
texts and errors in flags appear without importing JAX, which takes seconds.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from jaxlabel.errors import DataError, UsageError

if TYPE_CHECKING:
    from jaxlabel.data import Options


def train(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel train`: train a classifier, and print a summary of the result.

    A run (one training with one configuration) that was interrupted is continued. With the flag
    --coordinator, this is one of several processes that compute the run together.

    Raises:
      UsageError: --num_processes or --process_id is given without --coordinator=HOST:PORT.
    """
    from jaxlabel.nets import hosts, native

    numbered = given.num_processes or given.process_id >= 0
    if numbered and given.coordinator in ("", hosts.AUTO):
        raise UsageError("--num_processes and --process_id need --coordinator=HOST:PORT: give all "
                         "three, or --coordinator=auto alone, or none of them")  # fmt: skip
    if not given.coordinator:
        native.preload(given.config.cpu_kernels)  # while the rest is imported, and images are read
    from jaxlabel.experiment import processes

    workdir = Path(given.workdir or Path("runs") / given.config_name)
    text = processes.execute(
        given.config, workdir, given.coordinator, given.num_processes, given.process_id
    )
    if text:
        print(text)


def label(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel label`: serve the labelling page until it is interrupted."""
    from jaxlabel.label import command

    options = {name: getattr(given, name) for name in command.Options._fields}
    name = Path(given.config.data.partition(":")[2] or given.config.data).resolve().name
    workdir = Path(given.workdir or Path("runs") / f"label_{name}")
    command.label(given.config, workdir, command.Options(**options))


def sweep(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel sweep`: do the training runs of an experiment, write tables.

    Only the runs that have no result yet are executed. The tables show the results of all runs.

    Raises:
      UsageError: a number is negative, or another flag or the experiment file is wrong.
    """
    if given.jobs < 0:
        raise UsageError(f"--jobs={given.jobs}: it takes a number of runs, or 0 for the default")
    if given.limit < 0:
        raise UsageError(f"--limit={given.limit}: it takes minutes, or 0 for none")
    if given.devices_per_run < 0:
        raise UsageError(f"--devices_per_run={given.devices_per_run}: it takes a number of GPUs")
    if given.slurm_options and not given.slurm:
        raise UsageError("--slurm_options needs --slurm, without which the runs are executed here")
    if given.hosts_per_run < 1:
        raise UsageError(f"--hosts_per_run={given.hosts_per_run}: it takes a number of machines")
    from jaxlabel.sweep import engine

    name = Path(given.experiment).stem + ("_quick" if given.quick else "")
    options = engine.Options(
        jobs=given.jobs, slurm=given.slurm_options if given.slurm else None,
        devices_per_run=given.devices_per_run, hosts_per_run=given.hosts_per_run,
        publish=given.publish, go_on=given.go_on, limit=given.limit,
    )  # fmt: skip
    engine.sweep(
        given.experiment, Path(given.workdir or Path("runs") / name), quick=given.quick,
        data_root=given.data_root, options=options,
    )  # fmt: skip


def report(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel report`: write a run's report.html anew, and print its path."""
    workdir = _existing_workdir(given)
    from jaxlabel.report import write_report

    if given.out:
        from jaxlabel import files

        files.check_replaceable(Path(given.out), "report", b"<!doctype html>")
    print(write_report(workdir, given.out or None))


def ledger(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel ledger`: print the table of the labels that a run bought."""
    from jaxlabel.experiment import purchases

    print(purchases.ledger(_existing_workdir(given), rows=given.rows))


def answer(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel answer`: import the labels that a person wrote in a CSV file.

    The function prints how many labels were stored. With the flag --rename, it renames a class
    instead.

    Raises:
      UsageError: the class cannot be renamed.
      DataError: the file contradicts stored labels that must not change, because a run has bought
        them or another person gave them. They stay as they are; all other labels are stored.
    """
    from jaxlabel.experiment import questions, renaming

    if given.rename is not None:
        old, sign, new = given.rename.partition("=")
        if not sign or given.labels:
            raise UsageError("write --rename=OLD=NEW, and leave out --labels")
        name = renaming.rename_class(_existing_workdir(given), old, new)
        print(f"the class {old!r} is called {name!r} now: write {name!r} in questions.csv too, if "
              f"it still has {old!r}")  # fmt: skip
        return
    message, refusal = questions.answer(_existing_workdir(given), given.labels)
    print(message)
    if refusal:
        raise DataError(refusal)


def predict(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel predict`: classify images with the model of a finished run.

    The function writes a CSV file and prints how many images were classified.
    """
    workdir = _existing_workdir(given)
    from jaxlabel.data import spec_of
    from jaxlabel.experiment.predict import predict as predict_images

    message = predict_images(
        workdir, spec_of(given.data), Path(given.out), split=given.split, data_dir=given.data_dir,
        skip_unreadable=given.skip_unreadable, features=given.features,
    )  # fmt: skip
    print(message)


def export(given: SimpleNamespace) -> None:
    """Write the bundle of a finished run and print what it holds."""
    workdir = _existing_workdir(given)
    from jaxlabel.experiment.export.bundle import export as write_bundle

    print(write_bundle(workdir, Path(given.out), given.formats))


def labels(given: SimpleNamespace) -> None:
    """Write the label of each training image of a run and print where."""
    workdir = _existing_workdir(given)
    from jaxlabel.experiment.labelled.writing import write_labels

    print(write_labels(workdir, given.format, given.out, sure=given.sure, copy=given.copy))


def data_info(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel data info`: print a description of a data set.

    The function also writes a picture with sample images.
    """
    from jaxlabel.data import spec_of
    from jaxlabel.data.info import info

    print(info(spec_of(given.data), _image_options(given), given.sheet))


def data_explore(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel data explore`: write a web page that shows a data set.

    The page holds samples, two-dimensional maps, and clusters of the images. Its path is printed.
    """
    from jaxlabel.data import spec_of
    from jaxlabel.experiment.explore import explore

    spec, folder, options = spec_of(given.data), Path(given.out), _image_options(given)
    print(explore(spec, folder, options, labels=given.labels, seed=given.seed))


def data_prepare(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel data prepare`: convert a published data set and print its path.

    The data set, such as mnist, is written in the format of the library tensorflow-datasets.
    """
    from jaxlabel.data.prepare import prepare

    print(prepare(given.name, given.manual_dir, given.data_dir))


def _image_options(given: SimpleNamespace) -> "Options":
    """Return the values of the flags that control how images are read, such as --image_size."""
    from jaxlabel.config import RunConfig, validate
    from jaxlabel.data.dataset import options_of

    options = options_of(given)
    try:
        validate(RunConfig(**{k: v for k, v in options._asdict().items() if k != "intensity"}))
    except UsageError as error:
        raise UsageError(str(error).replace("config.", "--")) from error
    return options


def _existing_workdir(given: SimpleNamespace) -> Path:
    """Return the path given by the flag --workdir, after checking that it is a run's directory.

    Raises:
      UsageError: the directory has no config.json, so no run has written it.
    """
    if not (Path(given.workdir) / "config.json").is_file():
        raise UsageError(f"{given.workdir} is not a work directory: it has no config.json")
    return Path(given.workdir)
