"""Find the label store and the account of a run, and record them in its file run.json.

The label store is a database of labels. Each run buys labels from it in the name of an account,
which has a budget.
"""

import contextlib
import math
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxlabel import files
from jaxlabel.data.dataset import Dataset
from jaxlabel.errors import DataError, JaxlabelError, UsageError
from jaxlabel.oracle import LabelStore, Oracle
from jaxlabel.oracle.schema import to_units
from jaxlabel.runlog.workdir import ASKED, RUN, sqlite_url

EARLIER = "earlier_purchases"  # the entry of run.json for `num_earlier_purchases`
ORACLE = "oracle"  # the entry of run.json that is true if a program gave the run an oracle
DIRECTORY = "directory"  # the entry of run.json for the directory in which the run was started


def store_url(url: str, workdir: Path) -> str:
    """Return the absolute URL of the database from which a run buys its labels (the label store).

    Args:
      url: the URL in the run's setting `store`, such as "sqlite:///labels.db". An empty string
        stands for the file labels.db in `workdir`. A relative path of an SQLite file is relative to
        the directory in which the user first started the run.
      workdir: the run's directory, which holds all files of the run.

    Raises:
      UsageError: the URL names an in-memory database, which would be lost with the process.
    """
    if not url:
        return sqlite_url(workdir.resolve() / "labels.db")
    path = _sqlite_path(url)
    if path is None or os.path.isabs(path):
        return url
    if path in ("", ":memory:"):
        raise UsageError(f"config.store={url} is kept in memory: name a file, sqlite:///FILE.db")
    if recorded := files.read_json(workdir / RUN):
        return str(recorded["store"]) or store_url("", workdir)
    return _absolute(url)


def _absolute(url: str) -> str:
    """Return the URL of a database; a relative path of an SQLite file is made absolute."""
    from sqlalchemy import make_url

    if _sqlite_path(url) in (None, "", ":memory:"):
        return url
    parsed = make_url(url)
    absolute = parsed.set(database=os.path.abspath(str(parsed.database)))
    return absolute.render_as_string(hide_password=False)


