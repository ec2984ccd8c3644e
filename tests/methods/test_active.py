import dataclasses
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from logs import Memory
from oracles import ArrayOracle, priced

from jaxlabel import data, query
from jaxlabel.config import RunConfig
from jaxlabel.errors import UsageError
from jaxlabel.experiment import run as experiment
from jaxlabel.methods import active, rounds, stopping
from jaxlabel.query import NO_LABELS

TINY = {"data": "digits", "kind": "digits", "network": "dense", "width": 8, "batch_size": 16,
        "mu": 2, "steps": 60,
        "initial_labels": 20}  # fmt: skip


def tiny(**changes):
    return active.Config(**TINY | changes)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """Let the number of labels grow fourfold in each round, so that the tests have few rounds."""
    monkeypatch.setattr(rounds, "GROWTH", 4.0)


@pytest.mark.parametrize(("target", "trained"), [(0.5, 240), (0.25, 20)])
def test_a_certificate_ends_the_run_and_is_correct(target, trained, tmp_path, capsys):
    training = {"steps": 100} if trained == 240 else {"steps": 300, "learning_rate": 1e-2}
    settings = tiny(target=target, confidence=0.9, budget=400, **training)
    result = experiment.run(settings, tmp_path)
    assert result["stopped_by"] == "target" and result["certified"] == 1
    bought = result["labels_by_purpose"]
    assert bought == {
        "train": result["labels_to_train"], "certify": result["labels_to_certify"]
    }  # fmt: skip
    spent = result["labels_spent"]
    assert spent == sum(bought.values()) < 400
    assert bought["train"] == trained  # 20: an audit was started after the first round
    right = (
        result["train_label_accuracy"] * result["num_train"] - spent
    )  # the labelled images are right
    assert target <= result["certified_low"] <= right / (result["num_train"] - spent)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert any(line["phase"] == "audit" for line in lines)
    low = math.floor(1e4 * result["certified_low"] + 1e-6) / 100
    assert f"certified: at least {low:.2f}% of the images" in experiment.summary(result, tmp_path)


def test_an_unreachable_target_ends_with_the_budget_and_no_certificate(tmp_path, capsys):
    settings = tiny(target=0.9, confidence=0.5, budget=120, steps=20)
    result = experiment.run(settings, tmp_path)
    assert result["stopped_by"] == "budget" and result["certified"] == 0
    assert "certified_low" not in result and result["labels_to_certify"] > 0
    assert result["labels_spent"] <= 120


def test_expensive_labels_are_fewer(tmp_path, capsys):
    url = priced(tmp_path, 10.0)
    result = experiment.run(tiny(budget=300, steps=20, store=url), tmp_path / "run")
    assert result["labels_spent"] == 30 and result["cost"] == 300


def test_a_budget_too_small_for_an_audit_is_used_for_training(tmp_path, capsys):
    prices = np.where(np.arange(len(data.load("digits").train_items)) == 700, 300.0, 1.0)
    few = tiny(budget=120, target=0.9, steps=2,
               store=priced(tmp_path, prices))  # fmt: skip
    result = experiment.run(few, tmp_path / "run")  # an audit might draw the expensive image
    assert result["stopped_by"] == "budget" and result["labels_to_certify"] == 0
    assert 90 < result["labels_to_train"] <= 120
    assert "not certified: no audit of 90%" in experiment.summary(result, tmp_path)
    assert "nothing<small>not certified" in (tmp_path / "run" / "report.html").read_text()


def test_one_expensive_image_does_not_end_a_round(tmp_path, capsys):
    prices = np.where(np.arange(len(data.load("digits").train_items)) % 2, 1.0, 50.0)
    url = priced(tmp_path, prices)
    few = tiny(budget=600, initial_labels=5, steps=2, query="random", store=url)
    result = experiment.run(few, tmp_path / "run")
    assert 570 < result["cost"] <= 600 and result["labels_spent"] >= 20


def test_sequential_queries_skip_unaffordable_images(tmp_path, capsys):
    prices = np.where(np.arange(len(data.load("digits").train_items)) % 3, 60.0, 1.0)
    few = tiny(
        budget=50,
        initial_labels=5,
        refinements=1,
        steps=2,
        store=priced(tmp_path, prices),
    )
    result = experiment.run(few, tmp_path / "run")
    assert result["labels_spent"] == 50


