import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading

from jaxlabel import data
from jaxlabel.oracle.store import LabelStore

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))
import peers
import peers_table

COUNTS = (10, 40)
QUICK = "logistic regression;label spreading;active learning, margin"


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """The work directory of a run that bought 40 random labels of the digits, in 40 rounds."""
    monkeypatch.setattr(peers, "in_child", lambda function, *given: function(*given))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    images, labels = data.load("digits"), data.load_train_labels("digits")
    workdir = tmp_path / "run"
    workdir.mkdir()
    with LabelStore(f"sqlite:///{workdir / 'labels.db'}") as store:
        store.define("digits", images.classes)
        store.add_labels("digits", images.train_items, labels)
        store.open_account("run", "digits", 40)
        for number, index in enumerate(np.random.default_rng(0).permutation(len(labels))[:40]):
            store.buy("run", images.train_items[[index]], purpose="train", round=number,
                      asked_by="test")  # fmt: skip
    account = {"account": "run", "label_set": "digits", "store": ""}
    result = {
        "method": "active", "seed": 3, "labels_spent": 40, "test_accuracy": 0.9, "seconds": 5.0,
        "device": "CPU, 2 cores", "classes": images.classes, "versions": {},
        "config": {"data": "digits", "steps": 7},
    }  # fmt: skip
    (workdir / "run.json").write_text(json.dumps(account))
    (workdir / "result.json").write_text(json.dumps(result))
    return workdir


def arguments(finished):
    out = finished.parent
    return [f"--workdirs={finished}", "--counts=10,40", f"--results={out}", f"--peers={QUICK}",
            f"--cache={out / 'cache'}"]  # fmt: skip


def test_every_peer_learns_from_the_first_labels_of_the_ledger(finished):
    assert peers.main(arguments(finished)) == 0
    lines = [json.loads(line) for line in (finished.parent / "peers.jsonl").read_text().split("\n")
             if line]  # fmt: skip
    assert len(lines) == 1 + 4 * len(COUNTS) * 2 + len(COUNTS)
    found = {(x["peer"], x["features"], x["labels"]): x["test_accuracy"]
             for x in lines if x["labels_from"] != "chance"}  # fmt: skip
    run, truth = peers.read_run(finished), data.load_test_labels("digits")
    assert (run.labels == data.load_train_labels("digits")[run.indices]).all()
    (folder,) = (finished.parent / "cache").iterdir()
    for features in ("pixels", "gradients"):
        table = np.load(folder / f"{features}.npz")
        assert table["train"].shape == (len(run.dataset.train_images), 64)
        for count in COUNTS:
            chosen, labels = run.indices[:count], run.labels[:count]
            model = LogisticRegression(max_iter=1000).fit(table["train"][chosen], labels)
            expected = np.mean(model.predict(table["test"]) == truth)
            assert found["logistic regression", features, count] == expected
            assert found["label spreading", features, count] == spread(table, chosen, labels, truth)
    assert found["active learning, margin", "gradients", 40] > 0.5
    assert str(finished.parent) not in json.dumps(lines)
    before = (finished.parent / "peers.jsonl").read_text()
    assert peers.main(arguments(finished)) == 0  # nothing is fitted a second time
    assert (finished.parent / "peers.jsonl").read_text() == before
    shown = (finished.parent / "peers.md").read_text()
    assert "| jaxlabel (active steps=7) | images | the run |  | 90.0 |" in shown
    assert (finished.parent / "figures" / "peers.svg").read_text().startswith("<svg")


def test_runs_that_bought_other_images_have_results_of_their_own(finished):
    run = peers.read_run(finished)
    line = peers.own_line(run)
    assert peers_table.key(line) == peers_table.key(peers.own_line(peers.read_run(finished)))
    other = peers.own_line(run._replace(indices=run.indices[::-1]))
    assert other | {"bought": line["bought"]} == line
    assert peers_table.key(other) != peers_table.key(line)
    del line["bought"]  # earlier versions did not write it
    assert peers_table.key(line)[:-1] == peers_table.key(other)[:-1]


def spread(table, chosen, labels, truth):
    """The accuracy of scikit-learn's own label spreading, which makes its graph itself."""
    known = np.full(len(table["train"]), -1)
    known[chosen] = labels
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")
        model = LabelSpreading(kernel="knn").fit(table["train"], known)
        return np.mean(model.predict(table["test"]) == truth)


def test_a_run_that_is_not_finished_is_refused(finished, capsys):
    (finished / "result.json").unlink()
    assert peers.main(arguments(finished)) == 2
    assert "has no result.json: name the folder of a finished run" in capsys.readouterr().err


def test_published_figures_are_those_of_the_flagship():
    found = peers_table.published("fashion_mnist")
    assert set(found) >= {10, 40, 100, 1000} and 400 not in found  # 400 is a row of sgan.py
    assert all(0 < float(text.split()[0]) < 100 for text, _ in found.values())


def test_published_figures_need_not_be_the_best_known():
    assert 20 in peers_table.published("mnist")  # its row is not bold
