"""Execute one run: load the images, buy labels, train, evaluate, and write the report."""

import contextlib
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

from jaxlabel import cache, config, data, files
from jaxlabel.data.dataset import Dataset, Options, options_of
from jaxlabel.data.images import check_not_black
from jaxlabel.data.tables import names_in_source
from jaxlabel.errors import DataError, JaxlabelError, LabelsMissing, NewClass
from jaxlabel.experiment import account, outside_features, person_time, questions, together
from jaxlabel.experiment.accuracies import final_accuracies
from jaxlabel.experiment.answers import Answers, RunAgain
from jaxlabel.experiment.copies import with_bought_labels
from jaxlabel.experiment.feature_map import feature_map
from jaxlabel.experiment.opening import make_oracle
from jaxlabel.experiment.purchases import cost_text, spending_entries
from jaxlabel.experiment.renaming import names_now
from jaxlabel.methods import (
    active,
    clusters,
    encoder,
    medoids,
    representatives,
    scan,
    semisup,
    sgan,
    simclr,
)
from jaxlabel.nets import devices, hosts, native
from jaxlabel.report import write_report
from jaxlabel.report.clusters import clusters_csv
from jaxlabel.report.run import check_result
from jaxlabel.runlog import (
    RunLog,
    dataset_snapshot,
    open_workdir,
    own_code,
    provenance,
    sinks,
)
from jaxlabel.runlog.progress import Progress
from jaxlabel.runlog.results import KEYS

RECIPES = (medoids, representatives, encoder, clusters, sgan, simclr, scan, semisup, active)
METHODS = {module.Config: module.run for module in RECIPES}
CACHE = "cache"  # the folder in the work directory for arrays that a restarted run would need again


