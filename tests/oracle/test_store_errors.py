"""Tests that a label store that cannot be used raises an error of one line within seconds."""

import sqlite3
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa
from postgres import server_url

from jaxlabel.errors import StoreError
from jaxlabel.oracle import LabelStore

BAD_NUMBERS = ["postgresql://host:port/db", "sqlite:///labels.db?timeout=long"]


def error_text(url: str) -> str:
    start = time.monotonic()
    with pytest.raises(StoreError) as error:
        LabelStore(url)
    assert time.monotonic() - start < 8
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    return str(error.value)


@pytest.mark.parametrize(
    "url", ["labels.db", "", "mysql://host/db", "sqlite://host/x", "a:/:b@", *BAD_NUMBERS]
)
def test_no_url_of_a_store(url):
    assert "write sqlite:///FILE.db or postgresql://" in error_text(url)


def test_sqlite_folder_missing(tmp_path):
    text = error_text(f"sqlite:///{tmp_path}/missing/labels.db")
    assert "missing/labels.db: unable to open" in text and "does its folder exist" in text


def test_sqlite_file_is_something_else(tmp_path):
    file = tmp_path / "labels.db"
    file.write_text("not a database, " * 500)
    assert "not a database; name another file" in error_text(f"sqlite:///{file}")
    assert file.read_text() == "not a database, " * 500


def test_sqlite_file_damaged(tmp_path):
    file = tmp_path / "labels.db"
    store = LabelStore(f"sqlite:///{file}")
    store.define("set", "ab")
    store.add_labels("set", [f"item{i}" for i in range(2000)], [1] * 2000)
    data = bytearray(file.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    file.write_bytes(data)
    with pytest.raises(StoreError, match="malformed; the file is damaged: restore a copy"):
        LabelStore(f"sqlite:///{file}").num_labelled("set", ["item7"])


def test_sqlite_tables_of_another_program(tmp_path):
    file = tmp_path / "labels.db"
    LabelStore(f"sqlite:///{file}")
    with sqlite3.connect(file) as connection:
        connection.execute("ALTER TABLE jaxlabel_accounts DROP COLUMN spent")
    connection.close()
    with pytest.raises(StoreError, match=r"no such column.*not made by jaxlabel"):
        LabelStore(f"sqlite:///{file}").accounts()


def test_sqlite_read_only_can_be_read_but_not_charged(tmp_path):
    file = tmp_path / "labels.db"
    store = LabelStore(f"sqlite:///{file}")
    store.define("set", "ab")
    store.add_labels("set", ["x"], [1])
    store.open_account("run", "set", 1)
    read_only = LabelStore(f"sqlite:///file:{file}?mode=ro&uri=true")
    assert read_only.accounts() == store.accounts()
    with pytest.raises(StoreError, match="readonly database; make the file"):
        read_only.buy("run", ["x"], purpose="train", round=0, asked_by="test")
    assert store.spent("run") == 0


def test_sqlite_locked_by_another_process(tmp_path):
    file = tmp_path / "labels.db"
    store = LabelStore(f"sqlite:///{file}?timeout=0.2")
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked; another process has locked it for too long"):
        store.define("set", "ab")
    assert store.classes("set") == ()  # readers don't wait
    holder.close()
    store.define("set", "ab")


def test_sqlite_disk_full_loses_nothing(tmp_path):
    url, items = f"sqlite:///{tmp_path}/labels.db", [f"item{i}" for i in range(5000)]
    store = LabelStore(url)
    store.define("set", "ab")
    store.add_labels("set", items, [1] * 5000)
    store.open_account("run", "set", 5000)
    store.buy("run", items[:10], purpose="train", round=0, asked_by="test")

    @sa.event.listens_for(store.engine, "connect")
    def fill_disk(connection, _):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")

    with pytest.raises(StoreError, match="disk is full; free some space"):
        store.buy("run", items, purpose="train", round=1, asked_by="test")
    assert LabelStore(url).spent("run") == 10 == len(LabelStore(url).ledger("run"))


def test_postgresql_wrong_password_is_not_printed():
    url = sa.make_url(server_url()).set(password="guess7")
    text = error_text(url.render_as_string(hide_password=False))
    assert "password authentication failed" in text and "correct the user" in text
    assert "guess7" not in text


def test_postgresql_no_such_database():
    url = sa.make_url(server_url()).set(database="nowhere")
    text = error_text(url.render_as_string(hide_password=False))
    assert '"nowhere" does not exist' in text and "create it on the server" in text


def test_postgresql_no_server_there():
    text = error_text("postgresql://me:secret@127.0.0.1:1/labels")
    assert text.startswith("the label store labels on 127.0.0.1: ")
    assert "is the server running" in text and "secret" not in text


def test_postgresql_without_its_driver(tmp_path):
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from jaxlabel.oracle import LabelStore\n"
        "try: LabelStore('postgresql://me@127.0.0.1/labels')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == (
        "StoreError PostgreSQL needs a driver that is not installed: "
        "pip install 'jaxlabel[postgres]'\n"
    )
