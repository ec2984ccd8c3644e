"""Measure how long a PostgreSQL table of labels takes to answer questions, one at a time.

    export JAXLABEL_TEST_POSTGRES="$(.ci/postgres.sh)"
    python scripts/bench_table.py --rows=1000000 --questions=100

It makes a table in a schema of its own, asks it with a primary key and without any index, and drops
the schema. A question is `Oracle.ask` for one picture: the SELECT, and the run's own store (SQLite
in a temporary directory) with its account and ledger.
"""

import argparse
import os
import tempfile
import time
import uuid

import numpy as np
import psycopg

from jaxlabel.oracle import LabelStore, Oracle
from jaxlabel.oracle.named import store_labels
from jaxlabel.oracle.table import LabelTable, has_rows, open_table, read_labels


def fill(connection: psycopg.Connection, rows: int) -> None:
    """Make the table `labels` of file names and one of ten classes each."""
    connection.execute("CREATE TABLE labels (file text, class text)")
    connection.execute(
        "INSERT INTO labels SELECT 'shop/' || lpad(i::text, 8, '0') || '.jpg', 'class ' || i %% 10 "
        "FROM generate_series(0, %s - 1) AS i",
        [rows],
    )
    connection.execute("ANALYZE labels")


def seconds(table: LabelTable, ids: list[str], batch: int) -> str:
    """Return how long an oracle takes for all ids, `batch` of them per question, as text."""
    with tempfile.TemporaryDirectory() as folder, LabelStore(f"sqlite:///{folder}/a.db") as store:
        store.define("shop", [f"class {number}" for number in range(10)])
        store.open_account("run", "shop", len(ids))

        def answer(items: list[str]) -> None:
            found = read_labels(table, items)
            store_labels(store, "shop", list(found), list(found.values()))

        oracle = Oracle(store, "run", ids, num_classes=10, answer_missing=answer)
        start, work = time.perf_counter(), time.process_time()
        for first in range(0, len(ids), batch):
            oracle.ask(np.arange(first, min(first + batch, len(ids))))
        took, work = time.perf_counter() - start, time.process_time() - work
        assert len(store.ledger("run")) == len(ids) == store.spent("run")
    return f"{took:.3f} s ({work:.3f} s of this process's CPU)"


def main() -> None:
    """Make the table, measure, and print a line per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=100)
    given = parser.parse_args()
    url, schema = os.environ["JAXLABEL_TEST_POSTGRES"], f"bench_{uuid.uuid4().hex}"
    chosen = np.random.default_rng(0).choice(given.rows, given.questions, replace=False)
    ids = [f"shop/{number:08}.jpg" for number in chosen.tolist()]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        try:
            connection.execute(f"SET search_path = {schema}")
            fill(connection, given.rows)
            for name in ("no index", "primary key"):
                if name == "primary key":
                    connection.execute("ALTER TABLE labels ADD PRIMARY KEY (file)")
                start = time.perf_counter()
                table = open_table(f"{url}?table={schema}.labels&id=file&label=class")
                has_rows(table, ids)
                opened = time.perf_counter() - start
                few = ids if table.is_indexed else ids[:10]
                print(f"{name}: {opened:.3f} s to open, {seconds(table, few, 1)} for "
                      f"{len(few)} questions of one picture, {seconds(table, ids, len(ids))} "
                      f"for one question of {len(ids)}")  # fmt: skip
                table.close()
        finally:
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


if __name__ == "__main__":
    main()
