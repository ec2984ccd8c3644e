"""A label store of an older version opens and goes on; one of a newer version is refused."""

import sqlite3

import pytest
import sqlalchemy as sa

from jaxlabel.errors import StoreError
from jaxlabel.oracle import LabelStore, engine, ledger_text, schema, votes

# The tables of version 1, as jaxlabel 0.1.0 made them, with a few rows.
VERSION_1 = """
CREATE TABLE jaxlabel_store (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE jaxlabel_label_sets (id {key} NOT NULL, name TEXT NOT NULL, PRIMARY KEY (id),
  UNIQUE (name));
CREATE TABLE jaxlabel_classes (label_set_id {integer} NOT NULL, label INTEGER NOT NULL,
  name TEXT NOT NULL, PRIMARY KEY (label_set_id, label), UNIQUE (label_set_id, name),
  FOREIGN KEY(label_set_id) REFERENCES jaxlabel_label_sets (id));
CREATE TABLE jaxlabel_labels (label_set_id {integer} NOT NULL, item TEXT NOT NULL,
  label INTEGER NOT NULL, cost BIGINT NOT NULL, PRIMARY KEY (label_set_id, item),
  FOREIGN KEY(label_set_id) REFERENCES jaxlabel_label_sets (id)) {without_rowid};
CREATE TABLE jaxlabel_accounts (id {key} NOT NULL, name TEXT NOT NULL,
  label_set_id {integer} NOT NULL, budget BIGINT NOT NULL, spent BIGINT NOT NULL,
  peeked BOOLEAN NOT NULL, PRIMARY KEY (id), UNIQUE (name),
  FOREIGN KEY(label_set_id) REFERENCES jaxlabel_label_sets (id));
CREATE TABLE jaxlabel_ledger (id {key} NOT NULL, account_id {integer} NOT NULL, item TEXT NOT NULL,
  label INTEGER NOT NULL, cost BIGINT NOT NULL, purpose TEXT NOT NULL, round INTEGER NOT NULL,
  asked_by TEXT NOT NULL, asked_time TEXT NOT NULL, PRIMARY KEY (id), UNIQUE (account_id, item),
  FOREIGN KEY(account_id) REFERENCES jaxlabel_accounts (id));
INSERT INTO jaxlabel_store VALUES (1);
INSERT INTO jaxlabel_label_sets (name) VALUES ('pets');
INSERT INTO jaxlabel_classes VALUES (1, 0, 'cat'), (1, 1, 'dog');
INSERT INTO jaxlabel_labels VALUES (1, 'a', 0, 1000000), (1, 'b', 1, 500000), (1, 'c', 1, 1000000);
INSERT INTO jaxlabel_accounts (name, label_set_id, budget, spent, peeked)
  VALUES ('run', 1, 3000000, 500000, false);
INSERT INTO jaxlabel_ledger (account_id, item, label, cost, purpose, round, asked_by, asked_time)
  VALUES (1, 'b', 1, 500000, 'train', 0, 'ann@host', '2026-01-01T00:00:00+00:00');
"""
VOTES = """
CREATE TABLE jaxlabel_votes (id {key} NOT NULL, label_set_id {integer} NOT NULL, item TEXT NOT NULL,
  person TEXT NOT NULL, class_name TEXT NOT NULL, seconds FLOAT NOT NULL, voted_time TEXT NOT NULL,
  PRIMARY KEY (id), UNIQUE (label_set_id, item, person),
  FOREIGN KEY(label_set_id) REFERENCES jaxlabel_label_sets (id));
"""
TYPES = {
    "sqlite": {"key": "INTEGER", "integer": "INTEGER", "without_rowid": "WITHOUT ROWID"},
    "postgresql": {"key": "BIGSERIAL", "integer": "BIGINT", "without_rowid": ""},
}
FOUND = {"jaxlabel_ledger_by_item", "jaxlabel_votes_by_class"}


def execute(url, script):
    """Execute SQL statements that end with a semicolon."""
    database = engine.open_engine(url)
    with database.connect() as connection, connection.begin():
        for statement in script.format(**TYPES[database.dialect.name]).split(";"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    database.dispose()


def indexes(store):
    """Return the names of the indexes that jaxlabel has named, and the version of the tables."""
    inspector = sa.inspect(store.engine)
    named = {one["name"] for table in inspector.get_table_names()
             for one in inspector.get_indexes(table)}  # fmt: skip
    with store.engine.connect() as connection:
        version = connection.scalar(sa.select(sa.func.max(schema.versions.c.version)))
    return {name for name in named if str(name).startswith("jaxlabel_") and "_by_" in name}, version


@pytest.mark.parametrize("script", [VERSION_1, VERSION_1 + VOTES], ids=["no votes", "votes"])
def test_a_store_of_version_1_opens_and_goes_on(store_url, script):
    execute(store_url, script)
    store = LabelStore(store_url)
    assert indexes(store) == (FOUND, schema.VERSION)
    assert store.classes("pets") == ("cat", "dog")
    assert store.costs("pets", ["a", "b"]).tolist() == [1.0, 0.5]
    bought = store.buy("run", ["b", "a"], purpose="train", round=1, asked_by="test")
    assert bought.labels.tolist() == [1, 0] and store.spent("run") == 1.5
    assert [row.item for row in store.ledger("run")] == ["b", "a"]
    votes.vote(store, "pets", ["d"], "ann", "cat")
    assert store.bought("pets", ["a", "c", "d"]) == {"a": 0}
    store.close()
    again = LabelStore(store_url)
    assert indexes(again) == (FOUND, schema.VERSION) and again.spent("run") == 1.5
    again.close()


def test_a_new_store_has_the_same_tables_as_one_that_was_brought_up(tmp_path):
    found = []
    for name, script in (("old", VERSION_1 + VOTES), ("new", "")):
        url = f"sqlite:///{tmp_path / name}"
        execute(url, script)
        LabelStore(url).close()
        with sqlite3.connect(tmp_path / name) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
        connection.close()
        found.append({name: "".join((sql or "").split()) for name, sql in rows})
    assert found[0] == found[1]


def test_a_store_of_a_newer_version_is_refused_in_one_line(store_url):
    LabelStore(store_url).close()
    execute(store_url, f"INSERT INTO jaxlabel_store VALUES ({schema.VERSION + 1})")
    with pytest.raises(StoreError) as error:
        LabelStore(store_url)
    assert "\n" not in str(error.value)
    assert (
        f"has version {schema.VERSION + 1}, this jaxlabel uses version {schema.VERSION}: "
        in str(error.value)
    )
    assert "install a newer jaxlabel" in str(error.value)


def test_an_old_store_that_may_only_be_read_is_read_as_it_is(tmp_path):
    execute(f"sqlite:///{tmp_path}/labels.db", VERSION_1)
    store = LabelStore(f"sqlite:///file:{tmp_path}/labels.db?mode=ro&uri=true")
    assert "budget 3, spent 0.5" in ledger_text(store)
    assert indexes(store) == (set(), 1)
    store.close()
