"""The labelling page's routes, its guard, and the rules of asking and answering."""

import dataclasses
import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from pages import asked, clients, say

from jaxlabel import files
from jaxlabel.errors import StoreError, UsageError
from jaxlabel.experiment import questions
from jaxlabel.label import command, features
from jaxlabel.label.agreement import cohens_kappa, fleiss_kappa
from jaxlabel.label.desk import LEASE, Desk
from jaxlabel.label.names import person_name, similar_name
from jaxlabel.label.project import begin
from jaxlabel.label.trainer import Trainer
from jaxlabel.methods import active
from jaxlabel.oracle import names, votes
from jaxlabel.oracle.votes import Rule, winning_class


def test_a_picture_comes_from_its_own_file(project, pictures):
    inside, _, _ = clients(project)
    row = project.dataset.paths.index(str(pictures / "7.png"))
    answer = inside.get(f"/picture/{project.items[row]}")
    assert answer.content == (pictures / "7.png").read_bytes()
    assert answer.headers["content-type"] == "image/png"
    copies = inside.get(f"/api/help?item={project.items[pictures_row(project, '/3.png')]}").json()
    assert copies["copies"] == 2


def pictures_row(project, name):
    return next(n for n, path in enumerate(project.dataset.paths) if path.endswith(name))


def test_undo_takes_back_the_newest_answer_after_another_person_s_answer(project):
    inside, _, _ = clients(project, Rule(needed=2))
    first, second = project.items[:2]
    for item, person in ((first, "ann"), (second, "ann"), (first, "bob")):
        assert say(inside, item, "cat", person).status_code == 200
    state = inside.get("/api/state?as=ann").json()["status"]
    assert [each["item"] for each in state["last"]] == [second, first]
    assert inside.post("/api/undo?as=ann", json={}).json()["again"]["item"] == second


def test_answers_undo_not_sure_and_the_lock(project):
    inside, _, _desk = clients(project)
    first, second, third = asked(inside)[:3]
    say(inside, first, "cat")
    state = say(inside, second, "").json()
    assert state["status"]["not_sure"] == 1 and state["status"]["money"]["waiting"] == 1
    assert second not in asked(inside) and state["status"]["batch"]["done"] == 2
    assert np.isinf(project.store.costs(project.label_set, [second])).all()
    assert say(inside, third, "Cat ").json() == {"similar": "cat"}
    assert say(inside, third, "dog").json()["status"]["classes"][1] == {"name": "dog", "count": 1}
    undone = inside.post("/api/undo", json={}).json()
    assert undone["again"]["item"] == third
    assert [c["name"] for c in undone["status"]["classes"]] == ["cat"]  # "dog" is gone again
    project.store.buy(project.account, [first], purpose="train", round=0, asked_by="test")
    assert say(inside, first, "dog").status_code == 409  # paid for
    assert inside.post("/api/undo", json={"item": first}).status_code == 409
    assert inside.post("/api/undo", json={}).json()["again"]["item"] == second
    assert inside.post("/api/undo", json={}).status_code == 409


def test_a_store_that_fails_is_one_line_and_the_answer_can_be_sent_again(project, monkeypatch):
    inside, _, _ = clients(project)
    item = asked(inside)[0]

    def full(*_, **__):
        raise StoreError("the label store: database or disk is full; free some space")

    with monkeypatch.context() as patch:
        patch.setattr(votes, "vote", full)
        answer = say(inside, item, "cat")
        assert answer.status_code == 503 and "disk is full" in answer.json()["error"]
    assert say(inside, item, "cat").status_code == 200


def test_data_with_labels_needs_nobody(tmp_path):
    with pytest.raises(UsageError, match="labels of its own"):
        begin(active.Config(data="digits"), tmp_path / "run")


