"""Tests of the label store on SQLite and PostgreSQL: classes, labels, prices, and purchases."""

import math
from datetime import datetime

import numpy as np
import pytest
import sqlalchemy as sa

from jaxlabel.errors import BudgetExceeded, LabelsMissing, StoreError
from jaxlabel.oracle import LabelStore, ledger_text, purchase, spending, votes
from jaxlabel.oracle.prices import set_prices, total_price

ITEMS, LABELS = ["a", "b", "c", "d", "e"], [0, 1, 2, 1, 0]
NAMES = ("cat", "dog", "eel")


@pytest.fixture
def store(store_url):
    store = LabelStore(store_url)
    store.define("pets", NAMES)
    store.add_labels("pets", ITEMS, LABELS)
    store.open_account("run", "pets", 3)
    return store


def buy(store, items, account="run", **reason):
    reason = {"purpose": "train", "round": 0, "asked_by": "test", **reason}
    return store.buy(account, items, **reason)


def test_answers_come_in_the_order_asked_and_repeats_are_free(store):
    bought = buy(store, ["c", "a", "c"])
    assert bought.labels.tolist() == [2, 0, 2] and bought.labels.dtype == np.int32
    assert store.spent("run") == 2
    assert buy(store, ["a", "b"]).labels.tolist() == [0, 1]
    assert store.spent("run") == 3
    assert buy(store, ["a", "b", "c"]).labels.tolist() == [0, 1, 2]
    assert buy(store, []).labels.tolist() == []
    assert [row.item for row in store.ledger("run")] == ["c", "a", "b"]


def test_a_purchase_beyond_the_budget_is_refused_as_a_whole(store):
    buy(store, ["a", "b"])
    with pytest.raises(BudgetExceeded, match=r"2 new labels cost 2.* only 1 left"):
        buy(store, ["a", "c", "d"])
    assert store.spent("run") == 2 and len(store.ledger("run")) == 2
    buy(store, ["c"])
    with pytest.raises(BudgetExceeded):
        buy(store, ["d"])


def test_missing_answers_are_named_and_nothing_is_charged(store):
    with pytest.raises(LabelsMissing, match="2 of 3 new labels") as error:
        buy(store, ["x", "a", "y"])
    assert error.value.items == ["x", "y"]
    assert store.spent("run") == 0 and store.ledger("run") == []
    with pytest.raises(BudgetExceeded):  # not LabelsMissing: these labels exceed the budget
        buy(store, ["w", "x", "y", "z"])
    store.add_labels("pets", ["x", "y"], [1, 1])
    assert buy(store, ["x", "a", "y"]).labels.tolist() == [1, 0, 1]


def test_costs_per_item_are_charged_and_summed_exactly(store):
    store.add_labels("pets", ["p", "q", "r"], [0, 1, 2], costs=[0.1, 0.1, 0.1])
    store.open_account("thrifty", "pets", 0.3)
    assert store.costs("pets", ["q", "a", "unknown"]).tolist() == [0.1, 1.0, 1.0]
    assert buy(store, ["p", "q", "r"], "thrifty").costs.tolist() == [0.1] * 3
    assert store.spent("thrifty") == 0.3
    store.add_labels("pets", ["f", "m"], [0, 0], costs=[0, 2.5])
    assert buy(store, ["f"], "thrifty").costs.tolist() == [0.0]
    with pytest.raises(BudgetExceeded, match=r"costs 2\.5"):
        buy(store, ["m"], "thrifty")


def test_the_ledger_says_who_asked_when_in_which_round_why_and_what_was_answered(store):
    buy(store, ["b"], purpose="medoids", round=4, asked_by="ann@host")
    (row,) = store.ledger("run")
    assert row[:7] == ("b", 1, "dog", 1.0, "medoids", 4, "ann@host")
    time = datetime.fromisoformat(row.asked_time)
    assert time.utcoffset().total_seconds() == 0
    assert abs((datetime.now(time.tzinfo) - time).total_seconds()) < 60


def test_the_ledger_keeps_what_was_revealed_and_says_it_again(store):
    first = store.buy(
        "run", ["a", "b"], purpose="train", round=0, asked_by="test", reveal=lambda i, y: 2 - y
    )
    assert first.labels.tolist() == [2, 1]
    assert buy(store, ["b", "a"]).labels.tolist() == [1, 2]
    assert [row.label for row in store.ledger("run")] == [2, 1]


def test_an_error_while_revealing_undoes_the_charge(store):
    def refuse(item, label):
        raise StoreError("no")

    with pytest.raises(StoreError, match="no"):
        store.buy("run", ["a"], purpose="train", round=0, asked_by="test", reveal=refuse)
    assert store.spent("run") == 0 and store.ledger("run") == []


