"""Every query of a label store finds its rows by an index."""

import re

import pytest
import sqlalchemy as sa

from jaxlabel.oracle import LabelStore, engine, schema, votes

BIG = ("labels", "ledger", "votes")  # tables with a row for each image
# These read all rows of one account or label set, because all are wanted, to find a person's newest
# vote, or to see that none has a class. No round of a run makes one of the last four. The first one
# is made once in a run, and only the labelling page makes the next two.
WHOLE = (
    r"FROM jaxlabel_labels\s+WHERE \S+ = \S+ AND jaxlabel_labels.cost !=",
    r"FROM jaxlabel_labels\s+WHERE jaxlabel_labels.label_set_id = \S+\s*$",
    r"FROM jaxlabel_labels\s+WHERE jaxlabel_labels.label_set_id = \S+ AND \(EXISTS [^*]*\*[^*]*$",
    r"FROM jaxlabel_ledger\s+WHERE jaxlabel_ledger.account_id = \S+ ORDER BY",
    r"FROM jaxlabel_votes\s+WHERE jaxlabel_votes.label_set_id = \S+ ORDER BY",
    r"FROM jaxlabel_votes\s+WHERE \S+ = \S+ AND jaxlabel_votes.person = \S+ ORDER BY",
    r"EXISTS \(SELECT \*\s+FROM jaxlabel_labels\s+WHERE \S+ = \S+ AND jaxlabel_labels.label =",
    r"EXISTS \(SELECT \*\s+FROM jaxlabel_accounts, jaxlabel_ledger",
    r"UPDATE jaxlabel_labels SET label=.* AND jaxlabel_labels.label >",
)


def use(store):
    """Call everything that a run, a person and the labelling page do with a store."""
    items = [f"item{number}" for number in range(4000)]
    store.define("set", ["a", "b", "c"])
    store.add_labels("set", items, [number % 3 for number in range(4000)])
    store.open_account("run", "set", 5000)
    store.buy("run", items[:3000], purpose="train", round=0, asked_by="test")
    store.mark_peeked("run")
    assert len(store.accounts()) == 1 and store.budget("run") == 5000
    assert len(store.ledger("run")) == store.spent("run") == 3000
    some = items[2999:3002]  # one of them is bought
    assert store.costs("set", some).sum() == store.num_labelled("set", some) == 3
    assert store.all_costs("set", items).sum() == 4000
    assert store.agreement("set", some, [2, 0, 0]) == 2 / 3
    assert store.bought("set", some) == {items[2999]: 2} and len(store.bought("set")) == 3000
    assert store.correct("set", some, [0, 1, 1]) == [items[3000]]
    assert len(store.buy("run", some, purpose="train", round=1, asked_by="test").labels) == 3
    store.define("set", ["a", "b", "c", "d"])
    store.add_labels("set", ["new"], [3])
    assert store.correct("set", ["new"], [0]) == ["new"]
    with engine.transaction(store.engine, write=True) as connection:  # 2000 votes of two people
        rows = [
            {"label_set_id": 1, "item": f"seen{number // 2}", "person": f"person{number % 2}",
             "class_name": "a", "seconds": 1.0, "voted_time": ""}
            for number in range(2000)
        ]  # fmt: skip
        connection.execute(sa.insert(schema.votes), rows)
    votes.vote(store, "set", ["x", "y"], "ann", "e")
    votes.vote(store, "set", ["z"], "ann", votes.NOT_SURE)
    assert len(votes.all_votes(store, "set")) == 2003
    assert len(votes.all_votes(store, "set", ["x", "z"])) == 2
    assert votes.known_labels(store, "set", ["x", "z"]) == {"x": "e"}
    assert len(votes.known_labels(store, "set")) == 4003
    assert votes.withdraw(store, "set", "ann").item == "z"
    assert votes.withdraw(store, "set", "ann", item="x").class_name == "e"


@pytest.fixture
def plans(store_url):
    """Return the plans of the statements of `use`: a dict from statement to its plan."""
    store, found = LabelStore(store_url), {}

    @sa.event.listens_for(store.engine, "before_cursor_execute")
    def remember(connection, cursor, statement, parameters, context, executemany):
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            found[statement] = parameters[0] if executemany else parameters

    use(store)
    explain = "EXPLAIN QUERY PLAN " if store.engine.dialect.name == "sqlite" else "EXPLAIN "
    with store.engine.connect() as connection:
        answered = {
            statement: [str(row[-1]) for row in connection.exec_driver_sql(
                explain + statement, parameters)]
            for statement, parameters in list(found.items())
        }  # fmt: skip
    store.close()
    assert len(answered) > 20
    return answered


def test_no_query_reads_a_big_table_as_a_whole(plans):
    big = "|".join(f"jaxlabel_{name}" for name in BIG)
    reads = 0
    for statement, lines in plans.items():
        shown = "\n".join([statement, *lines])
        whole = any(re.search(pattern, statement, re.DOTALL) for pattern in WHOLE)
        for line in lines:
            if re.search(rf"SCAN ({big})|Seq Scan on ({big})", line):
                raise AssertionError(shown)
            if found := re.search(rf"SEARCH (?:{big}) .*\((.*)\)", line):  # SQLite
                reads += 1
                assert whole or " AND " in found[1] or "item=?" in found[1] or (
                    "rowid=?" in found[1]), shown  # fmt: skip
            if re.search(rf"Scan .*on ({big})", line):  # PostgreSQL
                reads += 1
            # An index on the label set alone would leave the items to a filter.
            assert whole or not re.search(r"Filter: \(*(item|class_name) = ", line), shown
    assert reads > 10