def test_an_answer_again_and_from_two_tabs_counts_once(project):
    one, _, _ = clients(project)
    two, _, _ = clients(project)
    item = asked(one)[0]
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda n: say((one, two)[n % 2], item, "cat").status_code, range(8)))
    assert set(codes) == {200}
    assert len(votes.all_votes(project.store, project.label_set)) == 1
    for _ in range(2):
        project.store.buy(project.account, [item], purpose="train", round=0, asked_by="test")
    assert project.store.spent(project.account) == 1


@pytest.mark.parametrize("jump", [0, -3600, 86400])
def test_two_people_are_asked_about_different_pictures(project, monkeypatch, jump):
    inside, _, _ = clients(project)
    ann = asked(inside, "ann")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)  # reservations do not use this clock
    assert ann and not set(ann) & set(asked(inside, "bob"))


@pytest.fixture
def pass_seconds(monkeypatch):
    """Return a function that sets the clock of the reservations forward by some seconds."""
    clock, passed = time.monotonic, []
    monkeypatch.setattr(time, "monotonic", lambda: clock() + sum(passed))
    return passed.append


def test_a_page_that_nobody_uses_blocks_no_picture(project, pass_seconds):
    inside, _, desk = clients(project)
    questions.write_questions(project.workdir, project.items[:20], [""] * 20)

    def polled(person, shown):
        found = inside.get(f"/api/state?as={person}&shown={shown}").json()["questions"]
        return [question["item"] for question in found]

    ann = asked(inside, "ann")
    for _ in range(3):
        assert not set(ann) & set(polled("bob", ""))
        pass_seconds(LEASE / 4)
        assert polled("ann", ann[0]) == ann
    pass_seconds(LEASE / 4)
    assert polled("ann", ann[0]) == ann
    assert asked(inside, "bob") == ann
    # ann still sees her picture, and her answer is stored
    seen = polled("ann", ann[0])
    assert seen[0] == ann[0] and not set(seen[1:]) & set(ann)
    say(inside, ann[0], "dog", "bob")
    answer = say(inside, ann[0], "cat", "ann")
    assert answer.status_code == 200 and desk.snapshot().labels == {ann[0]: "cat"}
    mine = [question["item"] for question in answer.json()["questions"]]
    assert mine and not set(mine) & set(asked(inside, "bob"))


def test_people_who_wait_for_questions_get_different_ones(project, pass_seconds):
    target = dataclasses.replace(project.settings, target=0.9)  # so that nothing is asked ahead
    desk, people = Desk(project._replace(settings=target)), ("ann", "bob")
    items = list(project.rows)
    questions.write_questions(project.workdir, items[:2], ["", ""])
    for person in people:
        desk.answer([desk.upcoming(person, 1)[0].item], person, "cat")
    assert [desk.upcoming(person) for person in people] == [[], []]
    pass_seconds(LEASE + 1)
    assert [desk.upcoming(person, shown="") for person in people] == [[], []]
    questions.write_questions(project.workdir, items[2:22], [""] * 20)
    ann, bob = (set(desk.upcoming(person, shown="")) for person in people)
    assert len(ann) == len(bob) == 8 and not ann & bob
    pass_seconds(LEASE + 1)  # nothing is reserved for people who have gone away
    assert [set(desk.upcoming(person, shown="")) for person in people] == [ann, ann]
    assert set(desk.upcoming("bob")) == ann
    assert not set(desk.upcoming("ann", shown="")) & ann


def test_audit_pictures_get_no_help(project):
    inside, _, desk = clients(project)
    items = [project.items[row] for row in project.first[:2]]
    questions.write_questions(project.workdir, items, ["", ""], "certify")
    desk.refresh([])
    assert {q["purpose"] for q in inside.get("/api/state").json()["questions"][:2]} == {"certify"}
    for path in ("help", "near"):
        assert inside.get(f"/api/{path}?item={items[0]}").status_code == 400
    assert inside.post("/api/more", json={"item": items[0]}).status_code == 400
    assert say(inside, items, "cat").status_code == 400  # several at once
    found = inside.get("/api/clusters").json()["clusters"]
    shown = [inside.get(f"/api/cluster?number={c['number']}&count=200").json() for c in found]
    assert not set(items) & {item for each in shown for item in each["items"]}
    assert say(inside, items[0], "cat").status_code == 200