def test_accounts_do_not_share_what_they_bought(store):
    store.open_account("other", "pets", 1)
    buy(store, ["a", "b"])
    buy(store, ["a"], "other")
    assert (store.spent("run"), store.spent("other")) == (2, 1)
    assert [account.name for account in store.accounts()] == ["run", "other"]


def test_an_account_opened_again_keeps_its_ledger_and_only_grows(store):
    buy(store, ["a"])
    store.open_account("run", "pets", 2)
    assert (store.budget("run"), store.spent("run")) == (3, 1)
    store.open_account("run", "pets", 4.5)
    assert (store.budget("run"), store.spent("run")) == (4.5, 1)
    store.open_account("run", "pets", math.inf)
    assert store.budget("run") == math.inf
    buy(store, ["b", "c", "d", "e"])
    with pytest.raises(StoreError, match=r"run .*buys labels of pets, not of cars"):
        store.open_account("run", "cars", 3)
    for wrong in (-1, math.nan, 1e13):
        with pytest.raises(StoreError, match="budget of"):
            store.open_account("new", "pets", wrong)
    with pytest.raises(StoreError, match=r"no account is called 'new'; there are: run$"):
        store.spent("new")


def test_a_label_that_nobody_has_bought_can_be_corrected(store):
    store.define("fish", ["eel", "ray", "cod"])
    store.add_labels("fish", ["a", "b", "c"], [1, 2, 2])
    assert store.correct("fish", ["a", "b", "x"], [0, 2, 0]) == ["a"]
    assert store.classes("fish") == ("eel", "cod")  # "ray" is empty, and no label was bought
    assert store.bought("fish", ["a", "b"]) == {}
    store.open_account("other", "fish", 2)
    bought = store.buy("other", ["a", "b"], purpose="", round=0, asked_by="").labels
    assert bought.tolist() == [0, 1] and store.bought("fish", ["b", "c"]) == {"b": 1}
    assert store.correct("fish", ["b", "c"], [0, 0]) == ["c"]
    assert store.agreement("fish", ["a", "b", "c"], [0, 1, 0]) == 1.0


def test_the_first_answer_stays_and_contradictions_are_reported(store):
    contradictions = store.add_labels("pets", ["a", "b", "n", "n", "n"], [0, 2, 1, 1, 0])
    assert contradictions == [("b", 1, 2), ("n", 1, 0)]
    assert store.add_labels("pets", ["a", "b", "n"], [0, 1, 1], costs=[9, 9, 9]) == []
    assert buy(store, ["a", "b", "n"]).labels.tolist() == [0, 1, 1]
    assert store.spent("run") == 3


def test_labels_must_be_classes_and_match_the_items(store):
    with pytest.raises(StoreError, match="label 3 is none of the 3 classes of pets"):
        store.add_labels("pets", ["n", "m"], [0, 3])
    with pytest.raises(StoreError, match="-1 is none"):
        store.add_labels("pets", ["n"], [-1])
    with pytest.raises(StoreError, match="2 items have 1 labels"):
        store.add_labels("pets", ["n", "m"], [0])
    with pytest.raises(StoreError, match="cost of -1"):
        store.add_labels("pets", ["n"], [0], costs=[-1])
    assert store.num_labelled("pets", ["n", "m", "a"]) == 1


def test_classes_are_defined_once_and_may_grow(store):
    assert store.classes("cars") == ()
    for names in ((), NAMES[:2], NAMES):
        store.define("pets", names)
        assert store.classes("pets") == NAMES
    store.define("pets", [*NAMES, "fox"])
    assert store.classes("pets") == (*NAMES, "fox")
    with pytest.raises(StoreError, match="class 1 of pets 'dog', and this data set calls it 'cow'"):
        store.define("pets", ("cat", "cow"))
    with pytest.raises(StoreError, match="2 classes called 'cat'"):
        store.define("new", ("cat", "cat"))
    assert store.classes("new") == ()


def test_label_sets_are_apart(store):
    store.define("cars", ["bus", "van"])
    store.add_labels("cars", ["a"], [1])
    store.open_account("driver", "cars", 5)
    assert buy(store, ["a"], "driver").labels.tolist() == [1]
    assert store.ledger("driver")[0].class_name == "van"
    with pytest.raises(LabelsMissing):
        buy(store, ["b"], "driver")


