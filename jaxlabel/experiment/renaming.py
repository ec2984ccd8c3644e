"""Rename a class of a run that a person has named, for example to correct a spelling mistake."""

from pathlib import Path

from jaxlabel import data, files
from jaxlabel.data.dataset import recorded_options
from jaxlabel.errors import UsageError
from jaxlabel.experiment.account import naming_directory, read_run_record
from jaxlabel.oracle import LabelStore, names
from jaxlabel.runlog.workdir import LABEL_KINDS


def rename_class(workdir: Path, old: str, new: str) -> str:
    """Give a class of an unfinished run another name, and return this name as it is stored.

    The class keeps its labels and answers, also the labels that a run has bought. All runs on the
    same data set in the same database of labels see the new name, but a finished model keeps the
    old one.

    Args:
      workdir: the run's directory.
      old: the present name of the class.
      new: the new name. It may be another spelling of the old name, but not of another class.

    Raises:
      UsageError: the run has not started to buy labels, or it is finished; there is no class `old`,
        or `new` cannot be its name; or the data set, a table or a Python program names the classes.
      StoreError: the database of labels cannot be used.
    """
    recorded = read_run_record(workdir)
    if (workdir / "result.json").exists():
        raise UsageError(f"the run in {workdir} is finished, so its classes can no longer be "
                         "renamed: change the name in the exported files")  # fmt: skip
    settings = files.read_settings(workdir) or {}
    options = recorded_options(settings)
    with naming_directory(workdir, settings.get("data", "")):
        has_labels = "data" in settings and data.has_labels(settings["data"], options)
    if settings.get("labels") or has_labels:
        raise UsageError(f"the classes of {recorded['label_set']} are named by the data itself: "
                         "rename them there")  # fmt: skip
    given = files.read_json(workdir / LABEL_KINDS) or {}  # the labels come from Python
    if given.get("integers") or given.get("classes"):
        raise UsageError(f"the classes of the run in {workdir} are named by the Python program "
                         "that started it, which would not know the new name")  # fmt: skip
    with LabelStore(recorded["store"]) as store:
        classes = store.classes(recorded["label_set"])
        if old not in classes:
            known = ", ".join(map(repr, classes)) or "none yet"
            raise UsageError(f"there is no class {old!r}: the classes are {known}")
        name = names.checked_name(new)
        if names.is_blank(name, ()):
            raise UsageError(f"{name!r} cannot be the name of the class: programs write it into "
                             "empty cells")  # fmt: skip
        others = [known for known in classes if known != old]
        meant, fault = names.match(name, others)
        if meant is None:
            raise UsageError(f"{name!r} cannot be the name of the class: {fault}")
        if meant in others:
            raise UsageError(f"there is a class {meant!r} already: two classes cannot become one")
        store.rename_class(recorded["label_set"], old, name)
    return name


def names_now(store: LabelStore, label_set: str, before: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a run's classes at its end: a person may have renamed one meanwhile.

    Args:
      store: the database of labels.
      label_set: the name of the labelled data set.
      before: the names at the start of the training. The result has as many, because the network
        has an output for each.
    """
    names = store.classes(label_set)[: len(before)]
    return names + before[len(names) :]
