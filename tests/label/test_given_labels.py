"""The labelling page knows labels that nobody gave on a page: from files, programs, other runs."""

import csv
import dataclasses

import numpy as np
import pytest
from pages import asked, clients, say

from jaxlabel.experiment import questions
from jaxlabel.label import views
from jaxlabel.label.desk import Desk
from jaxlabel.label.project import begin
from jaxlabel.oracle import LabelStore, Oracle, changes


@pytest.fixture
def imported(project, tmp_path):
    """Answer the first 6 questions and 6 more pictures by a file, and buy 6 and 3 of the labels.

    Return the project, the bought items, the items whose labels are not bought, and the 2 items
    for which the run waits.
    """
    first = [project.items[row] for row in project.first]
    others = [item for item in project.rows if item not in first]
    more, open_items = others[:6], others[6:8]
    questions.write_questions(project.workdir, first, [""] * 6)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = [(item, ("cat", "dog")[n % 2]) for n, item in enumerate([*first, *more])]
        csv.writer(file).writerows([("item", "label"), *rows])
    questions.answer(project.workdir, str(tmp_path / "labels.csv"))
    oracle = Oracle(project.store, project.account, project.items, num_classes=2)
    oracle.ask(np.array(project.first))
    oracle.ask(np.array([project.rows[item] for item in more[:3]]), round=1)
    (project.workdir / "checkpoints" / "asked_0").mkdir(parents=True)
    questions.write_questions(project.workdir, open_items, [""] * 2)
    return project, [*first, *more[:3]], more[3:], open_items


def test_labels_from_a_file_are_counted_shown_and_not_asked_again(imported):
    project, bought, given, open_items = imported
    client, _, desk = clients(project)
    status = client.get("/api/state").json()["status"]
    assert status["labels"] == status["money"]["spent"] == 9 and status["money"]["waiting"] == 0
    assert status["classes"] == [{"name": "cat", "count": 5}, {"name": "dog", "count": 4}]
    lines = client.get("/export/labels.csv").text.splitlines()
    for known, items in (("bought", bought), ("given", given)):
        for item in items:
            found = [line for line in lines if item in line]
            assert len(found) == project.copies[item] and all(known in line for line in found)
    unlabelled = {project.items[row] for row in views.open_rows(desk)}
    assert unlabelled == set(project.rows) - {*bought, *given}
    assert not set(asked(client)) & {*bought, *given}
    assert client.post("/api/more", json={"item": bought[0]}).json()["added"] > 0
    assert set(asked(client)[:2]) == set(open_items)
    assert not set(asked(client)) & {*bought, *given}
    several = sorted(unlabelled)[:5]
    assert say(client, several, "cat").json()["status"]["labels"] == 14


def test_labels_that_the_run_buys_between_two_readings_are_seen_with_an_answer(imported):
    project, bought, given, open_items = imported
    client, _, desk = clients(project)
    before = desk.snapshot()
    project.store.add_named(project.label_set, ["late"], ["dog"])
    for item in (given[0], "late"):
        project.store.buy(project.account, [item], purpose="train", round=1, asked_by="test")
    say(client, open_items[0], "cat")
    found = desk.snapshot()
    assert found.paid == before.paid | {given[0], "late"}
    assert found.labels == before.labels | {"late": "dog", open_items[0]: "cat"}
    assert found.bought.keys() == {*bought, given[0], "late"}
    assert found._replace(votes=[]) == desk.snapshot(fresh=True)._replace(votes=[])


def test_labels_of_a_shared_store_that_this_run_did_not_ask_for_do_not_count(project, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    shared = begin(dataclasses.replace(project.settings, store=url), tmp_path / "shared")
    first = [shared.items[row] for row in shared.first]
    others = [item for item in shared.rows if item not in first][:3]
    LabelStore(url).add_named(shared.label_set, [first[0], *others], ["cat"] * 4)
    client, _, desk = clients(shared)
    status = client.get("/api/state").json()["status"]
    # the run asked for one of the labels
    assert (status["labels"], status["money"]["waiting"], status["money"]["left"]) == (1, 1, 19)
    assert status["ahead"] == 0 and status["batch"] == {"done": 1, "total": 6}
    assert not {shared.rows[item] for item in [first[0], *others]} & set(views.open_rows(desk))


def test_the_labels_are_read_again_only_after_a_change(imported, monkeypatch):
    monkeypatch.setattr(changes, "SETTLED", -1e9)
    project, *_, open_items = imported
    calls = []
    for name in ("bought", "ledger"):
        read = getattr(LabelStore, name)
        monkeypatch.setattr(
            LabelStore, name, lambda *given, r=read, n=name: calls.append(n) or r(*given)
        )
    desk = Desk(project)
    for _ in range(3):
        assert len(desk.snapshot(fresh=True).labels) == 12
    assert calls == ["bought", "ledger"]
    project.store.add_named(project.label_set, open_items[:1], ["cat"])
    assert len(desk.snapshot(fresh=True).labels) == 13
    assert calls == ["bought", "ledger", "bought"]
