"""Whole runs: they use only labels that they bought, and a kill does not change the result."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.cli import main
from jaxlabel.errors import (
    DataError,
    LabelsMissing,
    UsageError,
)
from jaxlabel.experiment import purchases, questions
from jaxlabel.experiment import run as experiment
from jaxlabel.methods import active, encoder, medoids, representatives, scan, semisup, sgan
from jaxlabel.nets import devices
from jaxlabel.oracle import LabelStore

FORKSERVER = multiprocessing.get_context("forkserver")  # its processes start without imports
QUICK = {"code_steps": 40, "classifier_steps": 40, "components": 8, "batch_size": 64, "map": "none"}
DENSE = {"budget": 24, "network": "dense", "steps": 20, "batch_size": 16}
SCAN = {
    "budget": 24,
    "encoder": "dense",
    "width": 8,
    "pretext_steps": 5,
    "pretext_batch": 32,
    "heads": 1,
    "start_steps": 20,
    "cluster_steps": 10,
    "cluster_batch": 32,
    "self_steps": 10,
    "self_rounds": 1,
    "name_steps": 10,
    "self_batch": 32,
    "graph_components": 10,
    "neighbours": 7,
    "threshold": 0.3,
    "map": "none",
}
RECIPES = {
    "medoids": medoids.Config(budget=24, target=1.0, **QUICK),
    "medoids, afresh, on codes": medoids.Config(
        budget=24, target=1.0, nested=False, space="codes", percentile=0.5, **QUICK
    ),
    "representatives": representatives.Config(budget=24, propagate=1.0),
    "scan": scan.Config(**SCAN),
    "encoder": encoder.Config(budget=24, code=16, code_steps=20, steps=20, batch_size=64),
    "sgan": sgan.Config(
        budget=24,
        network="dense",
        width=32,
        steps=20,
        batch_size=16,
        labelled_batch=16,
        snapshots=2,
        map="none",
    ),
    "active": active.Config(
        **DENSE,
        initial_labels=8,
        target=0.9,
        confidence=0.2,
        refinements=1,
    ),
    "semisup": semisup.Config(**DENSE, graph_targets=0.5),
    "semisup, beside contrastive features": semisup.Config(
        **DENSE, graph_targets=0.5, query="medoids", contrast_steps=5
    ),
    "semisup, in rounds": semisup.Config(
        **DENSE, query="margin", rounds=2, objective="graph", space="graph"
    ),
}


def outcome(result):
    """Return the entries of a run's result that do not depend on time and machine."""
    ignored = ("seconds", "versions", "commit", "config")
    return {name: value for name, value in result.items() if name not in ignored}


@pytest.mark.parametrize("name", RECIPES)
def test_labels_that_were_not_bought_change_nothing(name, tmp_path, capsys, monkeypatch):
    """The second run of the recipe "active" has a small device, which changes nothing either."""
    config = RECIPES[name]
    honest = experiment.run(
        dataclasses.replace(config, store=f"sqlite:///{tmp_path}/honest.db"), tmp_path / "honest"
    )
    payer = json.loads((tmp_path / "honest" / "run.json").read_text())["account"]
    asked = {row.item for row in LabelStore(f"sqlite:///{tmp_path}/honest.db").ledger(payer)}
    assert 0 < honest["labels_spent"] == len(asked) <= 24

    digits = data.load("digits")
    labels = data.load_train_labels("digits")
    random = np.random.default_rng(0)
    known = np.isin(digits.train_items, list(asked))
    scrambled = np.where(known, labels, random.integers(0, 10, len(labels)))
    assert np.mean(scrambled != labels) > 0.8
    store = LabelStore(f"sqlite:///{tmp_path}/scrambled.db")
    store.define("digits", digits.classes)
    store.add_labels("digits", digits.train_items, scrambled)

    assert "stay outside of the device" not in capsys.readouterr().err
    if name == "active":
        monkeypatch.setattr(devices, "memory", lambda: 1000)
    blind = experiment.run(
        dataclasses.replace(config, store=f"sqlite:///{tmp_path}/scrambled.db"), tmp_path / "blind"
    )
    assert ("stay outside of the device" in capsys.readouterr().err) == (name == "active")
    honest.pop("train_label_accuracy"), blind.pop("train_label_accuracy")
    assert outcome(blind) == outcome(honest)
    if name == "active":
        pools = [np.load(tmp_path / run / "artifacts" / "pool.npz") for run in ("honest", "blind")]
        np.testing.assert_array_equal(*(pool["probabilities"] for pool in pools))