def _sqlite_path(url: str) -> str | None:
    """Return the path of the file that the URL of an SQLite database names; "" if it names none.

    None is returned for any other database, and for a URL that is not valid: opening the store says
    what is wrong with it.
    """
    from sqlalchemy import exc, make_url

    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        return None
    return (parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def account_name(
    account: str, workdir: Path, dataset: Dataset, url: str, budget: float = math.inf
) -> str:
    """Return the name of the account whose budget pays for the labels of a run.

    The first call records the name in the file run.json, and later calls return the recorded name.
    A run that is started again therefore finds the labels that it bought before. The first call
    also records how many labels the account has bought so far, for `num_earlier_purchases`.

    Args:
      account: the name in the run's setting `account`. If it is empty, the first call makes a
        unique name, so that two runs with equal settings have different accounts.
      workdir: the run's directory, which holds run.json.
      dataset: the images of the run; the unique name begins with the data set's name.
      url: the URL of the database of labels, as `store_url` returns it.
      budget: the budget of the run: what all runs of its account may spend in total.

    Raises:
      UsageError: the run is new, and its account has a larger budget than the run may spend.
    """
    recorded = files.read_json(workdir / RUN)
    if recorded is None:
        earlier = _num_purchases(url, account, budget) if account else 0
        chosen = account or f"{dataset.name}-{workdir.resolve().name}-{uuid.uuid4().hex[:8]}"
        recorded = _record(workdir, chosen, dataset, url, earlier)
    return str(recorded["account"])


def check_oracle(oracle: Oracle | None, workdir: Path) -> None:
    """Raise a UsageError if a run was begun with another account, or with an oracle now missing.

    Args:
      oracle: the object that sells the labels, if a program gives the run one.
      workdir: the run's directory, which holds run.json if the run was begun before.
    """
    recorded = files.read_json(workdir / RUN)
    if recorded is None:
        return
    if oracle is None and recorded.get(ORACLE):
        raise UsageError(f"the run in {workdir} was begun with an Oracle: give it again as `ask`, "
                         "or another workdir")  # fmt: skip
    if oracle is not None and recorded["account"] != oracle.account:
        raise UsageError(
            f"the run in {workdir} was begun with the account {recorded['account']}, and the "
            f"oracle charges {oracle.account}: give an oracle of the run's account, or another "
            "workdir"
        )


def record_oracle(oracle: Oracle, workdir: Path, dataset: Dataset) -> None:
    """Record the account of an oracle that a program gave to a run, as `account_name` does.

    Args:
      oracle: the object that sells the labels.
      workdir: the run's directory, which holds run.json.
      dataset: the images of the run.
    """
    if not (workdir / RUN).exists():
        url = _absolute(oracle.store.engine.url.render_as_string(hide_password=False))
        num_earlier = len(oracle.store.ledger(oracle.account))
        _record(workdir, oracle.account, dataset, url, num_earlier, **{ORACLE: True})


def _record(
    workdir: Path, account: str, dataset: Dataset, url: str, earlier: int, **more: Any
) -> dict[str, Any]:
    """Write and return the content of run.json, with the further entries `more`.

    `earlier` is how many labels the account had bought before.
    """
    # The default store moves with the directory, so its path is not recorded.
    is_default = url == store_url("", workdir)
    recorded = {
        "account": account, "label_set": dataset.name, "store": "" if is_default else url,
        EARLIER: earlier, DIRECTORY: os.getcwd(), **more,
    }  # fmt: skip
    files.write_json(workdir / RUN, recorded, private=True)  # the URL may hold a password
    return recorded


def _num_purchases(url: str, account: str, budget: float) -> int:
    """Return how many labels an account has bought; 0 if the database has no such account.

    Raises:
      UsageError: the account has a larger budget than `budget`.
    """
    with LabelStore(url) as store:
        known = next((known for known in store.accounts() if known.name == account), None)
        if known is None:
            return 0
        if to_units(known.budget, "budget") > to_units(budget, "budget"):
            has = "no limit" if math.isinf(known.budget) else f"a budget of {known.budget:g}"
            raise UsageError(
                f"the account {account} has {has}, {known.spent:g} of it spent, and config.budget "
                f"is {budget:g}: a run cannot lower an account's budget; set config.budget to at "
                "least as much, or name another config.account"
            )
        return len(store.ledger(account))


@contextlib.contextmanager
def naming_directory(workdir: Path, *locations: str) -> Iterator[None]:
    """Add to a DataError that is raised in the block the directory in which the run was started.

    It is added if a file has a relative path and does not exist in the current directory, but in
    that one. Runs of earlier versions did not record the directory; a hint is added for them too.

    Args:
      workdir: the run's directory.
      locations: the files that the block reads, as specs such as "csv:FILE" or as paths.

    Raises:
      DataError: the block raised it.
    """
    try:
        yield
    except DataError as error:
        started = (files.read_json(workdir / RUN) or {}).get(DIRECTORY, "")
        paths = [os.path.expanduser(where.partition(":")[2] or where) for where in locations]
        is_elsewhere = any(
            path and not os.path.exists(path) and not os.path.isabs(path)
            and (not started or os.path.exists(os.path.join(started, path)))
            for path in paths
        )  # fmt: skip
        if not is_elsewhere or not (workdir / RUN).exists():
            raise
        place = started or "another directory, perhaps"
        raise DataError(f"{error}; {workdir} was started in {place}, and its data have a relative "
                        "path: run this command there") from error  # fmt: skip


def num_earlier_purchases(workdir: Path) -> int:
    """Return how many labels a run's account had bought before the run began; usually 0.

    Runs of earlier versions did not record the number; it is 0 for them too.
    """
    return int((files.read_json(workdir / RUN) or {}).get(EARLIER) or 0)


def delete_record_if_unused(workdir: Path, store: LabelStore, payer: str) -> None:
    """Delete the file run.json of a run, so that another run can use its directory.

    Nothing is deleted if the run has bought a label, has asked a person for labels, or has saved a
    checkpoint.

    Args:
      workdir: the run's directory. Its file run.json names the account of the run.
      store: the database of labels, which records the labels that each account has bought.
      payer: the name of the account whose budget pays for the run's labels.
    """
    # A failure of this clean-up must not replace the run's own error.
    with contextlib.suppress(JaxlabelError):
        if not (
            store.ledger(payer)[num_earlier_purchases(workdir) :]
            or (workdir / ASKED).exists()
            or (workdir / "checkpoints").exists()
        ):
            (workdir / RUN).unlink(missing_ok=True)


def read_run_record(workdir: Path) -> dict[str, Any]:
    """Return the content of the file run.json in a run's directory.

    The file records the account whose budget pays for the run's labels ("account"), the name of the
    labelled data set ("label_set"), and the absolute URL of the database of labels ("store").

    Raises:
      UsageError: there is no run.json, because the run has not started to buy labels, or because
        the directory is a copy without the database of labels; or this database is missing.
    """
    recorded = files.read_json(workdir / RUN)
    if recorded is None and (workdir / "result.json").exists():
        raise UsageError(f"{workdir} is a copy of a run without its database of labels, such as a "
                         "saved result or a bundle: name the run's own directory")  # fmt: skip
    if recorded is None:
        raise UsageError(f"{workdir} has asked for no label yet")
    if missing := [key for key in ("account", "label_set", "store") if key not in recorded]:
        raise JaxlabelError(f"{workdir / RUN} is broken, it lacks {missing[0]}: take it from a "
                            "backup, or begin another workdir with its labels.db as "
                            "config.store")  # fmt: skip
    url = store_url(recorded["store"], workdir)
    file = _sqlite_path(url)
    if file and not file.startswith("file:") and not Path(file).exists():
        raise UsageError(f"{file}, the database of labels of {workdir}, is missing: copy it to "
                         "this place")  # fmt: skip
    return recorded | {"store": url}
