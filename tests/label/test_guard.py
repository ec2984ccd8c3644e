"""The access to the labelling page: who gets in, and what hostile requests do."""

import json
import re

import pytest
from pages import SECRETS, NoTrainer, asked, clients, say
from starlette.testclient import TestClient

from jaxlabel.errors import UsageError
from jaxlabel.experiment.labelled.writing import folder_names
from jaxlabel.label import command
from jaxlabel.label.desk import Desk
from jaxlabel.label.guard import LARGEST_BODY, Guard
from jaxlabel.label.server import make_app
from jaxlabel.label.trainer import without_secret
from jaxlabel.oracle import votes


def test_the_token_gives_a_cookie_and_nothing_is_shown_without(project):
    inside, outside, _ = clients(project)
    cookie = inside.cookies.jar
    assert [c.value for c in cookie] == [SECRETS.cookie]
    for path in ("/", "/api/state", "/static/label.js", f"/picture/{project.items[0]}", "/x"):
        assert outside.get(path).status_code == 403
    assert outside.get("/?token=wrong").status_code == 403
    assert say(outside, project.items[0], "a").status_code == 403
    head = outside.get("/?token=token-of-the-test").headers["set-cookie"]
    assert "HttpOnly" in head and "SameSite=Strict" in head


def test_cookies_of_other_programs_on_this_machine_do_not_matter(project):
    _, outside, _ = clients(project)
    name = outside.get("/?token=token-of-the-test").headers["set-cookie"].partition("=")[0]
    outside.cookies.clear()
    for other in ('prefs={"a":1}', "path=/x", "foo[bar]=1", "a=b c", "flag", "ü=1"):
        header = f"{other}; {name}={SECRETS.cookie}".encode()
        assert outside.get("/", headers={"cookie": header}).status_code == 200
    assert outside.get("/", headers={"cookie": f"{name}=wrong"}).status_code == 403


def test_foreign_hosts_and_origins_are_refused(project):
    inside, _, _ = clients(project)
    item = project.items[0]
    for host in ("evil.example", "127.0.0.1.evil.example:8000", "127.0.0.1:9", "[", ""):
        assert inside.get("/", headers={"host": host}).status_code == 403
    assert inside.get("/", headers={"host": "localhost:8000"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9", ""):
        body = {"items": [item], "class_name": "a"}
        answer = inside.post("/api/answer", json=body, headers={"origin": origin})
        assert answer.status_code == 403
    assert inside.put("/api/answer").status_code == 405
    assert votes.all_votes(project.store, project.label_set) == []


def test_every_answer_has_the_security_headers(project):
    inside, outside, _ = clients(project)
    for answer in (inside.get("/"), inside.get("/nothing"), outside.get("/")):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("view", ["", "grid", "review", "map", "people", "export"])
def test_pages_name_only_files_of_the_wheel(project, view):
    inside, _, _ = clients(project)
    text = inside.get(f"/{view}").text
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    assert "<script>" not in text and " style=" not in text and " onclick=" not in text
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
        assert inside.get(path).status_code == 200


def test_hostile_input_is_refused_or_text(project):
    inside, _, desk = clients(project)
    for item in ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "x" * 3000, ""):
        assert inside.get(f"/picture/{item}").status_code in (400, 404)
        assert "root:" not in inside.get(f"/picture/{item}").text
    assert inside.get("/static/../command.py").status_code == 404
    assert inside.get("/static/%2e%2e/command.py").status_code == 404
    first = asked(inside)[0]
    assert say(inside, "../../etc/passwd", "a").status_code == 400
    assert say(inside, first, "x" * 201).status_code == 400
    assert say(inside, first, "two\nlines").status_code == 400
    assert say(inside, first, "n" * (LARGEST_BODY + 1)).status_code == 413
    lone = json.dumps({"items": [first], "class_name": "\ud800"}).encode()
    for content in (lone, b"{", b"[]", b"null", b"[" * 5000, b"\xff"):
        kind = {"content-type": "application/json"}
        assert inside.post("/api/answer", content=content, headers=kind).status_code == 400
    assert inside.post("/api/answer", content=b"a=b").status_code == 415
    timed, long = ({"items": [first], "seconds": seconds} for seconds in ([], 10**400))
    for body in ({}, {"items": 3}, {"items": [3]}, {"items": []}, timed, long):
        assert inside.post("/api/answer", json=body).status_code == 400
    lone = json.dumps({"item": "\ud800"}).encode()
    for path in ("undo", "more"):
        assert inside.post(f"/api/{path}", content=lone, headers=kind).status_code in (200, 400)
    assert inside.get("/api/cluster?number=999999999999").status_code in (200, 400)
    script = "<script>alert(1)</script>"
    shown = say(inside, first, script, sure=True).json()
    assert shown["status"]["classes"] == [{"name": script, "count": 1}]
    assert "<script>alert" not in inside.get("/").text
    names = folder_names(["../a/b", ".."])
    assert "/" not in names["../a/b"] and names[".."] == "class"
    assert desk.snapshot(fresh=True).labels == {first: script}


def test_a_person_has_the_same_name_in_the_address_with_the_token_and_without(project):
    inside, _, _ = clients(project)
    entered = inside.get("/?token=token-of-the-test&as=Ann O'Lee").text
    assert 'content="0;url=/?as=Ann%20OLee"' in entered
    for name in ("Ann O'Lee", "Ann%20OLee"):
        assert inside.get(f"/api/state?as={name}").json()["person"] == "Ann OLee"


def test_a_password_lets_in_who_knows_it(project):
    desk = Desk(project)
    guard = Guard(make_app(desk, NoTrainer()), SECRETS, "0.0.0.0", 8000, "long enough")
    client = TestClient(guard, base_url="http://192.0.2.7:8000")
    here = {"origin": "http://192.0.2.7:8000"}
    assert "Password" in client.get("/").text
    for word, status in (("wrong", 403), ("long enough", 200)):
        entered = client.post("/login", data={"password": word}, headers=here)
        assert entered.status_code == status
    assert client.get("/").status_code == 200
    for again in (client.get("/login"), client.post("/login", data={}, headers=here)):
        assert again.status_code == 200 and 'content="0;url=/"' in again.text
    assert client.get("/", headers={"host": "evil.example:8000"}).status_code == 403
    words = ["jaxlabel", "label", "--password", "secret", "--password=secret", "--port=1"]
    assert without_secret(words) == ["jaxlabel", "label", "--port=1"]


def test_a_page_for_other_machines_needs_a_password():
    with pytest.raises(UsageError, match="ssh -N -L"):
        command.label(None, None, command.Options(host="0.0.0.0"))
