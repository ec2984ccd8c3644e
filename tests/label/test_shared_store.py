"""Two labelling pages of two runs that share one label store."""

import dataclasses

import pytest
from pages import asked, clients, say

from jaxlabel.errors import UsageError
from jaxlabel.experiment import questions
from jaxlabel.label.project import begin
from jaxlabel.oracle import LabelStore


def test_labels_given_on_another_page_count_only_when_the_run_asks(project, tmp_path, monkeypatch):
    shared = dataclasses.replace(project.settings, store=f"sqlite:///{tmp_path / 'shared.db'}")
    one, two = (begin(shared, tmp_path / name) for name in ("one", "two"))
    assert one.account != two.account
    (first, _, desk), (second, _, other) = clients(one), clients(two)
    for run in (one, two):
        (run.workdir / "checkpoints" / "asked_0").mkdir(parents=True)
    some = [row for row in one.rows.values() if row not in one.first][:2]
    items = [one.items[row] for row in some]
    for item in items:
        say(first, item, "cat")

    def shown(client, desk):
        desk.refresh([])
        found = client.get("/api/state").json()["status"]
        return found["ahead"], found["money"]["waiting"], found["money"]["left"]

    assert shown(first, desk) == (2, 2, 18) and sorted(desk.chosen()["1"]) == sorted(some)
    assert shown(second, other) == (0, 0, 20) and other.chosen().keys() == {"0"}
    questions.write_questions(two.workdir, items[:1], [""], "train")  # the second run asks for one
    assert shown(second, other) == (0, 1, 19) and other.ready()
    one.store.buy(one.account, items, purpose="train", round=1, asked_by="test")
    assert shown(first, desk) == (0, 0, 18) and shown(second, other) == (0, 1, 19)
    two.store.buy(two.account, items[:1], purpose="train", round=1, asked_by="test")
    assert shown(second, other) == (0, 0, 19)
    calls = []
    read = LabelStore.ledger
    monkeypatch.setattr(LabelStore, "ledger", lambda *given: calls.append(1) or read(*given))
    assert shown(second, other) == (0, 0, 19) and calls == []  # nothing new in the ledger
    say(second, items[1], "cat")  # bought by the other run, but not by this one
    assert shown(second, other) == (1, 1, 18) and calls == []
    two.store.buy(two.account, items[1:], purpose="train", round=2, asked_by="test")
    assert shown(second, other) == (0, 0, 18) and calls == [1]


def test_pictures_do_not_get_the_classes_of_others_in_a_shared_store(project, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    with LabelStore(url) as store:
        store.define(project.label_set, ["cat"])
        store.add_labels(project.label_set, ["another picture"], [0])
    with pytest.raises(UsageError, match="of none of these images"):
        begin(dataclasses.replace(project.settings, store=url), tmp_path / "new")


def test_the_page_keeps_the_run_s_budget_if_another_run_raises_that_of_the_account(project):
    client, _, _ = clients(project)
    budget = project.settings.budget
    assert project.store.account(project.account).budget == budget
    project.store.open_account(project.account, project.label_set, budget + 30)
    assert client.get("/api/state").json()["status"]["money"]["left"] == budget
    (project.workdir / "result.json").write_text("{}")
    items = project.items[: int(budget) + 1]
    for item in items:
        say(client, item, "cat")
    assert project.store.spent(project.account) == budget


def test_an_answer_reads_the_bought_labels_once(project, monkeypatch):
    client, _, _ = clients(project)
    item = project.items[project.first[0]]
    calls, read = [], LabelStore.bought
    monkeypatch.setattr(
        LabelStore, "bought", lambda store, *given: calls.append(given) or read(store, *given)
    )
    client.get("/api/state")
    calls.clear()
    say(client, item, "cat")
    assert [list(items) for _, items in calls] == [[item]]


def test_undo_counts_and_not_sure_are_those_of_the_own_page(project, tmp_path):
    shared = dataclasses.replace(project.settings, store=f"sqlite:///{tmp_path / 'shared.db'}")
    one, two = (begin(shared, tmp_path / name) for name in ("one", "two"))
    (first, _, _), (second, _, desk) = clients(one), clients(two)
    assert one.first == two.first and set(one.first) == {one.rows[i] for i in asked(first)[:6]}
    mine, theirs, unsure = (one.items[row] for row in one.first[:3])
    outside = next(item for item, row in one.rows.items() if row not in one.first)

    say(second, mine, "cat")
    for item, name in ((theirs, "cat"), (outside, "dog"), (unsure, "")):
        say(first, item, name)
    desk.refresh([])
    status = second.get("/api/state").json()["status"]
    # the run asks for `theirs` too, and it has a label; nobody asks for `outside` here
    assert status["classes"] == [{"name": "cat", "count": 2}, {"name": "dog", "count": 0}]
    assert status["labels"] == 2 and status["batch"]["done"] == 3
    # the picture is not asked here either, and the page says how many there are of these
    assert unsure not in asked(second)
    assert (status["not_sure"], status["not_sure_elsewhere"]) == (0, 1)
    assert [each["item"] for each in status["last"]] == [mine]
    # both people have the name "me": undo takes back only what was answered on this page
    assert second.post("/api/undo", json={}).json()["again"]["item"] == mine
    undone = second.post("/api/undo", json={}).json()
    assert undone["again"] is None and not undone["status"]["undo"]
    assert first.get("/api/state").json()["status"]["labels"] == 2
