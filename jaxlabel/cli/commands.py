"""The commands of `jaxlabel`: their flags, and for each command the function that executes it.

A command consists of a function, which gets the parsed flags, and an entry of `COMMANDS`. Each
function imports the modules that it needs when it is called. Help texts and errors in flags
therefore appear without importing JAX, which takes seconds.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from jaxlabel.cli.arguments import DEFAULT_CONFIG, Command, Flag, setting_flag
from jaxlabel.errors import DataError, UsageError

if TYPE_CHECKING:
    from jaxlabel.data import Options


def train(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel train`: train a classifier, and print a summary of the result.

    A run (one training with one configuration) that was interrupted is continued.
    """
    from jaxlabel.experiment.run import run, summary

    workdir = Path(given.workdir or Path("runs") / given.config_name)
    print(summary(run(given.config, workdir), workdir))


def label(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel label`: serve the labelling page until it is interrupted."""
    from jaxlabel.label import command

    config = command.settled(given.config, given.data, given.budget, given.target)
    options = {name: getattr(given, name) for name in command.Options._fields}
    name = Path(config.data.partition(":")[2] or config.data).resolve().name
    workdir = Path(given.workdir or Path("runs") / f"label_{name}")
    command.label(config, workdir, command.Options(**options))


def sweep(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel sweep`: do the training runs of an experiment, write tables.

    Only the runs that have no result yet are executed. The tables show the results of all runs.

    Raises:
      UsageError: --jobs or --limit is negative, or another flag or the experiment file is wrong.
    """
    if given.jobs < 0:
        raise UsageError(f"--jobs={given.jobs}: it takes a number of runs, or 0 for the default")
    if given.limit < 0:
        raise UsageError(f"--limit={given.limit}: it takes minutes, or 0 for none")
    from jaxlabel.sweep import engine

    name = Path(given.experiment).stem + ("_quick" if given.quick else "")
    options = engine.Options(
        jobs=given.jobs, slurm=given.slurm_options if given.slurm else None,
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

    print(write_report(workdir))


def ledger(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel ledger`: print the table of the labels that a run bought."""
    from jaxlabel.experiment import account

    print(account.ledger(_existing_workdir(given), rows=given.rows))


def answer(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel answer`: import the labels that a person wrote in a CSV file.

    The function prints how many labels were stored.

    Raises:
      DataError: the file contradicts stored labels that must not change, because a run has bought
        them or another person gave them. They stay as they are; all other labels are stored.
    """
    from jaxlabel.experiment import account

    message, refusal = account.answer(_existing_workdir(given), given.labels)
    print(message)
    if refusal:
        raise DataError(refusal)


def predict(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel predict`: classify images with the model of a finished run.

    The function writes a CSV file and prints how many images were classified.
    """
    workdir = _existing_workdir(given)
    from jaxlabel.experiment.predict import predict as predict_images

    message = predict_images(
        workdir, given.data, Path(given.out), split=given.split, data_dir=given.data_dir
    )
    print(message)


def data_info(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel data info`: print a description of a data set.

    The function also writes a picture with sample images.
    """
    from jaxlabel.data.info import info

    print(info(given.data, _image_options(given), given.sheet))


def data_explore(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel data explore`: write a web page that shows a data set.

    The page holds samples, two-dimensional maps, and clusters of the images. Its path is printed.
    """
    from jaxlabel.experiment.explore import explore

    folder, options = Path(given.out), _image_options(given)
    print(explore(given.data, folder, options, labels=given.labels, seed=given.seed))


def data_prepare(given: SimpleNamespace) -> None:
    """Execute the command `jaxlabel data prepare`: convert a published data set and print its path.

    The data set, such as mnist, is written in the format of the library tensorflow-datasets.
    """
    from jaxlabel.data.prepare import prepare

    print(prepare(given.name, given.manual_dir, given.data_dir))


def _image_options(given: SimpleNamespace) -> "Options":
    """Return the values of the flags that control how images are read, such as --image_size."""
    from jaxlabel.data import Options

    return Options(**{name: getattr(given, name) for name in Options._fields})


def _existing_workdir(given: SimpleNamespace) -> Path:
    """Return the path given by the flag --workdir, after checking that it is a run's directory.

    Raises:
      UsageError: the directory has no config.json, so no run has written it.
    """
    if not (Path(given.workdir) / "config.json").is_file():
        raise UsageError(f"{given.workdir} is not a work directory: it has no config.json")
    return Path(given.workdir)


SOURCES = "digits, idx:DIR, npz:FILE, folder:DIR"
DATA = Flag("data", f"{SOURCES} or tfds:NAME", "SPEC", missing=f"{SOURCES}, tfds:NAME")
RUN_WORKDIR = Flag(
    "workdir", "the work directory of the run", "DIR",
    missing="the directory that jaxlabel train wrote",
)  # fmt: skip
IMAGE_FLAGS = (
    setting_flag("image_size", "N"),
    setting_flag("image_mode", "MODE"),
    setting_flag("folder_labels"),
    setting_flag("skip_unreadable"),
    setting_flag("data_dir", "DIR"),
)

COMMANDS = (
    Command(
        "train", "buy labels, train, evaluate, and write a report", train,
        default_config=DEFAULT_CONFIG,
        flags=(
            Flag("workdir", "the directory for everything that the run writes; without this flag, "
                 "runs/NAME of the config. The same command continues a run that was killed",
                 "DIR"),
        ),
    ),
    Command(
        "label", "label pictures on a local web page while the run trains", label,
        default_config="configs/flagship.py:folder",
        flags=(
            Flag("data", "the pictures, as --config.data; a bare path stands for folder:PATH",
                 "SPEC", ""),
            Flag("workdir", "the directory for everything that the run writes; without this flag, "
                 "runs/label_NAME of the folder. The same command continues the page and the run; "
                 "jaxlabel train can continue the run too", "DIR", ""),
            Flag("budget", "the number of labels that may be bought, as --config.budget", "N", ""),
            Flag("target", "the accuracy to certify, such as 0.95, as --config.target; without it "
                 "nothing is certified", "FRACTION", ""),
            Flag("port", "the port on which the page listens; 0: a free one", "N", 0),
            Flag("host", "the address on which the page listens; another one than 127.0.0.1 lets "
                 "other machines in and needs --password", "HOST", "127.0.0.1"),
            Flag("password", "the password that other machines must give", "TEXT", ""),
            Flag("no_browser", "print the page's address instead of opening the browser",
                 default=False),
            Flag("votes", "the number of people whose answers a label takes (?as=NAME in the "
                 "page's address)", "K", 1),
            Flag("arbiter", "the person whose answer decides where others differ", "NAME", ""),
        ),
    ),
    Command(
        "sweep", "run an experiment's grid side by side, into tables and figures", sweep,
        flags=(
            Flag("experiment", "the experiment; experiments/README.md lists those that come with "
                 "jaxlabel", "FILE", missing="experiments/README.md lists them"),
            Flag("workdir", "the directory for everything that the sweep writes; without this "
                 "flag, runs/NAME of the experiment. The same command continues a sweep: it "
                 "repeats no finished run", "DIR"),
            Flag("jobs", "the number of runs at a time, each with its share of the cores; 0: one "
                 "on an accelerator, else one per core and at most 8", "N", 0),
            Flag("quick", "run the quick variant of the experiment", default=False),
            Flag("data_root", "the directory that holds a folder of IDX files per data set "
                 "(fashion_mnist/, mnist/, ...)", "DIR", ""),
            Flag("publish", "append the results to results/NAME.jsonl beside the experiment, and "
                 "write the table and figures of that file beside it", default=False),
            Flag("go_on", "skip the runs whose result is in results/NAME.jsonl already, also when "
                 "another machine made it", default=False),
            Flag("limit", "start no new run after this number of minutes; runs start seed by seed, "
                 "so that the finished ones can be compared; 0: no limit", "MINUTES", 0),
            Flag("slurm", "submit the runs to Slurm; needs pip install jaxlabel[slurm]",
                 default=False),
            Flag("slurm_options", "submitit's parameters, such as "
                 "timeout_min=60,slurm_partition=cpu", "KEY=VALUE,...", ""),
        ),
    ),
    Command(
        "predict", "label images with the model of a finished run, without training", predict,
        flags=(
            RUN_WORKDIR._replace(help="the work directory of the run, whose settings say how "
                                 "images are resized and converted"),
            DATA,
            Flag("out", "the CSV file to write: a row per image with its label and the "
                 "probability of each class", "FILE", "labels.csv"),
            Flag("split", "test, train or all; without this flag, the test images if there are "
                 "any, else the training images", "NAME", ""),
            Flag("data_dir", "the directory in which tfds:NAME is prepared; without this flag, "
                 "the directory that the run used", "DIR"),
        ),
    ),
    Command(
        "report", "write report.html again from the files of a work directory", report,
        flags=(RUN_WORKDIR,),
    ),
    Command(
        "ledger", "print which labels a run bought and what they cost", ledger,
        flags=(
            RUN_WORKDIR,
            Flag("rows", "print a line for each label below the table", default=False),
        ),
    ),
    Command(
        "answer", "import a person's labels (CSV) into a run's label store", answer,
        description="A run writes WORKDIR/questions.csv and stops when its store has no label "
        "for an image. Fill the column `label` of that file with class names, import it with this "
        "command, and start the run again.",
        flags=(
            RUN_WORKDIR,
            Flag("labels", "the CSV file to import; without this flag, WORKDIR/questions.csv",
                 "FILE"),
        ),
    ),
    Command(
        "data info", "print counts, shapes and duplicates, and write a sheet of samples",
        data_info,
        flags=(
            DATA,
            Flag("sheet", "the file for the sheet of samples; without this flag, "
                 "NAME_samples.png", "FILE.png"),
            *IMAGE_FLAGS,
        ),
    ),
    Command(
        "data explore", "write a page of samples, maps, clusters and their scores", data_explore,
        flags=(
            DATA,
            Flag("out", "the directory for explore.html", "DIR", "explore"),
            Flag("labels", "also show all training labels: samples by class, accuracy and "
                 "homogeneity over k, confusion. For research: no run has bought these labels",
                 default=False),
            Flag("seed", "the seed of the samples and of k-means", "N", 0),
            *IMAGE_FLAGS,
        ),
    ),
    Command(
        "data prepare", "make a data set ready for tfds:NAME, without TensorFlow", data_prepare,
        flags=(
            Flag("name", "mnist, fashion_mnist or cifar10", "NAME",
                 missing="mnist, fashion_mnist or cifar10"),
            Flag("manual_dir", "the directory of the original files; without this flag, they are "
                 "downloaded", "DIR"),
            Flag("data_dir", "the directory to write to; without this flag, "
                 "~/tensorflow_datasets", "DIR"),
        ),
    ),
)  # fmt: skip
