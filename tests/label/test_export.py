"""The labelling page's downloads: a table of all pictures, and a folder per class."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
from pages import asked, clients, say

from jaxlabel.experiment.labelled.writing import COLUMNS

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import simulate_person


def predict(project, row, shares):
    """Write the run's predictions: one picture, with a probability per class."""
    folder = project.workdir / "artifacts"
    folder.mkdir(exist_ok=True)
    np.savez(folder / "pool.npz", rows=np.array([row]), probabilities=np.array([shares]))


def test_the_table_says_how_each_label_is_known(project):
    inside, _, _ = clients(project)
    first, second, third = asked(inside)[:3]
    say(inside, first, "a/b, c", "ann")
    say(inside, second, "")
    say(inside, third, "dog")
    project.store.buy(project.account, [third], purpose="train", round=0, asked_by="ann@host")
    lines = inside.get("/export/labels.jsonl").text.splitlines()
    rows = {row["item"]: row for row in map(json.loads, lines)}
    assert len(lines) == 41 and tuple(rows[first]) == COLUMNS
    assert (rows[first]["label"], rows[first]["annotator"]) == ("a/b, c", "ann")
    assert rows[first]["known"] == "given" and rows[first]["probability"] == 1
    assert rows[second]["known"] == "not sure" and rows[second]["label"] == ""
    assert rows[third]["known"] == "bought" and rows[third]["annotator"] == "me"
    others = rows.keys() - {first, second, third}
    assert {(rows[item]["label"], rows[item]["known"]) for item in others} == {("", "")}
    fourth = next(item for item in project.items if item in others)
    for shares, known in (([0.25, 0.75], "predicted"), ([0.375, 0.475], "not sure")):
        predict(project, project.rows[fourth], shares)
        table = csv.DictReader(inside.get("/export/labels.csv").text.splitlines())
        row = next(row for row in table if row["item"] == fourth)
        assert (row["label"], row["known"]) == ("dog", known)
        assert float(row["probability"]) == shares[1] and row["annotator"] == ""
        os.utime(project.workdir / "artifacts" / "pool.npz", (0, 0))  # the next has another time


def test_the_simulated_person_reads_the_true_classes_from_the_table(project):
    inside, _, _ = clients(project)
    classes = simulate_person.true_classes(inside.get("/export/labels.csv").text)
    paths = zip(project.items, project.dataset.paths, strict=True)
    assert classes == {item: f"class {Path(path).stem[-1]}" for item, path in paths}


def test_classes_with_similar_names_get_folders_of_their_own(project):
    inside, _, _ = clients(project)
    names = dict(zip(asked(inside), ("a/b", "a:b", "cat"), strict=False))
    for item, name in names.items():
        say(inside, item, name, sure=True)
    place = project.workdir / "page" / "classes"
    for copies in (False, True, False):
        made = inside.post("/api/export", json={"copies": copies}).json()
        assert made == {"count": 3, "folder": str(place)}
        assert sorted(path.name for path in place.iterdir()) == ["a_b", "a_b 2", "cat"]
        for item, folder in zip(names, ("a_b", "a_b 2", "cat"), strict=True):
            (picture,) = (place / folder).iterdir()
            assert picture.is_symlink() != copies
            own = project.dataset.paths[project.rows[item]]
            assert picture.read_bytes() == Path(own).read_bytes()
    assert not place.with_name("classes.part").exists()