def test_agreement_counts_every_position_and_needs_every_label(store):
    rng = np.random.default_rng(0)
    items = [f"i{i}" for i in range(2000)]
    truth, guess = rng.integers(0, 3, 2000), rng.integers(0, 3, 2000)
    store.add_labels("pets", items, truth)
    positions = rng.integers(0, 2000, 3000)  # with repeats
    asked = np.array(items)[positions]
    values = np.where(rng.random(3000) < 0.5, truth[positions], guess[positions])
    assert store.agreement("pets", asked, values) == (values == truth[positions]).mean()
    assert store.agreement("pets", ["a", "a"], [0, 1]) == 0.5
    assert math.isnan(store.agreement("pets", ["a", "unknown"], [0, 0]))
    assert math.isnan(store.agreement("nothing", ["a"], [0]))
    assert store.num_labelled("pets", ["a", "a", "unknown"]) == 2


@pytest.mark.parametrize("item", ["a\0", "\ud800"])
def test_what_a_database_cannot_keep_is_one_line(store, item):
    for call in (
        lambda: store.add_labels("pets", [item], [0]),
        lambda: store.define("birds", [item]),
        lambda: buy(store, ["a", item]),
        lambda: store.costs("pets", [item]),
    ):
        with pytest.raises(StoreError, match="NUL character or half of a surrogate pair"):
            call()
    assert store.spent("run") == 0 and store.num_labelled("pets", ITEMS) == 5


def test_a_clock_that_is_set_back_changes_no_order(store, monkeypatch):
    clock = iter(["2026-03-02T12:00:00+00:00", "2026-03-01T08:00:00+00:00"] * 2)
    times = type("datetime", (), {"now": lambda zone: datetime.fromisoformat(next(clock))})
    monkeypatch.setattr(purchase, "datetime", times)
    monkeypatch.setattr(votes, "datetime", times)
    buy(store, ["c"], round=0)
    buy(store, ["a", "b"], round=1)
    rows = store.ledger("run")
    assert [row.item for row in rows] == ["c", "a", "b"]  # the order of the purchases
    assert [row.asked_time[:10] for row in rows] == ["2026-03-02", "2026-03-01", "2026-03-01"]
    assert [entry.round for entry in spending(rows)] == [0, 1]
    for name in ("cat", "dog"):  # the newest vote decides, not that of the latest time
        votes.vote(store, "pets", ["x"], name, name)
    assert votes.known_labels(store, "pets", ["x"]) == {"x": "dog"}
    assert [vote.person for vote in votes.all_votes(store, "pets")] == ["cat", "dog"]


def test_votes_never_destroy_a_label_that_came_from_a_file(store):
    cat, dog = NAMES[:2]
    store.add_named("pets", ["x", "y", "z"], [cat] * 3)

    def label(item="x"):
        return votes.known_labels(store, "pets", [item]).get(item)

    votes.vote(store, "pets", ["x"], "ann", votes.NOT_SURE)
    assert label() == cat
    votes.vote(store, "pets", ["x"], "ann", dog)
    assert label() == dog
    votes.withdraw(store, "pets", "ann")
    assert label() == cat and votes.all_votes(store, "pets") == []
    for person, expected in (("ann", cat), ("bob", dog)):
        votes.vote(store, "pets", ["y"], person, dog, rule=votes.Rule(2))
        assert label("y") == expected
    votes.withdraw(store, "pets", "bob", votes.Rule(2))
    assert label("y") == cat

    votes.vote(store, "pets", ["w"], "ann", dog, rule=votes.Rule(2))  # a vote before the file
    store.add_named("pets", ["w"], [cat])
    votes.vote(store, "pets", ["w"], "bob", votes.NOT_SURE, rule=votes.Rule(2))
    assert label("w") == cat

    votes.vote(store, "pets", ["x"], "ann", "fox")  # a file then corrects the label
    added = store.add_named("pets", ["x", "z"], [dog, dog], correctable={"x", "z"})
    assert added.corrected == ("x", "z") and (label(), label("z")) == (dog, dog)
    assert "fox" in store.classes("pets")  # ann's vote has it
    votes.vote(store, "pets", ["x"], "bob", votes.NOT_SURE)
    assert label() == dog
    votes.withdraw(store, "pets", "ann", item="x")
    assert label() == dog and "fox" not in store.classes("pets")


