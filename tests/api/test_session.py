"""`jaxlabel.Session`: ask and tell, kept between questions and over a kill."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import chain

import numpy as np
import pytest

import jaxlabel
from jaxlabel import data
from jaxlabel.api.labels import Vocabulary
from jaxlabel.errors import BudgetExceeded, DataError, UsageError

QUICK = {"recipe": "medoids:pixels", "classifier_steps": 40, "map": "none"}
DIGITS = data.load("digits")
LABELS = data.load_train_labels("digits")
FEW = DIGITS.train_images[:80]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "jaxlabel.Session"]


def finish(session, labels=LABELS):
    """Answer everything; return the questions and the result."""
    questions = []
    while (indices := session.ask()) is not None:
        questions.append(indices.tolist())
        session.tell(indices, labels[indices])
    return questions, session.result()


def test_a_session_buys_and_learns_what_fit_does():
    options = {"budget": 64, "classes": range(10), **QUICK}
    expected = jaxlabel.fit(DIGITS.train_images, LABELS, **options)
    with jaxlabel.Session(DIGITS.train_images, **options) as session:
        questions, result = finish(session)
    asked = [index for question in questions for index in question]
    assert len(asked) == len(set(asked)) == 64 == result.labels_spent
    assert result.ledger == expected.ledger
    assert np.array_equal(
        result.predict_proba(DIGITS.test_images), expected.predict_proba(DIGITS.test_images)
    )
    assert not threads()


KILLED = """
import os, signal, sys
import jaxlabel
from jaxlabel import data
from jaxlabel.api.labels import Vocabulary
images, labels = data.load("digits").train_images[:80], data.load_train_labels("digits")
session = jaxlabel.Session(images, budget=12, workdir=sys.argv[1], recipe="medoids:pixels",
                           classifier_steps=40, map="none", classes=range(10))