def test_a_run_continues_the_account_of_another_one_with_a_larger_budget(tmp_path):
    settings = QUICK | {"autoencoder": "none", "space": "codes", "classifier_steps": 5}
    config = medoids.Config(
        budget=4, target=1.0, account="me", store=f"sqlite:///{tmp_path}/labels.db", **settings
    )
    first = experiment.run(config, tmp_path / "first")
    larger = dataclasses.replace(config, budget=9, seed=1)
    second = experiment.run(larger, tmp_path / "second")
    rows = LabelStore(config.store).ledger("me")
    assert (first["labels_spent"], second["labels_spent"], second["cost"]) == (4, 5, 5)
    assert second["labels_by_purpose"] == {"train": 5} and len(rows) == 9
    assert "labels_bought_earlier" not in first
    summary = experiment.summary(second, tmp_path)
    assert f"{second['labels_bought_earlier']} more labels were free" in summary
    assert 1 <= second["labels_bought_earlier"] <= 4  # the medoid of all images is the same

    (tmp_path / "second" / "result.json").unlink()  # as if the run had been killed at its end
    assert outcome(experiment.run(larger, tmp_path / "second")) == outcome(second)
    assert LabelStore(config.store).ledger("me") == rows


def test_peeking_is_marked_everywhere_and_stops_by_the_true_accuracy(tmp_path, capsys):
    config = medoids.Config(budget=200, target=0.6, stop="peek", **QUICK)
    result = experiment.run(config, tmp_path / "run")
    assert result["peeked"] and result["stopped_by"] == "target"
    assert result["peek_accuracy"] == result["train_label_accuracy"] >= 0.6
    assert "PEEKED" in experiment.summary(result, tmp_path / "run")
    assert capsys.readouterr().out == ""  # run() prints nothing; the command prints the summary
    assert "peeked" in purchases.ledger(tmp_path / "run")
    assert "PEEKED" in (tmp_path / "run" / "report.html").read_text().upper()


def words(workdir, settings):
    """Return the words of the command that starts a run."""
    flags = [f"--config.{name}={value}" for name, value in settings.items()]
    return ["train", *flags, f"--workdir={workdir}"]


def start_run(environment, arguments):
    """Start a run in a process whose parent may have been started with another environment."""
    os.environ.clear()
    os.environ.update(environment)
    main.run(arguments)


def killed_when(path, arguments):
    """Start a run in a new process, kill it (-9) when a phase begins, and return its exit code.

    Args:
      path: the metrics file of the run, and the name of the phase that must appear in it.
      arguments: the words of the command.
    """
    metrics, phase = path
    process = FORKSERVER.Process(target=start_run, args=(dict(os.environ), arguments))
    process.start()
    deadline = time.monotonic() + 120
    while process.is_alive() and time.monotonic() < deadline:
        if metrics.exists() and f'"{phase}"' in metrics.read_text():
            process.kill()
        time.sleep(0.01)
    process.join()
    return process.exitcode