def test_a_class_goes_with_its_last_answer_unless_a_label_of_a_later_one_was_bought(store):
    votes.vote(store, "pets", ["v", "w", "x"], "ann", "dgo")
    votes.vote(store, "pets", ["y", "z"], "bob", "fox")
    votes.vote(store, "pets", ["v", "w"], "ann", "dog")
    assert store.classes("pets") == (*NAMES, "dgo", "fox")  # x has it
    votes.vote(store, "pets", ["x"], "ann", votes.NOT_SURE)
    assert store.classes("pets") == (*NAMES, "fox")
    known = dict.fromkeys("vw", "dog") | dict.fromkeys("yz", "fox")
    assert votes.known_labels(store, "pets", list("vwxyz")) == known
    votes.vote(store, "pets", ["x"], "ann", "hen")
    votes.vote(store, "pets", ["u"], "ann", "fly")
    votes.withdraw(store, "pets", "ann", item="x")
    assert store.classes("pets") == (*NAMES, "fox", "fly")
    votes.withdraw(store, "pets", "ann", item="u")

    votes.vote(store, "pets", ["x"], "ann", "gnu")
    votes.vote(store, "pets", ["u"], "ann", "owl")
    assert buy(store, ["y", "u"]).labels.tolist() == [3, 5]
    votes.vote(store, "pets", ["y"], "ann", "fox")  # an answer that does not change the label
    votes.vote(store, "pets", ["x"], "ann", "cat")
    assert store.classes("pets") == (*NAMES, "fox", "gnu", "owl")
    assert buy(store, ["y", "u"]).labels.tolist() == [3, 5]


def lose_connection(store, times):
    """Break the connection at the store's next writing transactions, which are committed already.

    Args:
      store: the store.
      times: the number of transactions at whose end the connection breaks.
    """
    left = iter(range(times))

    @sa.event.listens_for(store.engine, "commit")
    def commit(connection):
        if connection.get_execution_options().get("write") and next(left, None) is not None:
            connection.connection.driver_connection.execute("COMMIT")
            lost = sa.exc.OperationalError("COMMIT", {}, Exception("the connection is lost"))
            lost.connection_invalidated = True
            raise lost


def test_an_answer_is_stored_and_taken_back_once_if_the_connection_breaks(store):
    votes.vote(store, "pets", ["x"], "ann", "cat")
    lose_connection(store, 2)
    votes.vote(store, "pets", ["y"], "ann", "fox")
    assert [vote.item for vote in votes.all_votes(store, "pets")] == ["x", "y"]
    assert store.classes("pets") == (*NAMES, "fox")
    lose_connection(store, 2)
    taken = votes.withdraw(store, "pets", "ann")
    assert taken is not None and taken[:3] == ("y", "ann", "fox")
    assert votes.known_labels(store, "pets", ["x", "y"]) == {"x": "cat"}  # x is not taken back
    assert store.classes("pets") == NAMES
    lose_connection(store, 1)
    set_prices(store, "pets", ["z"], np.array([2.0]))
    assert total_price(store, "pets", ["z", "x"]) == 3


def test_ledger_text_sums_by_purpose_and_round(store):
    assert "no account" in ledger_text(LabelStore("sqlite://"))
    store.add_labels("pets", ["p"], [2], costs=[0.5])
    buy(store, ["a"], purpose="medoids", round=0)
    buy(store, ["b", "p"], purpose="medoids", round=1)
    assert spending(store.ledger("run")) == [("medoids", 0, 1, 1.0), ("medoids", 1, 2, 1.5)]
    lines = ledger_text(store, "run").splitlines()
    assert [line.split() for line in lines[1:5]] == [
        ["purpose", "round", "labels", "cost"],
        ["medoids", "0", "1", "1"],
        ["medoids", "1", "2", "1.5"],
        ["total", "3", "2.5"],
    ]
    assert lines[5:] == [
        "budget 3, spent 2.5, left 0.5",
        "not peeked: no label was used that was not bought",
    ]
    store.mark_peeked("run")
    assert "\npeeked: " in ledger_text(store)
    (line,) = [line for line in ledger_text(store, rows=True).splitlines() if "eel" in line]
    assert line.split()[1:] == ["1", "medoids", "eel", "0.5", "p", "test"]
    with pytest.raises(StoreError, match="no account is called 'x'"):
        ledger_text(store, "x")


def test_corrections_after_a_run_are_not_purchases_of_other_runs():
    store = LabelStore("sqlite://")
    store.define("pets", ["cat", "dog"])
    store.add_labels("pets", list("abcd"), [0, 1, 0, 1])
    store.open_account("run", "pets", 9)
    for item, purpose in zip("abcd", ("train", "train", "correct", "train"), strict=True):
        store.buy("run", [item], purpose=purpose, round=0, asked_by="")
    lines = ledger_text(store, "run", own=slice(1, 2)).splitlines()
    assert [line.split() for line in lines[2:7]] == [
        ["before", "this", "run", "1", "1"], ["train", "0", "1", "1"], ["correct", "0", "1", "1"],
        ["after", "this", "run", "1", "1"], ["total", "4", "4"],
    ]  # fmt: skip