for _ in range(2):
    indices = session.ask()
    session.tell(indices, labels[indices])
    print(*indices, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_session_goes_on_and_asks_nothing_twice(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "run"], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    told = [int(index) for index in done.stdout.split()]
    options = {"budget": 12, "classes": range(10), **QUICK}
    with jaxlabel.Session(FEW, workdir=tmp_path / "run", **options) as session:
        questions, result = finish(session)
    with jaxlabel.Session(FEW, **options) as session:
        unharmed, expected = finish(session)
    assert [*told, *chain(*questions)] == list(chain(*unharmed))
    assert result.labels_spent == 12
    assert np.array_equal(result.predict_proba(FEW), expected.predict_proba(FEW))
    # a finished session is there at once, and asks nothing
    with jaxlabel.Session(FEW, workdir=tmp_path / "run", **options) as session:
        assert session.ask() is None
        assert np.array_equal(session.result().train_labels, result.train_labels)


def test_tell_refuses_what_does_not_fit_and_stores_nothing(tmp_path):
    with jaxlabel.Session(
        FEW, budget=12, workdir=tmp_path / "run", classes=["zero", "one"], **QUICK
    ) as session:
        with pytest.raises(UsageError, match="no question is open"):
            session.tell([0], ["one"])
        indices = session.ask()
        other = np.setdiff1d(np.arange(80), indices)[:1]
        for wrong, labels, error, message in (
            (indices, ["one"] * (len(indices) + 1), UsageError, "labels for"),
            (np.append(indices[1:], other), [0] * len(indices), UsageError, "is not asked about"),
            (indices, ["ome"] * len(indices), DataError, "did you mean one"),
            (indices, [2] * len(indices), DataError, "which is no class"),
            (indices, [None] * len(indices), DataError, "needs a label"),
            ([-1], [0], UsageError, "image -1 is not asked about"),
            ([0.5], [0], UsageError, "float64"),
        ):
            with pytest.raises(error, match=message):
                session.tell(wrong, labels)
        assert session.ask().tolist() == indices.tolist()
        with pytest.raises(UsageError, match=f"asks for {len(indices)} more labels"):
            session.result()


def test_answers_may_come_in_parts_and_copies_are_asked_once():
    images = np.concatenate([FEW[:30], FEW[:30]])
    names = np.array([f"class {label}" for label in np.concatenate([LABELS[:30]] * 2)])
    with jaxlabel.Session(images, budget=10, **QUICK) as session:
        seen = []
        while (indices := session.ask()) is not None:
            assert not set(indices.tolist()) & set(seen)
            first = indices[-1]
            session.tell([first + 30], [names[first]])  # its copy
            seen.append(int(first))
            rest = session.ask()
            if len(indices) > 1:
                assert rest.tolist() == indices[:-1].tolist()
        result = session.result()
    assert len(seen) == len(set(seen)) == result.labels_spent == 10
    assert set(result.classes) == set(names[seen])
    assert result.train_labels[seen].tolist() == names[seen].tolist()
    assert result.train_labels[np.array(seen) + 30].tolist() == names[seen].tolist()


def test_another_current_directory_changes_nothing(tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(tmp_path)
    with jaxlabel.Session(FEW, budget=12, workdir="run", classes=range(10), **QUICK) as session:
        session.ask()
        monkeypatch.chdir(other)
        _, result = finish(session)
    monkeypatch.chdir(tmp_path)
    loaded = jaxlabel.load("run")
    monkeypatch.chdir(other)
    assert len(loaded.train_labels) == len(result.train_labels) == 80
    assert loaded.predict(FEW).tolist() == result.predict(FEW).tolist()
    assert not list(other.iterdir())
    assert session.workdir == result.directory == loaded.directory == tmp_path / "run"


def test_a_second_session_in_one_directory_says_that_the_first_is_to_be_closed(tmp_path):
    options = {"budget": 12, "workdir": tmp_path / "run", "classes": range(10), **QUICK}
    with jaxlabel.Session(FEW, **options) as first:
        indices = first.ask()
        second = jaxlabel.Session(FEW, **options)
        with pytest.raises(UsageError, match=r"an earlier run of this program: close that Session"):
            second.ask()
        second.close()
    with jaxlabel.Session(FEW, **options) as third:
        assert third.ask().tolist() == indices.tolist()


def test_errors_of_the_run_come_to_the_caller(tmp_path):
    with jaxlabel.Session(FEW, budget=0, **QUICK) as session:
        for _ in range(2):
            with pytest.raises((UsageError, BudgetExceeded), match="budget"):
                session.ask()
    first = jaxlabel.Session(FEW, budget=4, workdir=tmp_path / "run", **QUICK)
    assert first.ask() is not None
    second = jaxlabel.Session(FEW, budget=4, workdir=tmp_path / "run", **QUICK)
    with second, pytest.raises(UsageError, match="in use"):
        second.ask()
    first.close()
    with pytest.raises(UsageError, match="closed"):
        first.ask()
    other = jaxlabel.Session(FEW, budget=5, workdir=tmp_path / "run", **QUICK)
    with other, pytest.raises(UsageError, match="budget is 4"):
        other.ask()
    with pytest.raises(UsageError, match="brings its own labels"):
        jaxlabel.Session("digits")
    with pytest.raises(UsageError, match="did you mean"):
        jaxlabel.Session(FEW, bugdet=3)


def test_labels_without_an_order_are_refused():
    for missing in ([3, -1], ["cat", "-1"]):
        with pytest.raises(DataError, match=r"ask\[1\] is '?-1'?, which stands for no label"):
            Vocabulary().read(missing, 2, "ask")
    assert Vocabulary([1, -1]).read([-1], 1, "ask") == ["-1"]
    vocabulary = Vocabulary()
    for labels in ({0: "cat", 1: "dog"}, {"cat", "dog"}, frozenset("ab"), {0: 1, 1: 2}.keys()):
        with pytest.raises(UsageError, match=r"^labels is a \w+: it takes a list or an array"):
            vocabulary.read(labels, 2, "labels")
        with pytest.raises(UsageError, match=r"^classes is a \w+: it takes a list or an array"):
            Vocabulary(labels)
    assert vocabulary.read(["cat", "dog"], 2, "labels") == ["cat", "dog"]


def test_a_run_keeps_the_classes_that_it_began_with(tmp_path):
    of_integers = Vocabulary([3, 4])
    assert of_integers.typed(["3", "4"]) == (3, 4)
    assert of_integers.typed(["3", "cat"]) == ("3", "cat")  # another run has added a class
    Vocabulary(["cat", "dog"]).save(tmp_path)
    Vocabulary(["cat", "dog"]).recall(tmp_path)
    later = Vocabulary()
    later.recall(tmp_path)
    with pytest.raises(DataError, match="is no class"):
        later.read(["cow"], 1, "ask")
    for classes in (["cat"], ["cat", "dog", "cow"], ["dog", "cat"], range(2)):
        with pytest.raises(UsageError, match=r"has 2 classes \(cat, dog\), and not"):
            Vocabulary(classes).recall(tmp_path)
    unnamed = Vocabulary()
    unnamed.read([3, 4], 2, "ask")
    (tmp_path / "other").mkdir()
    unnamed.save(tmp_path / "other")
    with pytest.raises(UsageError, match="are integers, and those given now are strings"):
        Vocabulary(["3", "4"]).recall(tmp_path / "other")
    with pytest.raises(UsageError, match="classes is empty"):
        Vocabulary([])


def test_a_forgotten_session_ends_its_thread():
    session = jaxlabel.Session(FEW, budget=4, **QUICK)
    assert session.ask() is not None and len(threads()) == 1
    del session
    gc.collect()
    until = time.monotonic() + 10
    while threads() and time.monotonic() < until:
        time.sleep(0.05)
    assert not threads()
