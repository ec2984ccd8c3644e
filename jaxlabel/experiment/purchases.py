"""Tell which labels a run bought, and what they cost.

The list of the labels that an account has bought is called its ledger. Several runs may use one
account; its ledger does not say which of them bought a label.
"""

import math
from pathlib import Path
from typing import Any

from jaxlabel import files
from jaxlabel.experiment.account import num_earlier_purchases, read_run_record
from jaxlabel.oracle import LabelStore, Oracle, ledger_text, spending
from jaxlabel.report.run import check_result


def own_purchases(workdir: Path) -> slice:
    """Return which part of its account's ledger a run bought.

    Other runs that use the same account may buy labels before the run begins and after it has
    ended. The labelling page may do so after the end, when a person corrects a label.
    """
    first = num_earlier_purchases(workdir)
    result = files.read_json(workdir / "result.json")
    if result is None:
        return slice(first, None)
    check_result(result, workdir, needed=("labels_spent",))
    return slice(first, first + result["labels_spent"])


def spending_entries(seller: Oracle, workdir: Path) -> dict[str, Any]:
    """Return the entries of result.json that say which labels a run bought and what they cost.

    Labels that the account had bought before the run began are free, and are not counted. Those
    that another run bought from the account while this run was not finished are counted.

    Args:
      seller: the oracle that sold the run's labels.
      workdir: the run's directory.
    """
    num_earlier = num_earlier_purchases(workdir)
    entries = spending(seller.store.ledger(seller.account)[num_earlier:])
    by_purpose: dict[str, int] = {}
    for entry in entries:
        by_purpose[entry.purpose] = by_purpose.get(entry.purpose, 0) + entry.labels
    return {
        "labels_spent": sum(by_purpose.values()),
        "labels_by_purpose": by_purpose,
        "cost": round(sum(entry.cost for entry in entries), 6),
        "ledger": [entry._asdict() for entry in entries],
        "peeked": seller.store.account(seller.account).peeked,
        **({"labels_bought_earlier": seller.num_free} if num_earlier else {}),
    }


def cost_text(result: dict[str, Any]) -> str:
    """Return what a run's labels cost, such as ", which cost 20 of a budget of 20".

    It is "" if they cost as much as their number.

    Args:
      result: the content of the run's result.json.
    """
    cost, budget = result.get("cost", result["labels_spent"]), result["config"].get("budget")
    if cost == result["labels_spent"]:
        return ""
    no_limit = budget is None or math.isinf(budget)  # JSON has no infinity
    return f", which cost {cost:.12g}" + ("" if no_limit else f" of a budget of {budget:.12g}")


def ledger(workdir: Path, rows: bool = False) -> str:
    """Return a table of the labels that a run bought and their costs, as text for the terminal.

    Labels that other runs with the same account bought are summed up: those bought before this run
    in one row, and those bought after it in another. The account's list of purchases does not say
    which run bought a label, so what other runs bought while this run went on is among its own; a
    line says so.

    Args:
      workdir: the run's directory.
      rows: True to add, below the table, a line for each label that was bought.

    Raises:
      UsageError: the run has not started to buy labels.
    """
    recorded = read_run_record(workdir)
    store = LabelStore(recorded["store"])
    text = ledger_text(store, recorded["account"], rows, own_purchases(workdir))
    if not (files.read_settings(workdir) or {}).get("account"):  # nobody else knows its name
        return text
    return (f"{text}\nif another run used this account while this run went on, the labels that it "
            "bought meanwhile are shown as this run's own")  # fmt: skip
