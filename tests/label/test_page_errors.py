"""Errors of the label store and of files: every route of the page answers with one line."""

import time

import pytest
from pages import asked, clients, say

from jaxlabel.label import desk as desks
from jaxlabel.label import snapshot as snapshots
from jaxlabel.label.desk import Desk
from jaxlabel.oracle import changes, votes

ROUTES = ("/api/state", "/api/help?item={}", "/api/near?item={}", "/api/clusters",
          "/api/cluster?number=0", "/api/review", "/api/map", "/api/people", "/export/labels.csv",
          "/export/labels.jsonl")  # fmt: skip
POSTS = {
    "answer": {"class_name": "cat"}, "undo": {}, "more": {}, "export": {"copies": False},
}  # fmt: skip


def lose_the_store(project):
    """Delete the file of the label store, as a person might who tidies up."""
    for path in project.workdir.glob("labels.db*"):
        path.unlink()


def damage_the_store(project):
    """Write something else over the label store."""
    for path in project.workdir.glob("labels.db*"):
        path.write_bytes(b"something else" * 1000)


@pytest.mark.parametrize(("harm", "message"), [
    (lose_the_store, "no such table"), (damage_the_store, "not a database"),
])  # fmt: skip
def test_a_store_that_cannot_be_used_is_one_line_on_every_route(project, harm, message):
    inside, _, desk = clients(project)
    item = asked(inside)[0]
    say(inside, item, "cat")
    harm(project)
    answers = []
    for route in ROUTES:
        desk.refresh([])
        answers.append(inside.get(route.format(item)))
    for name, body in POSTS.items():
        desk.refresh([])
        answers.append(inside.post(f"/api/{name}", json={"items": [item], "item": item} | body))
    for answer in answers:
        said = answer.json()["error"]
        assert answer.status_code == 503 and message in said and "\n" not in said
    for view in ("", "grid", "review", "map", "people", "export"):
        assert inside.get(f"/{view}").status_code == 200
    assert inside.get(f"/picture/{item}").status_code == 200


def test_files_that_cannot_be_read_are_one_line(project):
    inside, _, desk = clients(project)
    assert inside.get("/export/report.html").status_code == 404
    (project.workdir / "report.html").mkdir()
    answer = inside.get("/export/report.html")
    assert answer.status_code == 503 and "report.html cannot be used: " in answer.json()["error"]
    (project.workdir / "questions.csv").write_bytes(b"\xff")
    desk.refresh([])
    answer = inside.get("/api/state")
    assert answer.status_code == 503 and "save it as CSV UTF-8" in answer.json()["error"]
    (project.workdir / "questions.csv").write_text("item;label\n" + project.items[0] + ";\n")
    desk.refresh([])
    assert asked(inside)[0] == project.items[0]


def test_the_votes_are_read_again_only_after_a_change(project, monkeypatch):
    monkeypatch.setattr(changes, "SETTLED", -1e9)
    read, calls = votes.all_votes, []
    monkeypatch.setattr(votes, "all_votes", lambda *given: calls.append(len(given)) or read(*given))
    one, two = Desk(project), Desk(project)
    calls.clear()
    for _ in range(3):
        assert one.snapshot(fresh=True).votes == []
    assert calls == [2]  # all votes, once
    two.answer([project.items[3]], "ann", "cat")
    assert one.snapshot().votes == []  # nobody looks for a change in the first two seconds
    assert [vote.person for vote in one.snapshot(fresh=True).votes] == ["ann"]
    one._checked -= desks.PAUSE + 1
    calls.clear()
    assert one.snapshot().labels == {project.items[3]: "cat"} and calls == []


def test_the_pause_does_not_grow_with_the_time_that_a_database_lets_wait(project, monkeypatch):
    read, desk = snapshots.read, Desk(project)

    def wait_first(*given):
        time.sleep(desks.PAUSE / desks.BUSY + 0.2)
        return read(*given)

    monkeypatch.setattr(snapshots, "read", wait_first)
    desk.snapshot()
    assert desk._pause == desks.PAUSE
