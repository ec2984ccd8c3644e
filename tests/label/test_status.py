"""The numbers beside the picture: the accuracy and the curve of the finished rounds."""

import json

import pytest
from pages import clients

from jaxlabel.label import status
from jaxlabel.label.records import Records


def test_a_guess_of_the_accuracy_is_the_last_round_s_not_that_of_the_finished_model(tmp_path):
    records = Records(tmp_path)
    assert status.accuracy(records) is None
    line = {"phase": "rounds", "step": 1, "labels_spent": 64, "belief": 0.9}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "result.json").write_text(json.dumps({"confidence": 0.99, "labels_spent": 100}))
    found = status.accuracy(records)
    assert found == {"kind": "guess", "low": pytest.approx(0.85), "high": 0.9, "of": "all pictures"}
    assert status.curve(records) == [[64, 0.9]]


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
