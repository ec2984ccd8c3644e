"""What the page reads of a run: the accuracy, the curve of the rounds, the predictions."""

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from pages import clients

from jaxlabel.experiment import predict, run
from jaxlabel.experiment.answers import Answers
from jaxlabel.label import child, status
from jaxlabel.label.records import PREDICTIONS, Records
from jaxlabel.methods import medoids
from jaxlabel.oracle.named import store_labels
from jaxlabel.predictor import predict_probabilities


def test_a_guess_of_the_accuracy_is_the_last_round_s_not_that_of_the_finished_model(tmp_path):
    records = Records(tmp_path)
    assert status.accuracy(records) is None
    line = {"phase": "rounds", "step": 1, "labels_spent": 64, "belief": 0.9}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "result.json").write_text(json.dumps({"confidence": 0.99, "labels_spent": 100}))
    found = status.accuracy(records)
    assert found == {"kind": "guess", "low": pytest.approx(0.7), "high": 0.9, "of": "all pictures"}
    assert status.curve(records) == [[64, 0.9]]


def test_a_damaged_file_of_the_run_is_said_once(tmp_path, capsys):
    records = Records(tmp_path)
    (tmp_path / "result.json").write_text('{"certified": ')
    for said in ("result.json is damaged: it is not JSON", ""):
        assert records.result() is None and status.accuracy(records) is None
        line = capsys.readouterr().out
        assert (said in line) and line.count("\n") == bool(said)


@pytest.mark.parametrize("name", [PREDICTIONS, "result.json"])
def test_a_file_that_cannot_be_opened_for_now_is_read_again(name, tmp_path, monkeypatch, capsys):
    records, path = Records(tmp_path), tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name == PREDICTIONS:
        np.savez(path, rows=np.arange(9), probabilities=np.full((9, 2), 0.5))
    else:
        path.write_text('{"certified": 0.5}')
    read = records.pool if name == PREDICTIONS else records.result

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        patch.setattr(Path, "read_bytes", refuse)
        assert read() is None and read() is None
    said = f"jaxlabel: {path} cannot be read: Too many open files\n"  # once, and not "damaged"
    assert capsys.readouterr().out == said
    assert read() is not None and capsys.readouterr().out == ""


def test_a_metric_without_a_phase_is_left_out(tmp_path, capsys):
    records, path = Records(tmp_path), tmp_path / "metrics.jsonl"
    audit = {"phase": "audit", "low": 0.5}
    path.write_text("".join(json.dumps(line) + "\n" for line in ({"step": 1}, audit)))
    assert records.metrics() == [audit] and capsys.readouterr().out == ""


def test_no_damage_of_the_predictions_stops_the_page(tmp_path, capsys):
    path, content = tmp_path / "artifacts" / "pool.npz", io.BytesIO()
    path.parent.mkdir()
    np.savez_compressed(content, rows=np.arange(9), probabilities=np.full((9, 2), 0.5))
    whole = content.getvalue()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        found = Records(tmp_path).pool()
        said = capsys.readouterr().out
        assert "pool.npz is damaged" in said if found is None else not said
    path.write_bytes(whole[:-9])
    records = Records(tmp_path)
    for said in ("pool.npz is damaged: the page goes on without it", ""):
        assert records.pool() is None
        line = capsys.readouterr().out
        assert (said in line) and line.count("\n") == bool(said)


def test_the_estimate_of_medoids_is_shown_as_what_it_is(tmp_path):
    records, path = Records(tmp_path), tmp_path / "metrics.jsonl"
    line = {"phase": "rounds", "clusters": 8, "labels_spent": 8}
    found = {"estimate": 0.8, "estimate_low": 0.61, "estimate_high": 0.92, "answers": 21}
    path.write_text(json.dumps(line | {"step": 0}) + "\n")
    assert status.accuracy(records) is None  # the first round has no labels before it
    with path.open("a") as file:
        file.write(json.dumps(line | found | {"step": 1}) + "\n")
    os.utime(path, (0, 0))  # a time that differs from the first one
    assert status.accuracy(records) == {
        "kind": "estimate", "low": 0.61, "high": 0.92, "of": "all pictures", "answers": 21
    }  # fmt: skip


def test_the_ends_of_an_audit_are_rounded_outwards(tmp_path):
    records, path = Records(tmp_path), tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"phase": "audit", "low": 0.8996, "high": 0.95041}) + "\n")
    assert status.accuracy(records) == {
        "kind": "audited", "low": 0.8996, "high": 0.95041, "shown": ["89.9%", "95.1%"],
        "of": "pictures that were not labelled for training",
    }  # fmt: skip
    result = {"certified": 1.0, "certified_low": 0.8996, "certified_high": 1.0,
              "certified_of": "new images"}  # fmt: skip
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert status.accuracy(records) == {
        "kind": "certified", "low": 0.8996, "high": 1.0, "shown": ["89.9%", "100.0%"],
        "of": "new pictures",
    }  # fmt: skip


def test_the_page_answers_for_a_recipe_whose_rounds_have_no_confidence(project):
    inside, _, _ = clients(project)
    lines = [
        {"phase": "rounds", "step": 0, "clusters": 1, "labels_spent": 10},  # as medoids logs
        {"phase": "rounds", "step": 1, "labels_spent": 12, "belief": None},
    ]
    path = project.workdir / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = inside.get("/api/state").json()["status"]
    assert shown["accuracy"] is None and shown["curve"] == []
    with path.open("a") as file:
        file.write(json.dumps({"phase": "rounds", "labels_spent": 14, "belief": 0.8}) + "\n")
    assert status.curve(Records(project.workdir)) == [[14, 0.8]]


def test_the_page_gets_the_predictions_of_every_recipe(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=pixels)
    settings = medoids.Config(
        data=f"npz:{tmp_path / 'a.npz'}", budget=4, code_steps=2, classifier_steps=2, components=8,
        map="none",
    )  # fmt: skip

    def answer(store, dataset, items):
        store_labels(store, dataset.name, items, [f"kind {len(item) % 2}" for item in items])

    workdir = tmp_path / "run"
    run.run(settings, workdir, answers=Answers(answer=answer))
    assert Records(workdir).pool() is None
    child.write_predictions(settings, workdir)
    pool = Records(workdir).pool()
    trained = predict.load(workdir)
    assert pool.rows.tolist() == list(range(30))
    np.testing.assert_allclose(
        pool.probabilities, predict_probabilities(trained.model, pixels[..., None]), atol=1e-6
    )
    (workdir / PREDICTIONS).write_bytes(b"of the recipe")  # is not replaced
    child.write_predictions(settings, workdir)
    assert (workdir / PREDICTIONS).read_bytes() == b"of the recipe"
