"""Buy the labels that people give after the end of a run; no round of the run buys them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from jaxlabel import query
from jaxlabel.label.desk import Desk
from jaxlabel.oracle.records import CORRECT
from jaxlabel.oracle.votes import NOT_SURE


def buy_corrections(desk: Desk, items: Sequence[str] | None = None) -> tuple[int, int]:
    """Buy the labels that people gave on this page after the end of the run.

    Nothing is bought while the run goes on. A label that the run's account has bought before is not
    bought again.

    Args:
      desk: the questions and answers of the page.
      items: the ids of pictures that were labelled just now; None for all pictures whose labels
        were given after the time of the file result.json.

    Returns:
      The number of labels bought, and the number of labels for which the budget has too little
      left.
    """
    try:
        end = (desk.project.workdir / "result.json").stat().st_mtime
    except FileNotFoundError:
        return 0, 0
    ended = datetime.fromtimestamp(end, UTC).isoformat(timespec="milliseconds")
    project, snapshot = desk.project, desk.snapshot()
    wanted = set(project.rows if items is None else items) - snapshot.paid
    due: dict[str, str] = {}  # the people who gave the labels, by item
    for vote in snapshot.own_votes():
        decides = vote.class_name == snapshot.labels.get(vote.item, NOT_SURE) != NOT_SURE
        is_late = items is not None or vote.voted_time >= ended
        if decides and vote.item in wanted and is_late:
            due[vote.item] = vote.person
    if not due:
        return 0, 0
    account = project.payer()
    left = query.highest_price(account.budget - account.spent)
    prices = project.store.costs(project.label_set, list(due)).tolist()
    affordable: dict[str, list[str]] = {}  # items by person
    for (item, person), price in zip(due.items(), prices, strict=True):
        if price <= left:
            left -= price
            affordable.setdefault(person, []).append(item)
    for person, some in affordable.items():
        project.store.buy(
            account.name, some, purpose=CORRECT, round=0, asked_by=person, budget=account.budget
        )
    desk.refresh(list(due))
    num_bought = sum(map(len, affordable.values()))
    return num_bought, len(due) - num_bought


def note(bought: int, unaffordable: int) -> str:
    """Return one line for the terminal about what `buy_corrections` did; "" if it found no label.

    Args:
      bought: the number of labels bought.
      unaffordable: the number of labels for which the budget has too little left.
    """
    parts = [f"{bought} charged now"] if bought else []
    if unaffordable:
        parts.append(f"{unaffordable} not charged, because the budget has too little left")
    return f"labels that people gave after the end of the run: {', '.join(parts)}" if parts else ""
