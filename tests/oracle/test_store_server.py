"""A PostgreSQL server that ends connections, has too few of them, or restarts."""

import contextlib
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa
from postgres import server_url, temporary_url

from jaxlabel.errors import StoreError
from jaxlabel.oracle import LabelStore, engine


@pytest.fixture
def url():
    with temporary_url() as found:
        yield found


@pytest.fixture
def narrow_url():
    """The URL of an empty store for a user who may have two connections at a time."""
    name = f"user_{uuid.uuid4().hex}"
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'narrow' CONNECTION LIMIT 2")
        connection.execute(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
        try:
            yield sa.make_url(server_url()).set(username=name, password="narrow").render_as_string(
                hide_password=False)  # fmt: skip
        finally:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [name]
            )
            connection.execute(f"DROP SCHEMA {name} CASCADE")
            connection.execute(f"DROP ROLE {name}")


def filled(url):
    store = LabelStore(url)
    store.define("set", "ab")
    store.add_labels("set", ["x", "y", "z"], [0, 1, 1])
    store.open_account("run", "set", 2)
    return store


def buy(store, items, **options):
    return store.buy("run", items, purpose="train", round=0, asked_by="test", **options).labels


def end_connection_of(store, url):
    """End the connection that a store has, from another one, and wait until it is gone."""
    name = url.rsplit("%3D", 1)[1]
    with psycopg.connect(url, autocommit=True) as other:
        mine = other.info.backend_pid
        query = ("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                 "WHERE pid <> %s AND pid = ANY(%s)")  # fmt: skip
        assert other.execute(query, [mine, [store.pid]]).fetchall() == [(True,)], name


def remember_pid(store):
    """Keep the process number of the server's process for the store's newest connection."""

    @sa.event.listens_for(store.engine, "checkout")
    def keep(connection, record, proxy):
        store.connection, store.pid = connection, connection.info.backend_pid


def test_a_connection_is_kept_for_the_next_transaction(url):
    store = filled(url)
    remember_pid(store)
    pids = set()
    for _ in range(5):
        store.spent("run")
        pids.add(store.pid)
    assert len(pids) == 1
    store.close()


def test_a_connection_that_the_server_ended_is_replaced(url):
    store = filled(url)
    remember_pid(store)
    buy(store, ["x"])
    end_connection_of(store, url)
    assert buy(store, ["x", "y"]).tolist() == [0, 1] and store.spent("run") == 2
    store.close()


def test_a_purchase_whose_connection_breaks_is_charged_once(url):
    store, breaks = filled(url), iter([True, True, False, False])
    remember_pid(store)

    def reveal(item, label):
        if next(breaks):
            end_connection_of(store, url)
        return label

    assert buy(store, ["y"], reveal=reveal).tolist() == [1]
    assert list(breaks) == [False]  # twice broken, the third time well
    assert store.spent("run") == 1 and [row.item for row in store.ledger("run")] == ["y"]
    with pytest.raises(StoreError, match="terminating connection"):
        buy(store, ["z"], reveal=lambda item, label: end_connection_of(store, url))
    assert store.spent("run") == 1
    store.close()


def test_too_many_connections_are_waited_for(narrow_url):
    store = filled(narrow_url)
    with contextlib.ExitStack() as held:
        other = held.enter_context(psycopg.connect(narrow_url))
        start = time.monotonic()
        threading.Timer(0.5, other.close).start()
        LabelStore(narrow_url).close()
    assert time.monotonic() - start > 0.4
    with ThreadPoolExecutor(6) as threads:  # more than two connections at once
        answers = list(threads.map(lambda _: buy(store, ["x", "y"]).tolist(), range(12)))
    assert answers == [[0, 1]] * 12 and store.spent("run") == 2
    store.close()


def test_too_many_connections_for_too_long_are_one_line(narrow_url, monkeypatch):
    monkeypatch.setattr(engine, "SERVER_TIMEOUT", 0.3)
    with (
        psycopg.connect(narrow_url),
        psycopg.connect(narrow_url),
        pytest.raises(StoreError, match=r"too many connections.*end other runs") as error,
    ):
        LabelStore(narrow_url)
    assert "\n" not in str(error.value) and "narrow" not in str(error.value)


def test_a_server_that_is_away_for_a_moment_is_waited_for(url, monkeypatch):
    store, connect, refused = filled(url), psycopg.connect, []
    store.engine.dispose()

    def away(*words, **options):
        if len(refused) < 3:
            refused.append(1)
            raise psycopg.OperationalError("connection to server failed: Connection refused")
        return connect(*words, **options)

    monkeypatch.setattr(psycopg, "connect", away)
    assert buy(store, ["x"]).tolist() == [0] and len(refused) == 3
    refused.clear()
    with pytest.raises(StoreError, match="is the server running"):  # never reached: one line now
        LabelStore(url)
    assert len(refused) == 1
    store.close()


def test_a_forked_process_leaves_its_parents_connection_alone(url, monkeypatch):
    store = filled(url)
    remember_pid(store)
    buy(store, ["x"])
    parent, pid = store.connection, store.pid
    monkeypatch.setattr(os, "getpid", lambda: 0)  # in the child
    assert buy(store, ["y"]).tolist() == [1] and store.spent("run") == 2 and store.pid != pid
    monkeypatch.undo()
    assert parent.execute("SELECT 1").fetchall() == [(1,)]
    parent.close()
    store.close()