def test_a_page_that_reads_while_the_run_writes_its_questions_knows_audit_pictures(
    project, monkeypatch
):
    desk, write = Desk(project), files.write_json
    items = [project.items[row] for row in range(3)]
    questions.write_questions(project.workdir, items[2:], [""])
    assert [(q.item, q.purpose) for q in desk.batch()] == [(items[2], "train")]

    def read_and_write(path, content):
        desk.batch()
        write(path, content)

    monkeypatch.setattr(files, "write_json", read_and_write)
    questions.write_questions(project.workdir, items[:2], ["", ""], "certify")
    assert {q.purpose for q in desk.batch() if q.item in items[:2]} == {"certify"}


def test_a_run_that_writes_its_questions_while_the_page_reads_them_hides_no_audit_picture(
    project, monkeypatch
):
    desk, read = Desk(project), files.read_json
    items = [project.items[row] for row in range(3)]
    questions.write_questions(project.workdir, items[2:], [""])

    def read_and_ask(path):
        found = read(path)
        monkeypatch.setattr(files, "read_json", read)
        questions.write_questions(project.workdir, items[:2], ["", ""], "certify")
        return found

    monkeypatch.setattr(files, "read_json", read_and_ask)
    assert not [q for q in desk.batch() if q.item in items[:2] and q.purpose == "train"]
    assert {q.purpose for q in desk.batch() if q.item in items[:2]} == {"certify"}


def test_many_at_once_never_cost_more_than_is_left(project):
    inside, _, desk = clients(project)
    group = [project.items[row] for row in range(21)]
    answer = say(inside, group, "cat")
    assert answer.status_code == 400
    assert "21 labels do not fit: the budget has only 20 left" in answer.json()["error"]
    assert desk.snapshot(fresh=True).labels == {}
    assert say(inside, group[:20], "cat").json()["status"]["money"]["left"] == 0


def test_the_first_batch_stays_and_is_given_to_the_run(project):
    _, _, desk = clients(project)
    again = begin(project.settings, project.workdir)
    assert again.first == project.first and again.account == project.account
    assert desk.chosen() == {"0": project.first}
    assert len(set(project.first)) == 6


def test_with_a_certificate_wanted_nothing_is_labelled_ahead(project):
    target = dataclasses.replace(project.settings, target=0.9)
    for settings, more in ((project.settings, True), (target, False)):
        desk = Desk(project._replace(settings=settings))
        assert desk.ahead.allowed == more
    with pytest.raises(UsageError, match="you cannot choose extra pictures"):
        desk.ask_near(project.items[0])


def test_what_no_later_round_would_buy_is_not_asked_ahead(project):
    inside, _, desk = clients(project)
    others = [item for item in project.rows if project.rows[item] not in project.first][:8]
    ahead = {q.item for q in desk.upcoming("me", 30) if q.source == "ahead"}
    assert len(ahead) == 2  # half of the 4 labels that the next round, of 9 or 10, adds
    say(inside, [project.items[row] for row in project.first] + others, "cat")
    project.store.buy(project.account, others, purpose="train", round=1, asked_by="test")
    desk.refresh([])
    assert desk.upcoming("me", 30) == []  # the next round reaches 1.6 * 14 labels: the budget's 20
    with pytest.raises(UsageError, match="no room"):
        desk.ask_near(others[0])


