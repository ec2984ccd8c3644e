"""The mark by which a process notices that another one has changed the label store."""

import itertools
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
        assert store.classes("pets") and changes.change_mark(store.engine) == marks[-1]
    assert all(one != two for one, two in itertools.pairwise(marks))


def test_there_is_no_mark_right_after_a_change_of_a_file(tmp_path, monkeypatch):
    store = LabelStore(f"sqlite:///{tmp_path / 'labels.db'}")
    assert changes.change_mark(store.engine) is None
    monkeypatch.setattr(changes, "SETTLED", 0.05)
    time.sleep(0.1)
    assert changes.change_mark(store.engine) is not None
    with LabelStore("sqlite://") as memory:
        assert changes.change_mark(memory.engine) is None