def test_without_confidence_the_mean_confidence_ends_the_run(tmp_path, capsys):
    settings = tiny(target=0.2, confidence=0.0, budget=61, learning_rate=1e-2)
    result = experiment.run(settings, tmp_path)
    assert result["stopped_by"].startswith("target") and result["labels_to_certify"] == 0
    assert result["labels_spent"] <= 60


def test_an_audit_waits_for_a_low_uncertainty(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        stopping, "mean_uncertainty", lambda probabilities: 0.1
    )  # 3 times this uncertainty is above the allowed error
    few = {"target": 0.88, "budget": 400, "steps": 2}
    believed = experiment.run(tiny(**few, confidence=0.0), tmp_path / "believed")
    assert believed["stopped_by"].startswith("target") and believed["labels_spent"] == 20
    experiment.run(tiny(**few), tmp_path / "audited")
    text = (tmp_path / "audited/metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    audit = [line["phase"] for line in lines].index("audit")
    labels = [line["labels_spent"] for line in lines[:audit] if line["phase"] == "rounds"]
    assert labels == [20, 80]  # the third is the last that is not for the certificate


def test_few_first_labels_are_chosen_by_typiclust():
    config = active.Config()
    assert [config.first_query(count) for count in (1, 15, 16)] == ["typiclust"] * 2 + ["medoids"]
    chosen = active.Config(query="random")  # it needs no model
    assert [chosen.first_query(count) for count in (1, 16)] == ["random", "random"]


def test_the_flagship_has_few_settings():
    own = {f.name for f in dataclasses.fields(active.Config)}
    own -= {f.name for f in dataclasses.fields(RunConfig)}
    assert len(own) <= 15  # prefer a rule that holds for all data sets to a further setting
    decays = [
        active.Config(network=name).weight_decay
        for name in ("fine_gradient_conv", "hidden", "gradients")
    ]
    assert decays == [0.3, 0.3, 0.005]


def test_labels_reserved_for_an_audit_do_not_count_as_training_labels(tmp_path, capsys):
    # 0.4 of the budget is reserved for an audit, so 15 labels are for training
    settings = tiny(steps=20, target=0.8, confidence=0.5, budget=25)
    assert experiment.run(settings, tmp_path)["initial_query"] == "typiclust"


def test_an_empty_budget_raises_an_error_of_one_line(tmp_path):
    with pytest.raises(UsageError, match="buys no label"):
        experiment.run(tiny(budget=0.5), tmp_path)


def test_every_size_of_every_data_set_is_valid():
    path = Path(__file__).parents[2] / "configs" / "flagship.py"
    spec = importlib.util.spec_from_file_location("flagship", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for variant in module.VARIANTS:
        for preset in module.SIZES:
            experiment.config.validate(module.get_config(variant, preset))


def test_a_resumed_run_repeats_its_earlier_decisions(monkeypatch):
    log, oracle = Memory(), ArrayOracle(np.zeros(300), 1000)
    context = rounds.Context(tiny(confidence=0.0), "", np.zeros(300), None, None, oracle, 64, log)
    rule = stopping.StoppingRule(context.config, 300, oracle, log)
    assert not active.should_continue(context, rule, 0)
    query.chosen(oracle, log, 1, 5, 300, NO_LABELS, lambda: np.arange(5))
    assert active.should_continue(context, rule, 0) and not active.should_continue(context, rule, 1)
    log.save("ended_0", 9, np.zeros(1))  # the final training was done, with one class less
    assert active.should_continue(context, rule, 0)
    log.save("ended_0", 10, np.zeros(1))
    assert not active.should_continue(context, rule, 0)
    one_class = context._replace(oracle=ArrayOracle(np.zeros(300), 1000, 1))
    assert active.should_continue(one_class, rule, 1)
    query.chosen(oracle, log, 2, 5, 300, NO_LABELS, lambda: np.arange(5))
    assert active.should_continue(context, rule, 1)
    monkeypatch.setattr(rule, "audit_started", lambda number: number == 1)
    assert not active.should_continue(context, rule, 1)  # the resumed run repeats that audit


def test_a_small_pool_spends_the_whole_budget(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rounds, "POOL", 25)
    settings = tiny(budget=60, steps=20)
    assert experiment.run(settings, tmp_path)["labels_spent"] == 60