def test_votes_of_several_people(project):
    inside, _, desk = clients(project, Rule(2, "chief"))
    item = asked(inside)[0]
    say(inside, item, "cat", "ann")
    assert desk.snapshot(fresh=True).labels == {}
    say(inside, item, "dog", "bob")
    assert desk.snapshot(fresh=True).labels == {}
    found = inside.get("/api/people").json()
    assert found["disagreements"][0]["votes"] == {"ann": "cat", "bob": "dog"}
    say(inside, item, "dog", "chief")
    assert desk.snapshot(fresh=True).labels == {item: "dog"}
    assert winning_class({"a": "x", "b": "y"}, Rule(2)) is None
    assert winning_class({"a": "x", "b": "y", "c": "y"}, Rule(2)) == "y"


def test_a_start_with_another_rule_labels_pictures_by_their_earlier_votes(project):
    inside, _, _ = clients(project, Rule(3))
    first, second, third, fourth = project.items[:4]
    for item, name, person in (
        (first, "cat", "ann"), (second, "cat", "ann"), (second, "dog", "bob"), (third, "", "ann"),
    ):  # fmt: skip
        say(inside, item, name, person)
    # this vote was given on the page of another run
    votes.vote(project.store, project.label_set, [fourth], "ann", "cat", rule=Rule(3))
    for rule, expected in (
        (Rule(3), {}),
        (Rule(3, "bob"), {second: "dog"}),
        (Rule(1), {first: "cat", second: "dog"}),
        (Rule(1, "ann"), {first: "cat", second: "dog"}),  # a label that is there stays
    ):
        assert clients(project, rule)[2].snapshot().labels == expected


def test_a_correction_after_the_end_is_bought_when_enough_people_agree(project):
    inside, _, _ = clients(project, Rule(2))
    (project.workdir / "result.json").write_text("{}")
    item = project.items[5]
    assert say(inside, item, "cat", "ann").json()["status"]["labels"] == 0
    assert project.store.ledger(project.account) == []
    assert say(inside, item, "cat", "bob").json()["status"]["money"]["spent"] == 1
    (row,) = project.store.ledger(project.account)
    assert (row.item, row.class_name, row.purpose) == (item, "cat", "correct")


def test_votes_on_a_share_of_the_pictures(project):
    rule = Rule(2, share=0.5)
    needed = {item: rule.num_needed(item) for item in project.items}
    assert 10 <= sum(count == 2 for count in needed.values()) <= 30  # of 41 pictures
    assert {Rule(2).num_needed(item) for item in needed} == {2}
    assert {Rule(2, share=0.0).num_needed(item) for item in needed} == {1}
    inside, _, desk = clients(project, rule)
    some = list(needed)[:6]
    for item in some:
        say(inside, item, "cat", "ann")
    alone = {item for item in some if needed[item] == 1}
    assert 0 < len(alone) < 6
    assert desk.snapshot(fresh=True).labels.keys() == alone
    assert inside.get("/api/people").json()["shared"] == 0
    for share in ("1.5", "-1", "nan", "half"):
        with pytest.raises(UsageError, match="votes_share"):
            command.label(None, None, command.Options(votes_share=share))


def test_the_arbiter_is_the_same_person_on_the_page_and_in_the_terminal(project):
    for name, stored in (
        ("Ann.Lee@lab", "AnnLeelab"), ("  O'Brien \t Jr", "OBrien Jr"),
        ("Zoe\u0308", "Zo\u00eb"), ("(file)", "file"), ("a" * 50, "a" * 40),
    ):  # fmt: skip
        assert person_name(name) == stored == person_name(stored)
    rule = command._checked_rule(command.Options(votes=3, arbiter="Ann.Lee@lab"))
    inside, _, desk = clients(project, rule)
    item = asked(inside)[0]
    say(inside, item, "cat", "Ann.Lee@lab")
    assert desk.snapshot(fresh=True).labels == {item: "cat"}
    for options in (command.Options(votes=0), command.Options(votes=-3),
                    command.Options(arbiter="@")):  # fmt: skip
        with pytest.raises(UsageError, match=r"^--(votes|arbiter)=.*: it takes a n"):
            command.label(None, None, options)


