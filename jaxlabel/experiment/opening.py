"""Open a run's label store and account, and make the oracle from which it buys labels."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxlabel import cache, config, data
from jaxlabel.data import importing
from jaxlabel.data.dataset import Dataset, Options
from jaxlabel.errors import UsageError
from jaxlabel.experiment import account, label_table, person_time
from jaxlabel.experiment.answers import Answers
from jaxlabel.experiment.person_time import FIRST_GUESS, TimedOracle, labels_in
from jaxlabel.oracle import LabelStore, Oracle
from jaxlabel.runlog import RunLog
from jaxlabel.runlog.workdir import RUN

CONTRADICTIONS = "contradictions.csv"  # all images whose labels contradict those in the store


def make_oracle(
    settings: config.RunConfig, options: Options, dataset: Dataset, workdir: Path, log: RunLog,
    answers: Answers,
) -> Oracle:  # fmt: skip
    """Open the database of labels, and return the oracle from which the run buys labels.

    The oracle (the object that sells labels and keeps the budget) asks the table that the setting
    `labels` names, or else the function `answers.answer`, for labels that the database lacks.

    Args:
      settings: the configuration of the run.
      options: how the images are read, such as their size.
      dataset: the images, in the order of the run.
      workdir: the run's directory, which holds the database unless the setting `store` names one.
      log: the run's log, to which messages go.
      answers: functions that provide labels.

    Raises:
      UsageError: the budget is in minutes but no person answers, or a run with `stop=peek` or with
        label noise lacks labels, or the database has the labels of other images.
      StoreError: a database cannot be used.
    """
    person_time.check(settings, dataset, answers)
    has_labels = data.has_labels(settings.data, options)
    recorded = answers.recorded or bool(settings.labels) or has_labels
    if settings.labels:
        answers = label_table.open_answers(settings, dataset, log.say)
    url = account.store_url(settings.store, workdir)
    store = open_store(url, dataset)
    if settings.labels or not has_labels:
        refuse_other_images(store, dataset, workdir, answers.classes)
    _import_labels(settings, options, store, dataset, workdir, log)
    if answers.prepare is not None:
        answers.prepare(store, dataset)
    payer = account.account_name(settings.account, workdir, dataset, url, settings.budget)
    store.open_account(payer, dataset.name, settings.budget)
    make: Callable[..., Oracle] = Oracle
    if settings.minutes:
        make = functools.partial(TimedOracle, settings.minutes, workdir)
        first = labels_in(settings.minutes, 0.0, 0)
        log.say(f"{settings.minutes:g} minutes are about {first:.0f} labels of {FIRST_GUESS:g} s; "
                "your own times count as soon as there are any")  # fmt: skip
    return make(
        store, payer, dataset.train_items.tolist(),
        num_classes=max(1, len(store.classes(dataset.name))), budget=settings.budget,
        noise=settings.noise, seed=settings.seed, allow_peek=settings.may_peek(),
        answer_missing=answers.answer and functools.partial(answers.answer, store, dataset),
        recorded=recorded,
    )  # fmt: skip


def open_store(url: str, dataset: Dataset) -> LabelStore:
    """Open the database of labels at `url`, and copy the prices of the data set into it.

    Raises:
      StoreError: the database cannot be used.
    """
    from jaxlabel.oracle.prices import set_prices

    store = LabelStore(url)
    if dataset.costs is not None:
        set_prices(store, dataset.name, dataset.train_items.tolist(), dataset.costs)
    return store


def refuse_other_images(
    store: LabelStore, dataset: Dataset, workdir: Path, stated: Sequence[str] = ()
) -> None:
    """Raise an error if a new run would get the classes of other images from a shared database.

    The database keeps labels under the name of the data set. All arrays have one name, and so have
    folders that are called alike. Data that bring their own labels are not checked.

    Args:
      store: the database of labels.
      dataset: the images of the run.
      workdir: the run's directory. If it has run.json, the run has begun before and goes on.
      stated: the names of the classes in order, if the user has given them. If they agree with the
        classes in the database, the run may share these.

    Raises:
      UsageError: the database has labels under this name, but none of these images.
    """
    known = store.classes(dataset.name)
    if (workdir / RUN).exists() or tuple(stated[: len(known)]) == known:
        return
    if store.is_of_other_images(dataset.name, dataset.train_items):
        shown = f"{', '.join(known[:5])}{', ...' if len(known) > 5 else ''}"
        raise UsageError(
            f"the label store {store.place} has labels under the name {dataset.name}, but of none "
            f"of these images; its classes are {shown}. Name another store (config.store), or give "
            "the folder another name. In Python, classes=[...] that begins with these classes, in "
            "this order, uses them"
        )


def _import_labels(
    settings: config.RunConfig, options: Options, store: LabelStore, dataset: Dataset,
    workdir: Path, log: RunLog,
) -> None:  # fmt: skip
    """Copy the labels of the data set into the database, if the database lacks some of them.

    If the database has all of them, and they come from local files, compare them with the files
    instead, because the user may have corrected the files. If all labels agree or were just copied,
    the cache remembers this, and the next start compares them only if a file has changed.

    Args:
      settings: the configuration of the run.
      options: how the images are read, such as their size.
      store: the database of labels.
      dataset: the images.
      workdir: the run's directory, in which contradictory labels are listed.
      log: the run's log, which shows the messages of the import.

    Raises:
      UsageError: some images have a label neither in the database nor in the data set, but the run
        needs all labels, because `settings` ask for noisy labels, or use labels that were not
        bought to decide when to stop.
    """
    missing = store.num_labelled(dataset.name, dataset.train_items) < len(dataset.train_items)
    importable = not settings.labels and data.has_labels(settings.data, options)
    if missing and not importable and (settings.may_peek() or settings.noise):
        raise UsageError("stop=peek and noise are for data whose labels are all in the store")
    url = store.engine.url.render_as_string(hide_password=False)
    sources = importing.label_files(settings.data) if importable else []
    key = [settings.data, url, list(options), sources]
    if not missing and (not sources or cache.known("label_comparisons", key)):
        return
    if importable:
        full = str(workdir / CONTRADICTIONS)
        lines = importing.in_subprocess(settings.data, url, options, full, only_compare=not missing)
        for line in lines:
            log.say(line)
        if sources and (missing or not lines):
            cache.cached("label_comparisons", key, dict)
