"""The mark by which a process notices that another one has changed the label store."""

import contextlib
import itertools
import sqlite3
import time

from jaxlabel.oracle import LabelStore, changes, votes


def test_every_change_gives_another_mark_and_reading_gives_none(store_url, monkeypatch):
    monkeypatch.setattr(changes, "SETTLED", -1e9)
    store, other = LabelStore(store_url), LabelStore(store_url)
    buy = {"purpose": "train", "round": 0, "asked_by": ""}
    steps = [
        lambda: other.define("pets", ["cat", "dog"]),
        lambda: other.add_labels("pets", ["a"], [0]),
        lambda: other.correct("pets", ["a"], [1]),
        lambda: votes.vote(other, "pets", ["b"], "me", "cat"),
        lambda: votes.vote(other, "pets", ["b"], "me", "dog"),
        lambda: votes.withdraw(other, "pets", "me"),
        lambda: other.open_account("run", "pets", 3),
        lambda: other.buy("run", ["a"], **buy),
    ]
    marks = [changes.change_mark(store.engine)]
    for step in steps:
        time.sleep(0.03)  # longer than a tick of a file system's clock
        step()
        marks.append(changes.change_mark(store.engine))
        assert votes.all_votes(store, "pets") == votes.all_votes(other, "pets")
        # Other tests may change other databases of a PostgreSQL server.
        is_file = store.engine.dialect.name == "sqlite"
        assert store.classes("pets") and (
            not is_file or changes.change_mark(store.engine) == marks[-1]
        )
    assert all(one != two for one, two in itertools.pairwise(marks))


def test_there_is_no_mark_right_after_a_change_of_a_file(tmp_path, monkeypatch):
    store = LabelStore(f"sqlite:///{tmp_path / 'labels.db'}")
    assert changes.change_mark(store.engine) is None
    monkeypatch.setattr(changes, "SETTLED", 0.05)
    time.sleep(0.1)
    assert changes.change_mark(store.engine) is not None
    with LabelStore("sqlite://") as memory:
        assert changes.change_mark(memory.engine) is None


def test_a_change_in_the_log_of_a_linked_file_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(changes, "SETTLED", -1e9)
    (tmp_path / "link.db").symlink_to(tmp_path / "labels.db")
    with LabelStore(f"sqlite:///{tmp_path / 'labels.db'}") as other:
        linked = LabelStore(f"sqlite:///{tmp_path / 'link.db'}")
        with contextlib.closing(sqlite3.connect(tmp_path / "labels.db")) as opened:
            opened.execute("SELECT name FROM sqlite_master").fetchall()
            before = changes.change_mark(linked.engine)
            time.sleep(0.03)
            other.define("pets", ["cat"])  # stays in the log as long as the file is open
            assert before is not None and changes.change_mark(linked.engine) != before


def test_there_is_no_mark_for_a_file_that_is_not_found(tmp_path, monkeypatch):
    monkeypatch.setattr(changes, "SETTLED", -1e9)
    named = LabelStore(f"sqlite:///file:{tmp_path / 'labels.db'}?uri=true")
    assert (tmp_path / "labels.db").exists() and changes.change_mark(named.engine) is None
    lost = LabelStore(f"sqlite:///{tmp_path / 'lost.db'}")
    assert changes.change_mark(lost.engine) is not None
    (tmp_path / "lost.db").unlink()
    assert changes.change_mark(lost.engine) is None