@pytest.mark.usefixtures("import_in_a_process")
def test_a_killed_run_ends_with_the_same_result(tmp_path):
    settings = {"budget": 24, "code_steps": 200, "classifier_steps": 200, "batch_size": 64}
    settings |= {"map": "none"}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    FORKSERVER.set_forkserver_preload(["jaxlabel.experiment.run", medoids.__name__])
    for phase in ("autoencoder", "rounds", "classifier"):
        code = killed_when((broken / "metrics.jsonl", phase), words(broken, settings))
        assert code == -signal.SIGKILL, f"the run ended before {phase}"
    for run in (whole, broken):
        assert main.run(words(run, settings)) == 0

    results = [json.loads((run / "result.json").read_text()) for run in (whole, broken)]
    assert outcome(results[0]) == outcome(results[1])
    records = []
    for run in (whole, broken):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        records.append([{k: v for k, v in line.items() if k != "seconds"} for line in lines])
    assert records[0] == records[1]
    ledgers = []
    for run in (whole, broken):
        payer = json.loads((run / "run.json").read_text())["account"]
        rows = LabelStore(f"sqlite:///{run}/labels.db").ledger(payer)
        ledgers.append([(row.item, row.label, row.round, row.purpose) for row in rows])
    assert ledgers[0] == ledgers[1] and len(ledgers[0]) == results[0]["labels_spent"]


def test_a_folder_without_labels_is_labelled_by_a_person_through_csv(tmp_path, capsys):
    random = np.random.default_rng(0)
    for number in range(40):
        image = random.integers(0, 60, (12, 12), np.uint8)
        half = image[:6] if number % 2 else image[6:]
        half += 180
        folder = tmp_path / "pictures"
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{'top' if number % 2 else 'end'}{number}.png")
    config = medoids.Config(
        data=f"folder:{folder}", image_size=8, image_mode="grey", budget=8, target=1.0,
        neighbours=5, **(QUICK | {"components": 3}),
    )  # fmt: skip
    run, result = tmp_path / "run", None
    for _ in range(10):
        try:
            result = experiment.run(config, run)
            break
        except LabelsMissing as error:
            assert "jaxlabel answer" in str(error)
        lines = (run / "questions.csv").read_text().splitlines()
        rows = [line.split(",") for line in lines[1:]]
        answered = [f"{item},{file},{os.path.basename(file)[:3]}" for item, file, *_ in rows]
        spoilt = tmp_path / "spoilt.csv"
        spoilt.write_text("\n".join([lines[0], *answered, "4E+12,,top"]) + "\n")
        with pytest.raises(DataError, match="there is no item '4E\\+12'"):
            questions.answer(run, str(spoilt))
        (run / "questions.csv").write_text("\n".join([lines[0], *answered]) + "\n")
        assert "answers stored" in questions.answer(run)[0]
    assert result is not None and sorted(result["classes"]) == ["end", "top"]
    assert result["test_accuracy"] is None and result["train_label_accuracy"] is None
    assert result["labels_spent"] <= 8


def test_a_budget_of_zero_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a budget of 0 buys no label"):
        experiment.run(dataclasses.replace(RECIPES["medoids"], budget=0), tmp_path)
    assert not (tmp_path / "run.json").exists()  # nothing was trained: the directory is free


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_map_keeps_groups_together(method):
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = 20 * np.eye(5)[labels] + random.standard_normal((90, 5))
    drawn = experiment.feature_map(features, labels, method, max_points=60)
    assert drawn["points"].shape == (60, 2) and len(drawn["labels"]) == 60
    away = np.linalg.norm(drawn["points"][:, None] - drawn["points"], axis=-1)
    np.fill_diagonal(away, np.inf)
    assert np.all(drawn["labels"][away.argmin(axis=1)] == drawn["labels"])


def test_more_labelled_images_than_max_clusters_is_no_error(tmp_path, capsys):
    config = dataclasses.replace(RECIPES["medoids"], max_clusters=3, budget=24)
    result = experiment.run(config, tmp_path)
    assert result["stopped_by"] == "max_clusters" and 3 <= result["labels_spent"] <= 5


def test_peeking_without_known_labels_is_refused_before_any_label_is_bought(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / "b.png")
    config = medoids.Config(data=f"folder:{tmp_path}", stop="peek")
    with pytest.raises(UsageError, match="all in the store"):
        experiment.run(config, tmp_path.parent / f"{tmp_path.name}-run")