def test_kappas_are_those_of_the_books():
    # Cohen 1960's form: 20 agree on yes, 15 on no, 5 and 10 differ: (0.7 - 0.5) / 0.5
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert fleiss_kappa([["a", "a"], ["b", "b"]]) == pytest.approx(1)
    # agreement 1/3 per item and equal shares: (1/3 - 1/2) / (1/2)
    assert fleiss_kappa([["a", "a", "b"], ["a", "b", "b"]]) == pytest.approx(-1 / 3)


def test_names_that_are_nearly_the_same():
    assert similar_name("e\u0301t\u00e9", ["\u00c9t\u00e9"]) == "\u00c9t\u00e9"
    assert similar_name("oil tank", ["ship", "Oil_Tank"]) == "Oil_Tank"
    assert similar_name("car", ["cat"]) is None
    assert names.checked_name(" e\u0301 ") == "\u00e9"


def test_cheap_features_tell_stripes_apart_and_cover_all_kinds():
    random = np.random.default_rng(0)
    stripes = np.indices((16, 16))[0] // 2 % 2 * 200
    kinds = [stripes, stripes.T, np.full((16, 16), 90)]
    images = np.stack([kinds[n % 3] + random.integers(0, 40, (16, 16)) for n in range(60)])
    found = features.gradient_features(images[..., None].astype(np.uint8))
    asked = features.cover(found, 3, np.zeros(0, int), np.zeros(0, int))
    assert {int(row) % 3 for row in asked} == {0, 1, 2}
    more = features.cover(found, 3, asked, np.zeros(0, int))
    assert not set(more) & set(asked)
    near = features.neighbours(found, 0, 10, np.arange(60))
    assert {int(row) % 3 for row in near} == {0} and 0 not in near


def test_the_map_uses_the_features_of_the_run(project):
    inside, _, _ = clients(project)
    assert len(inside.get("/api/map").json()["points"]) == 41
    rows = np.array([3, 5, 8])
    points = np.array([[0.0, 1.0], [4.0, 1.0], [1.0, 3.0]])
    (project.workdir / "artifacts").mkdir(exist_ok=True)
    np.savez(project.workdir / "artifacts" / "pool_map.npz", rows=rows, points=points)
    shown = inside.get("/api/map").json()["points"]
    assert [(p["item"], p["x"], p["y"]) for p in shown] == [
        (project.items[3], 0, 0), (project.items[5], 1, 0), (project.items[8], 0.25, 1)
    ]  # fmt: skip


def test_a_page_opens_a_run_that_began_before_a_setting_existed(project):
    path = project.workdir / "config.json"
    settings = json.loads(path.read_text())
    for name in ("labels", "minutes", "devices", "sinks"):
        del settings[name]
    path.write_text(json.dumps(settings))
    assert begin(project.settings, project.workdir).items == project.items


@pytest.mark.parametrize(("line", "phase"), [
    ("round_2 5/30, loss 0.31, 7 s left", "training on the labels of this round"),
    ("learned_2 5/30, loss 0.31", "learning features for the next questions"),
    ("sequential_queries 41/100", "asking one question after another"),
    ("mining 0/1, neighbours", "mining"),
])  # fmt: skip
def test_a_phase_of_training_has_plain_words(line, phase, tmp_path):
    (tmp_path / "page.log").write_text(f"{line}\n")
    trainer = Trainer(SimpleNamespace(workdir=tmp_path), lambda: True, dict)
    trainer._child = SimpleNamespace(poll=lambda: None)  # a process that has not ended
    assert trainer.state()[:2] == ("training", phase)


def test_a_target_that_no_audit_could_reach_is_refused_before_anybody_labels(pictures, tmp_path):
    settings = active.Config(data=f"folder:{pictures}", image_size=8, budget=20, target=0.95)
    with pytest.raises(UsageError, match=r"raise config\.budget or lower the target"):
        begin(settings, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()  # the directory can be used
    begin(dataclasses.replace(settings, target=0.5), tmp_path / "run")
