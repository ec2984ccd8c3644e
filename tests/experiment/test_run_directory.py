"""A run's directory and its label store: what is done once, and what a second start finds."""

import dataclasses
import json
import os
import re
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.cli import main as cli
from jaxlabel.data import importing
from jaxlabel.errors import DataError, JaxlabelError, UsageError
from jaxlabel.experiment import account, opening, purchases
from jaxlabel.experiment import run as experiment
from jaxlabel.experiment.answers import Answers
from jaxlabel.experiment.labelled.writing import write_labels
from jaxlabel.files import check_replaceable
from jaxlabel.log import NullLog
from jaxlabel.methods import medoids, representatives
from jaxlabel.nets import native
from jaxlabel.runlog import workdir

CONFIG = medoids.Config(
    budget=24, target=1.0, code_steps=2, classifier_steps=2, components=8, batch_size=64,
    map="none",
)  # fmt: skip


def test_a_finished_run_is_not_repeated(tmp_path, capsys, monkeypatch):
    config = dataclasses.replace(CONFIG, devices=1)
    first = experiment.run(config, tmp_path)
    stamp = (tmp_path / "result.json").stat().st_mtime_ns
    monkeypatch.setattr(jax, "local_devices", list)  # the run's device is not there any more
    monkeypatch.setattr(native, "select", lambda setting: pytest.fail("it needs no kernels"))
    assert "its result is shown again" not in capsys.readouterr().err
    assert experiment.run(config, tmp_path) == json.loads((tmp_path / "result.json").read_text())
    assert (tmp_path / "result.json").stat().st_mtime_ns == stamp
    (line,) = capsys.readouterr().err.splitlines()
    date = time.strftime("%Y-%m-%d", time.localtime(stamp / 1e9))
    assert line.startswith(f"this run finished on {date} at ")
    assert "its result is shown again, and nothing was trained" in line
    with pytest.raises(UsageError, match=r"budget is 24.* there and 25.* here"):
        experiment.run(dataclasses.replace(config, budget=25), tmp_path)
    assert first["labels_spent"] <= 24


@pytest.mark.usefixtures("import_in_a_process")
def test_import_runs_once_for_a_shared_store(tmp_path, monkeypatch, capsys):
    calls = []
    original = importing.in_subprocess
    monkeypatch.setattr(
        importing, "in_subprocess", lambda *a, **k: calls.append(a) or original(*a, **k)
    )
    config = dataclasses.replace(CONFIG, store=f"sqlite:///{tmp_path}/s.db")
    spent = [experiment.run(config, tmp_path / run)["labels_spent"] for run in ("a", "b")]
    assert len(calls) == 1
    assert spent[0] == spent[1] > 0  # the second run pays for its own labels


def test_labels_in_files_are_compared_with_a_full_store_until_they_change(tmp_path, monkeypatch):
    calls, said = [], []

    def in_this_process(*arguments, only_compare):
        calls.append("compare" if only_compare else "import")
        return importing.import_labels(*arguments, only_compare=only_compare)

    monkeypatch.setattr(importing, "in_subprocess", in_this_process)
    monkeypatch.setenv("JAXLABEL_CACHE", str(tmp_path / "cache"))
    log = SimpleNamespace(say=said.append)
    file, images = tmp_path / "a.npz", np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4)
    images[3] = images[0]  # has another label, so that the files contradict themselves
    config = dataclasses.replace(CONFIG, data=f"npz:{file}", store=f"sqlite:///{tmp_path}/s.db")
    twice = "contradiction: train 0 = train 3 is labelled 0 and 1; 0 is kept"
    changed = "contradiction: train 2 is labelled 1 and 0; 1 is kept"
    starts = [
        (10, [0, 1, 1, 1], "import", [twice]),
        (10, [0, 1, 1, 1], None, []),
        (20, [0, 1, 0, 1], "compare", [changed]),
        (20, [0, 1, 0, 1], "compare", [changed]),  # they still differ
        (30, [0, 1, 1, 1], "compare", []),
        (30, [0, 1, 1, 1], None, []),
        (40, [0, 1, 0, 1], "compare", [changed]),
    ]
    for when, labels, call, lines in starts:
        np.savez(file, x_train=images, y_train=labels)
        os.utime(file, ns=(when, when))
        dataset = data.load(config.data)
        store = opening.open_store(config.store, dataset)
        opening._import_labels(config, data.Options(), store, dataset, tmp_path, log)
        assert calls == ([call] if call else [])
        assert [line for line in said if line.startswith("contradiction")] == lines
        assert any("name another store" in line for line in said) == (lines == [changed])
        calls.clear()
        said.clear()


