"""Labels that people give after the end of a run, when a kill comes before their purchase."""

import os
import signal
import time
from types import SimpleNamespace

import pytest
import uvicorn
from pages import clients, say

from jaxlabel.label import command
from jaxlabel.label.corrections import buy_corrections, note
from jaxlabel.label.desk import Desk
from jaxlabel.label.project import begin


def rows(project):
    return [(row.item, row.class_name, row.purpose, row.asked_by)
            for row in project.store.ledger(project.account)]  # fmt: skip


@pytest.fixture
def unbought(project):
    """A finished run with a label given before its end, and two after it that nobody bought."""
    desk = Desk(project)
    desk.answer([project.items[1]], "ann", "cat")
    assert buy_corrections(desk) == (0, 0)  # the run is not finished
    time.sleep(0.05)  # the time of a file may lag behind the clock
    (project.workdir / "result.json").write_text("{}")
    desk.answer([project.items[2]], "bob", "cat")
    desk.answer([project.items[4], project.items[5]], "ann", "dog")
    desk.answer([project.items[5]], "ann", "")
    return project


def test_the_next_start_buys_what_a_kill_left(unbought, capsys, monkeypatch):
    monkeypatch.setattr(uvicorn, "Config", lambda *_, **__: None)
    server = SimpleNamespace(run=lambda sockets: None)  # which ends at once
    monkeypatch.setattr(uvicorn, "Server", lambda config: server)
    before = signal.getsignal(signal.SIGTERM)
    wanted = [(unbought.items[2], "cat", "correct", "bob"),
              (unbought.items[4], "dog", "correct", "ann")]  # fmt: skip
    try:
        for line in ("the end of the run: 2 charged now\n", ""):
            command.label(unbought.settings, unbought.workdir, command.Options(no_browser=True))
            said = capsys.readouterr().out
            assert line in said and said.count("jaxlabel: ") == (4 if line else 3)
            assert rows(unbought) == wanted
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_the_budget_does_not_buy_is_said(unbought):
    others = unbought.items[20:39]
    store, account = unbought.store, unbought.account
    store.add_labels(unbought.label_set, others, [0] * 19)
    store.buy(account, others, purpose="train", round=0, asked_by="")  # 19 of the budget of 20
    again = Desk(begin(unbought.settings, unbought.workdir))
    found = buy_corrections(again)
    assert found == (1, 1) and len(rows(unbought)) == 20
    assert note(*found) == (
        "labels that people gave after the end of the run: 1 charged now, 1 not charged, because "
        "the budget has too little left"
    )
    assert note(0, 0) == "" and buy_corrections(again) == (0, 1)


def test_a_correction_is_bought_if_the_clock_steps_back(project):
    inside, _, _ = clients(project)
    (project.workdir / "result.json").write_text("{}")
    soon = time.time() + 3600  # the clock was an hour ahead when the run ended
    os.utime(project.workdir / "result.json", (soon, soon))
    assert say(inside, project.items[3], "cat").json()["status"]["money"]["spent"] == 1
    say(inside, project.items[4], "")
    assert rows(project) == [(project.items[3], "cat", "correct", "me")]


def test_a_label_given_while_the_run_ends_is_bought(project, monkeypatch):
    inside, _, desk = clients(project)
    answer = desk.answer

    def end_first(*given):
        (project.workdir / "result.json").write_text("{}")
        answer(*given)

    monkeypatch.setattr(desk, "answer", end_first)
    assert say(inside, project.items[3], "cat").json()["status"]["money"]["spent"] == 1
    assert rows(project) == [(project.items[3], "cat", "correct", "me")]
