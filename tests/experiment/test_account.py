"""A person labels images between two sessions of a run and adds new classes."""

import csv
import dataclasses

import numpy as np
import pytest
from PIL import Image

from jaxlabel.errors import LabelsMissing
from jaxlabel.experiment import questions
from jaxlabel.experiment import run as experiment
from jaxlabel.methods import active, semisup

TINY = {"image_size": 8, "image_mode": "grey", "network": "dense", "width": 4,
        "batch_size": 8, "mu": 1, "alignment": "none"}  # fmt: skip
RECIPES = {
    "active": active.Config(**TINY, budget=5, initial_labels=3, steps=6),
    "semisup": semisup.Config(
        **TINY, budget=9, query="margin", initial_labels=3, rounds=2, steps=12
    ),
}


@pytest.fixture
def pictures(tmp_path):
    random = np.random.default_rng(0)
    for number in range(30):
        image = random.integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    return tmp_path


def answer(run, name):
    """Label all images in questions.csv and return the ids of all images in the file.

    The classes `name`0 and `name`1 alternate.
    """
    path = run / "questions.csv"
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["label"] = row["label"] or f"{name}{number % 2}"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    questions.answer(run)
    return {row["item"] for row in rows}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_class_that_appears_late_loses_no_labels(recipe, pictures, tmp_path, capsys):
    config = dataclasses.replace(RECIPES[recipe], data=f"folder:{pictures}")
    run, asked, result = tmp_path / "run", set(), None
    for session in range(5):
        try:
            result = experiment.run(config, run)
            break
        except LabelsMissing:
            asked = answer(run, f"class {session}, ")
    said = capsys.readouterr()
    assert "starts again: there are classes that it did not know" in said.out + said.err
    assert result is not None and len(result["classes"]) > 2
    assert result["labels_spent"] == len(asked) == config.budget