def test_runs_that_share_an_account_show_what_each_of_them_bought(tmp_path):
    shared = {"store": f"sqlite:///{tmp_path}/s.db", "account": "ours"}
    spent = {}
    for name, budget in (("first", 8), ("second", 20)):
        config = representatives.Config(budget=budget, **shared)
        spent[name] = experiment.run(config, tmp_path / name)["labels_spent"]
    assert spent == {"first": 8, "second": 8}  # the second gets 4 labels for free
    tables = {name: purchases.ledger(tmp_path / name).splitlines() for name in spent}
    assert [line.split() for line in tables["first"][2:5]] == [
        ["train", "0", "8", "8"], ["after", "this", "run", "8", "8"], ["total", "16", "16"],
    ]  # fmt: skip
    assert [line.split() for line in tables["second"][2:5]] == [
        ["before", "this", "run", "8", "8"], ["train", "0", "8", "8"], ["total", "16", "16"],
    ]  # fmt: skip
    experiment.run(representatives.Config(budget=8), tmp_path / "alone")
    note = "if another run used this account while this run went on, the labels that it bought"
    shown = {name: note in purchases.ledger(tmp_path / name) for name in ("first", "alone")}
    assert shown == {"first": True, "alone": False}
    for name in spent:
        message = write_labels(tmp_path / name, "csv")
        assert " images, 16 bought, " in message
        assert message.endswith("; the run's account bought 8 of them before or after the run")


def test_a_new_run_may_not_have_a_smaller_budget_than_its_account(tmp_path):
    shared = {"store": f"sqlite:///{tmp_path}/s.db", "account": "ours"}
    experiment.run(representatives.Config(budget=8, **shared), tmp_path / "first")
    smaller = representatives.Config(budget=6, **shared)
    with pytest.raises(UsageError, match=r"ours has a budget of 8, 8 of it spent, and .* is 6: "):
        experiment.run(smaller, tmp_path / "second")
    experiment.run(representatives.Config(budget=12, **shared), tmp_path / "second")
    # the first run goes on, although its account has a larger budget now
    digits = data.load("digits")
    assert account.account_name("ours", tmp_path / "first", digits, shared["store"], 8) == "ours"
    config = representatives.Config(budget=8, **shared)
    oracle = opening.make_oracle(
        config, data.Options(), digits, tmp_path / "first", NullLog(), Answers()
    )
    assert (oracle.budget, oracle.store.budget("ours")) == (8, 12)


def test_no_command_replaces_a_file_of_another_kind(tmp_path, capsys):
    run = tmp_path / "run"
    experiment.run(representatives.Config(budget=8, sinks=""), run)
    for command, form in ("labels", "csv"), ("labels", "jsonl"), ("report", ""), ("predict", ""):
        words = [command, f"--workdir={run}", *([f"--format={form}"] if form else [])]
        words += ["--data=digits"] if command == "predict" else []
        database = (run / "labels.db").read_bytes()
        assert cli.run([*words, f"--out={run / 'labels.db'}"]) == 2
        assert "name another file" in capsys.readouterr().err
        assert (run / "labels.db").read_bytes() == database
        for _ in range(2):  # its own file may be replaced
            assert cli.run([*words, f"--out={tmp_path / command}{form}"]) == 0