def run(
    settings: config.RunConfig,
    workdir: Path,
    *,
    answers: Answers | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Execute a run (one training with one configuration), write its files, and return its result.

    The files include result.json and report.html. A run that was killed continues from its last
    checkpoint. A finished run is not executed again: its result is read from result.json.

    Args:
      settings: the configuration; its class determines the method, such as `semisup.Config`.
      workdir: the directory that holds all files of the run.
      answers: the source of labels of Python code. Such code names images by their index, and so
        does its result, so a continued run refuses images in another order. None: labels come from
        the data set or from the table that the setting `labels` names, or a person writes them in a
        file.
      progress: the display of progress and messages; None stands for one on standard error.

    Returns:
      The content of result.json: the labels bought, the accuracies, the seconds, and the settings.

    Raises:
      UsageError: a setting has a wrong value, or the directory holds another run.
      DataError: the images cannot be read.
      StoreError: the database of labels cannot be used.
      LabelsMissing: a person must label images first. They are listed in questions.csv in
        `workdir`.
    """
    config.validate(settings)
    sinks.parse(settings.sinks)
    computes = not (workdir / "result.json").exists()  # a finished run needs no device and kernels
    if computes:
        devices.select(settings.devices)
    options = options_of(settings)
    # Load the data before config.json is written: a misspelled path must not claim the directory.
    dataset = None if (workdir / "config.json").exists() else _load(settings, options)
    if dataset is not None:  # a run that an earlier version began may go on
        check_not_black(dataset.train_images, dataset.name)
    if computes:
        native.select(settings.cpu_kernels)
        own = str(workdir.resolve() / CACHE) if hosts.count() == 1 else ""
        cache.begin(str(workdir.resolve()), ":".join(native.selected()[:2]), own)
    try:
        return _run_in_workdir(settings, options, dataset, workdir, answers, progress)
    finally:
        cache.begin("")


def _run_in_workdir(
    settings: config.RunConfig, options: Options, dataset: Dataset | None, workdir: Path,
    given: Answers | None, progress: Progress | None,
) -> dict[str, Any]:  # fmt: skip
    """Do the work of `run` once the settings are checked and the device is chosen.

    Args:
      dataset: the images; None if the directory has a run already and they were not read yet.
      given: the `answers` of `run`.
    """
    answers = given or Answers()
    chosen, defaults = settings_without_password(settings), dataclasses.asdict(type(settings)())
    while True:
        with open_workdir(workdir, chosen, progress, defaults) as log:
            account.check_oracle(answers.oracle, workdir)
            result = files.read_json(workdir / "result.json")
            if result is not None:
                log.say(_is_shown_again(workdir))
            else:
                with account.naming_directory(workdir, settings.data):
                    dataset = dataset or _load(settings, options)
                dataset = dataset_snapshot.in_first_order(
                    dataset, settings.data, workdir, reorder=given is None
                )
                try:
                    result = _run_recipe(settings, options, dataset, workdir, log, answers)
                except RunAgain as reason:
                    log.say(f"{reason}: the run continues from its labels")
                    continue
                except LabelsMissing:
                    with contextlib.suppress(Exception):  # the user must see the questions
                        write_report(workdir)
                    raise
                log.finish(result)
                shutil.rmtree(workdir / CACHE, ignore_errors=True)
            check_result(result, workdir, KEYS)
            write_report(workdir)
            return result


def _is_shown_again(workdir: Path) -> str:
    """Return a message for the user that says that a run had finished before, and when."""
    finished = time.localtime((workdir / "result.json").stat().st_mtime)
    return (f"this run finished on {time.strftime('%Y-%m-%d at %H:%M', finished)}: its result is "
            "shown again, and nothing was trained; another work directory starts a new run"
            )  # fmt: skip


def _load(settings: config.RunConfig, options: Options) -> Dataset:
    """Load the images of a run, and check that there are enough of them to train on.

    Raises:
      DataError: the images cannot be read, or there is only one training image.
    """
    dataset = data.load(settings.data, options)
    if len(dataset.train_images) < 2:
        raise DataError(f"{dataset.name} has only one training image: a run needs at least 2")
    return dataset


def _run_recipe(
    settings: config.RunConfig, options: Options, dataset: Dataset, workdir: Path, log: RunLog,
    answers: Answers,
) -> dict[str, Any]:  # fmt: skip
    """Buy labels, train, and evaluate as configured, and return the content of result.json.

    Args:
      settings: the configuration; its class determines the method, such as `semisup.Config`.
      options: how the images are read, such as their size.
      dataset: the images.
      workdir: the run's directory.
      log: the run's log.
      answers: functions that provide labels, or an existing oracle (the seller of labels).

    Raises:
      LabelsMissing: a person must label images first; they were written to questions.csv.
      RunAgain: the run must start again, for example because there is a new class.
    """
    for note in dataset.notes:
        log.say(note)
    settings = dataclasses.replace(settings, kind=outside_features.kind_of(settings, dataset))
    inputs = outside_features.network_inputs(settings, dataset, workdir, log)
    log.say(f"convolutions: {native.selected()}")
    if devices.count() > 1:
        log.say(f"{devices.count()} devices share each batch")
    if not devices.fits(inputs.train_images):
        log.say(
            f"the images ({inputs.train_images.nbytes / 1e9:.1f} GB) stay outside of the device: "
            f"they take more than half of its memory ({devices.memory() / 1e9:.1f} GB)"
        )
    if (oracle := answers.oracle) is None:
        oracle = make_oracle(settings, options, dataset, workdir, log, answers)
    else:
        person_time.check(settings, dataset, answers)
        account.record_oracle(oracle, workdir, dataset)
    oracle.start_after(account.num_earlier_purchases(workdir))
    store, payer = oracle.store, oracle.account
    classes = store.classes(store.account(payer).label_set)
    log.classes(classes)
    log.arrays("samples", images=dataset.train_images[:40])
    try:
        predictor = together.lead(METHODS[type(settings)], settings, inputs, oracle, log)
    except LabelsMissing as error:
        raise questions.ask_person(error, workdir, dataset) from error
    except JaxlabelError as error:
        if isinstance(error, NewClass) and answers.oracle is None and hosts.count() == 1:
            known = len(store.classes(store.account(payer).label_set))
            if known > oracle.num_classes:
                raise RunAgain(f"{known} classes are known now") from error
        account.delete_record_if_unused(workdir, store, payer)
        raise
    predictor = with_bought_labels(predictor, dataset.train_items, store, payer)
    log.forget("predictor")  # a killed session may have saved one with fewer classes
    log.save("predictor", 0, predictor.model)
    accuracies = final_accuracies(settings.data, options, inputs, store, predictor, log)
    classes = names_now(store, store.account(payer).label_set, classes)
    log.classes(classes)
    if predictor.clusters is not None:
        names = names_in_source(settings.data, dataset.paths)
        rows = clusters_csv(predictor.clusters, predictor.train_labels, classes, names)
        files.write(workdir / "clusters.csv", rows)
    if predictor.train_labels is not None:
        log.arrays("train_labels", labels=predictor.train_labels)
    coloured = predictor.clusters if predictor.train_labels is None else predictor.train_labels
    if (
        isinstance(settings, config.MapConfig)
        and settings.map != "none"
        and predictor.features is not None
        and coloured is not None
    ):
        log.arrays("map", **feature_map(predictor.features, coloured, settings.map))
    result = {
        "method": type(settings).__module__.removeprefix("jaxlabel.methods."),
        "dataset": dataset.name,
        "seed": settings.seed,
        **spending_entries(oracle, workdir),
        **person_time.entries(oracle),
        **accuracies,
        "seconds": round(log.seconds, 2),
        "seconds_shared": cache.take_saved_seconds(),
        **provenance.made_with(),
        **({"own_code": code} if (code := own_code.recorded(workdir)) else {}),
        **outside_features.result_entries(settings, inputs),
        "stopped_by": predictor.stopped_by,
        "gives": predictor.gives,
        **predictor.summary,
        "num_train": len(dataset.train_images),
        "image_shape": list(dataset.train_images.shape[1:]),
        **({"intensity": dataset.intensity} if dataset.intensity else {}),
        "classes": list(classes),
        "config": settings_without_password(settings),
    }
    return files.with_version("result.json", result)


def settings_without_password(settings: config.RunConfig) -> dict[str, Any]:
    """Return a run's configuration as a dictionary, without the passwords of its database URLs."""
    urls = {name: files.without_password(getattr(settings, name)) for name in ("store", "labels")}
    return dataclasses.asdict(settings) | urls


def summary(result: dict[str, Any], workdir: Path) -> str:
    """Return a few lines of text on a finished run, which the command `jaxlabel train` prints.

    Args:
      result: the content of the run's result.json: labels bought, accuracies, and time.
      workdir: the run's directory; the last line has the path of report.html in it.
    """
    lines = [
        f"{result['dataset']}, {result['method']}, seed {result['seed']}: "
        f"{result['labels_spent']} labels bought{cost_text(result)}, "
        f"stopped by {result['stopped_by']}"
    ]
    if earlier := result.get("labels_bought_earlier"):
        lines.append(f"{earlier} more labels were free: its account had bought them before")
    if origin := result.get("features_from_outside"):
        lines.append(f"features from outside ({origin['file']}): not from scratch")
    if result["peeked"]:
        lines.append("PEEKED: labels that the run did not buy decided when it stopped")
    if "answer_seconds" in result:
        minutes = result["answer_seconds"] / 60
        lines.append(f"the answers took {minutes:.1f} of {result['config']['minutes']:g} minutes")
    if result["train_label_accuracy"] is not None:
        lines.append(f"training labels right: {100 * result['train_label_accuracy']:.2f}%")
    if result["test_accuracy"] is not None:
        low, high = (100 * end for end in result["test_accuracy_interval"])
        lines.append(
            f"test accuracy: {100 * result['test_accuracy']:.2f}% ({low:.2f} to {high:.2f})"
        )
    if result.get("verdict"):
        lines.append(result["verdict"])
    for name in ("knn_accuracy", "knn_weighted_accuracy", "matched_accuracy"):
        if result.get(name) is not None:
            read = result["labels_read_by_the_evaluator"]
            shown_name = name.replace("_", " ")
            lines.append(f"{shown_name}: {100 * result[name]:.2f}% (the evaluator read {read})")
    lines.append(f"{result['seconds']:.1f} s on {result['device']}")
    lines.append(f"report: {workdir / 'report.html'}")
    return "\n".join(lines)
