"""A class that a person has named gets another name, and nothing else of the run changes."""

import csv
import dataclasses
import threading

import numpy as np
import pytest
from pages import asked, clients, say
from PIL import Image
from sqlalchemy import exc

from jaxlabel import files
from jaxlabel.cli import main
from jaxlabel.errors import LabelsMissing, StoreError, UsageError
from jaxlabel.experiment import questions, run
from jaxlabel.experiment.labelled.rows import collect
from jaxlabel.experiment.renaming import rename_class
from jaxlabel.label.project import begin
from jaxlabel.methods import active
from jaxlabel.oracle import LabelStore, votes
from jaxlabel.runlog.workdir import LABEL_KINDS

TINY = dict(image_size=8, budget=10.0, initial_labels=4, steps=6, network="dense", width=4,  # noqa: C408
            query="random", refinements=0, sinks="")  # fmt: skip


@pytest.fixture
def config(tmp_path):
    """The settings of a tiny run on pictures of two kinds, dark and bright."""
    random = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(24):
        pixels = random.integers(0, 60, (8, 8)) + 180 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "pictures" / f"{number:02d}.png")
    return active.Config(data=f"folder:{tmp_path / 'pictures'}", **TINY)


def answer(workdir, *names):
    """Label the dark and the bright pictures of questions.csv with the two names."""
    with (workdir / "questions.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = names[int(row["file"][-5]) % 2]
    with (workdir / "questions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    questions.answer(workdir)


def config_set(store):
    """Return the name of the only label set of a store."""
    return store.accounts()[0].label_set


def test_a_misspelt_class_is_renamed_between_two_rounds(config, tmp_path, capsys):
    workdir = tmp_path / "run"
    with pytest.raises(LabelsMissing):
        run.run(config, workdir)
    answer(workdir, "drak", "bright")
    with pytest.raises(LabelsMissing):  # the first labels are bought
        run.run(config, workdir)
    assert main.run(["answer", f"--workdir={workdir}", "--rename=drak=dark"]) == 0
    assert "the class 'drak' is called 'dark' now" in capsys.readouterr().out
    result = None
    while result is None:
        answer(workdir, "dark", "bright")
        try:
            result = run.run(config, workdir)
        except LabelsMissing:
            continue
    assert sorted(result["classes"]) == ["bright", "dark"] and result["labels_spent"] == 10
    with LabelStore(f"sqlite:///{workdir / 'labels.db'}") as store:
        ledger = store.ledger(store.accounts()[0].name)
    assert {row.class_name for row in ledger} == {"bright", "dark"}
    assert set(collect(workdir, 0.5).classes) == {"bright", "dark"}
    with LabelStore(f"sqlite:///{workdir / 'labels.db'}") as store:  # another run does this
        store.rename_class(config_set(store), "dark", "night")
    labels = collect(workdir, 0.5)
    assert set(labels.classes) == {row.label for row in labels.rows} == {"bright", "night"}
    with pytest.raises(UsageError, match=r"is finished, .* change the name in the exported"):
        rename_class(workdir, "dark", "night")


def test_a_name_that_cannot_be_given_is_refused_in_one_line(config, tmp_path, capsys):
    workdir = tmp_path / "run"
    with pytest.raises(LabelsMissing):
        run.run(config, workdir)
    with pytest.raises(UsageError, match="there is no class 'a': the classes are none yet"):
        rename_class(workdir, "a", "b")
    answer(workdir, "dark", "bright")
    for old, new, message in [
        ("drak", "dark", "no class 'drak': the classes are '(dark', 'bright|bright', 'dark)'"),
        ("dark", "Bright ", "there is a class 'bright' already: two classes cannot become one"),
        ("dark", " ", "one line of 1 to 200 characters"),
        ("dark", "NaN", "programs write it into empty cells"),
        ("dark", "x" * 201, "one line of 1 to 200 characters"),
        ("dark", "K\ufffdfer", "cannot be the name of the class: it has lost a letter"),
    ]:
        with pytest.raises(UsageError, match=message):
            rename_class(workdir, old, new)
    for words in ["--rename=dark", "--rename=dark=night --labels=a.csv"]:
        assert main.run(["answer", f"--workdir={workdir}", *words.split()]) == 2
        assert "write --rename=OLD=NEW" in capsys.readouterr().err
    assert rename_class(workdir, "dark", "Dark ") == "Dark"  # another spelling of its own name


def test_the_classes_of_labelled_data_are_not_renamed(tmp_path):
    config = active.Config(data="digits", **TINY | {"image_size": 0})
    run.run(config, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(UsageError, match="the classes of digits are named by the data itself"):
        rename_class(tmp_path / "run", "3", "three")


def test_the_page_renames_a_class_with_labels_that_were_bought(config, tmp_path):
    project = begin(config, tmp_path / "run")
    inside, _, desk = clients(project)
    first, second, third = asked(inside)[:3]
    say(inside, first, "shrit")
    say(inside, second, "boot")
    project.store.buy(project.account, [first], purpose="train", round=0, asked_by="test")
    answered = inside.post("/api/rename", json={"old": "shrit", "new": "shirt"}).json()
    assert answered["renamed"] == "shirt"
    shown = answered["status"]
    assert shown["classes"] == [{"name": "shirt", "count": 1}, {"name": "boot", "count": 1}]
    assert [each["class_name"] for each in shown["last"]] == ["boot", "shirt"]
    assert shown["last"][1]["locked"]
    assert desk.labels(desk.snapshot()) == {first: "shirt", second: "boot"}
    assert say(inside, third, "shirt").json()["status"]["classes"][0]["count"] == 2
    late = say(inside, asked(inside)[0], "shrit", sure=True, known=True)  # another person's page
    assert late.status_code == 400 and "shrit any more" in late.json()["error"]
    refused = inside.post("/api/rename", json={"old": "boot", "new": "Shirt"})
    assert refused.status_code == 400 and "two classes" in refused.json()["error"]


def test_a_renamed_class_keeps_votes_labels_and_purchases(store_url):
    store = LabelStore(store_url)
    store.define("set", ["ca", "dog"])
    store.add_labels("set", ["a", "b"], [0, 1])
    store.open_account("run", "set", 5)
    store.buy("run", ["a"], purpose="train", round=0, asked_by="test")
    votes.vote(store, "set", ["c"], "ann", "ca")
    other = LabelStore(store_url)
    other.define("other", ["ca"])
    votes.vote(other, "other", ["c"], "ann", "ca")
    store.rename_class("set", "ca", "cat")
    assert store.classes("set") == ("cat", "dog") and store.classes("other") == ("ca",)
    assert votes.known_labels(store, "set", ["a", "b", "c"]) == {"a": "cat", "b": "dog", "c": "cat"}
    assert [vote.class_name for vote in votes.all_votes(store, "set")] == ["cat"]
    assert [vote.class_name for vote in votes.all_votes(store, "other")] == ["ca"]
    assert [row.class_name for row in store.ledger("run")] == ["cat"]
    for old, new, message in [("ca", "x", "has no class 'ca'"), ("cat", "dog", "a class 'dog' al")]:
        with pytest.raises(StoreError, match=message):
            store.rename_class("set", old, new)


def test_two_people_rename_a_class_at_once(store_url):
    store = LabelStore(store_url)
    store.define("set", ["ca", "dog"])
    failed = []

    def rename(name):
        try:
            LabelStore(store_url).rename_class("set", "ca", name)
        except (StoreError, exc.SQLAlchemyError) as error:
            failed.append(str(error))

    threads = [threading.Thread(target=rename, args=(name,)) for name in ("cat", "cow")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 1 and "has no class 'ca'" in failed[0]
    assert store.classes("set") in [("cat", "dog"), ("cow", "dog")]


def test_a_class_renamed_during_the_last_training_has_its_new_name(config, tmp_path, monkeypatch):
    config, workdir = dataclasses.replace(config, budget=4.0), tmp_path / "run"
    with pytest.raises(LabelsMissing):
        run.run(config, workdir)
    answer(workdir, "drak", "bright")
    train = run.together.lead

    def lead(*given):
        predictor = train(*given)
        rename_class(workdir, "drak", "dark")
        return predictor

    monkeypatch.setattr(run.together, "lead", lead)
    result = run.run(config, workdir)
    assert sorted(result["classes"]) == ["bright", "dark"]
    names = np.load(workdir / "artifacts" / "classes.npz")["names"].tolist()
    assert names == result["classes"]


@pytest.mark.parametrize("kinds", [{"integers": True}, {"integers": False, "classes": ["3"]}])
def test_classes_that_a_program_names_are_not_renamed(kinds, config, tmp_path):
    with pytest.raises(LabelsMissing):
        run.run(config, tmp_path / "run")
    answer(tmp_path / "run", "3", "4")
    files.write_json(tmp_path / "run" / LABEL_KINDS, kinds)  # as a session in Python writes it
    with pytest.raises(UsageError, match="named by the Python program"):
        rename_class(tmp_path / "run", "3", "three")
    files.write_json(tmp_path / "run" / LABEL_KINDS, {"integers": False})
    assert rename_class(tmp_path / "run", "3", "three") == "three"