def test_a_missing_folder_in_a_path_hides_no_foreign_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.csv").write_text("mine\n")
    hidden = tmp_path / "new" / ".." / "photos"  # "new" is missing when the path is checked
    with pytest.raises(UsageError, match=r"is not empty and not a run's: it holds holiday\.csv"):
        workdir.check_is_run_directory(hidden)
    with pytest.raises(UsageError, match="is not an empty directory"):
        write_labels(tmp_path, "folders", str(hidden))
    with pytest.raises(UsageError, match="does not hold predictions"):
        check_replaceable(hidden / "holiday.csv", "predictions", b"split")


def test_predictions_may_go_to_a_pipe_which_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    both = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    os.write(both, b"x" * 200)
    check_replaceable(tmp_path / "pipe", "predictions", b"split")
    assert len(os.read(both, 300)) == 200
    os.close(both)


def test_a_misspelled_data_path_leaves_the_directory_free(tmp_path, capsys):
    with pytest.raises(DataError):
        experiment.run(dataclasses.replace(CONFIG, data="idx:nowhere"), tmp_path / "run")
    assert experiment.run(CONFIG, tmp_path / "run")["labels_spent"] > 0


def test_a_single_picture_is_refused_before_anything_is_bought(tmp_path, capsys):
    (tmp_path / "one").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "one" / "a.png")
    arguments = ["train", f"--data={tmp_path / 'one'}", f"--workdir={tmp_path / 'run'}"]
    assert cli.run(arguments) == 2
    assert capsys.readouterr().err == (
        "jaxlabel: one has only one training image: a run needs at least 2\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_broken_result_is_reported_in_one_line(tmp_path, capsys):
    experiment.run(CONFIG, tmp_path)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(JaxlabelError, match=r"result.json is broken, it lacks method"):
        experiment.run(CONFIG, tmp_path)


def test_store_urls_are_absolute_and_passwords_are_hidden(tmp_path):
    assert account.store_url("", tmp_path / "what?1").endswith("what%3F1/labels.db")
    assert account.store_url("sqlite:///a.db", tmp_path) == f"sqlite:///{os.getcwd()}/a.db"
    assert account.store_url(f"sqlite:///{tmp_path}/a.db", tmp_path).endswith(f"//{tmp_path}/a.db")
    assert account.store_url("sqlite+pysqlite:///a.db?timeout=5", tmp_path) == (
        f"sqlite+pysqlite:///{os.getcwd()}/a.db?timeout=5"
    )
    for url in ("sqlite://", "sqlite:///:memory:", "sqlite:///?timeout=5", "sqlite+pysqlite://"):
        with pytest.raises(UsageError, match="in memory"):
            account.store_url(url, tmp_path)
    assert account.store_url("nonsense", tmp_path) == "nonsense"  # refused where it is opened
    url = "postgresql://me:secret@host:5432/labels"
    assert account.store_url(url, tmp_path) == url
    config = medoids.Config(store=url)
    assert (
        experiment.settings_without_password(config)["store"]
        == "postgresql://me:***@host:5432/labels"
    )


def test_the_hint_to_keep_the_labels_names_the_database_by_a_valid_url(tmp_path):
    run = tmp_path / "what?%41"
    run.mkdir()
    (run / "labels.db").touch()
    url = re.search(r"config\.store=(\S+) keeps", workdir.reuse_labels_hint(run))[1]
    assert url == account.store_url("", run)


def test_a_relative_store_path_refers_to_the_first_start(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(CONFIG, store="sqlite:///s.db")
    run = tmp_path / "run"
    spent = experiment.run(config, run)["labels_spent"]
    (run / "result.json").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert experiment.run(config, run)["labels_spent"] == spent
    assert not (tmp_path / "elsewhere" / "s.db").exists()


def test_a_directory_that_was_moved_keeps_its_ledger(tmp_path, capsys):
    experiment.run(CONFIG, tmp_path / "a")
    before = purchases.ledger(tmp_path / "a")
    os.rename(tmp_path / "a", tmp_path / "b")
    assert purchases.ledger(tmp_path / "b") == before
    (tmp_path / "b" / "labels.db").rename(tmp_path / "labels.db")
    with pytest.raises(UsageError, match=r"b/labels.db, the database of labels .* is missing"):
        purchases.ledger(tmp_path / "b")
    assert not (tmp_path / "b" / "labels.db").exists()
