"""A run keeps the images of its first start, and a refused run leaves its directory free."""

import csv
import dataclasses

import numpy as np
import pytest
from PIL import Image

import jaxlabel
from jaxlabel import data
from jaxlabel.errors import DataError, LabelsMissing, StoreError, UsageError
from jaxlabel.experiment import questions
from jaxlabel.experiment import run as experiment
from jaxlabel.methods import active
from jaxlabel.runlog.dataset_snapshot import in_first_order

CONFIG = active.Config(
    image_size=8, image_mode="grey", budget=5, network="dense", width=4, batch_size=8, mu=1,
    alignment="none", initial_labels=3, steps=6,
)  # fmt: skip


@pytest.fixture
def pictures(tmp_path):
    folder, random = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(30):
        image = random.integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(image).save(folder / f"{number:02}.png")
    Image.fromarray(image).save(folder / "30.png")  # a copy
    return folder


def read_questions(run):
    with (run / "questions.csv").open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def answer(run):
    rows = read_questions(run)
    with (run / "questions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            row | {"label": row["label"] or "ab"[number % 2]} for number, row in enumerate(rows)
        )
    questions.answer(run)


def test_renaming_a_file_changes_nothing(pictures, tmp_path):
    config, run = dataclasses.replace(CONFIG, data=f"folder:{pictures}"), tmp_path / "run"
    asked, result = set(), None
    for session in range(5):
        try:
            result = experiment.run(config, run)
            break
        except LabelsMissing:
            answer(run)
            asked |= {row["item"] for row in read_questions(run)}
        (pictures / f"{session:02}.png").rename(pictures / f"z{session}.png")
    assert result is not None and result["labels_spent"] == len(asked) == 5
    assert all("z" in row["file"] or int(row["file"][-6:-4]) > 1 for row in read_questions(run))


def have_lunch(indices):
    raise RuntimeError("lunch")


def test_images_keep_the_order_of_the_first_start(pictures, tmp_path):
    spec, run = f"folder:{pictures}", tmp_path / "run"
    began = in_first_order(data.load(spec), spec, run)
    (pictures / "03.png").rename(pictures / "zz.png")
    moved = data.load(spec)
    assert moved.train_items.tolist() != began.train_items.tolist()
    again = in_first_order(moved, spec, run)
    np.testing.assert_array_equal(again.train_images, began.train_images)
    np.testing.assert_array_equal(again.train_items, began.train_items)
    assert [path[-6:] for path in again.paths[:5]] == ["00.png", "01.png", "02.png", "zz.png",
                                                       "04.png"]  # fmt: skip
    with pytest.raises(DataError, match="in another order, but Python code names"):
        in_first_order(moved, spec, run, reorder=False)


def test_python_code_that_goes_by_the_order_is_refused_after_a_renaming(pictures, tmp_path):
    few = {"budget": 5, "image_size": 8, "recipe": "medoids", "autoencoder": "none",
           "workdir": tmp_path / "run"}  # fmt: skip
    with pytest.raises(RuntimeError, match="lunch"):
        jaxlabel.fit(f"folder:{pictures}", have_lunch, **few)
    (pictures / "03.png").rename(pictures / "zz.png")
    with pytest.raises(DataError, match="in another order, but Python"):
        jaxlabel.fit(f"folder:{pictures}", have_lunch, **few)


def test_missing_and_new_images_are_reported(pictures, tmp_path):
    spec, run = f"folder:{pictures}", tmp_path / "run"
    in_first_order(data.load(spec), spec, run)
    content = (pictures / "05.png").read_bytes()
    (pictures / "05.png").unlink()
    (run / "labels.db").touch()
    with pytest.raises(DataError, match=r"\(1 gone, as .*05\.png\).*; config\.store=sqlite:///"):
        in_first_order(data.load(spec), spec, run)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(pictures / "31.png")
    with pytest.raises(DataError, match=r"\(1 gone, as .*05\.png, 1 new, as .*31\.png\)"):
        in_first_order(data.load(spec), spec, run)
    (pictures / "05.png").write_bytes(content)
    (pictures / "31.png").unlink()
    (pictures / "99.png").write_bytes(content)
    with pytest.raises(DataError, match=r"\(1 new, as .*99\.png\)"):  # not the old 05.png
        in_first_order(data.load(spec), spec, run)
    (pictures / "99.png").unlink()
    (pictures / "30.png").unlink()  # one of two copies
    with pytest.raises(DataError, match=r"\(1 gone, as .*30\.png\)"):
        in_first_order(data.load(spec), spec, run)


def test_images_without_files_are_compared_by_a_digest(tmp_path):
    digits = data.load("digits")
    in_first_order(digits, "digits", tmp_path)
    assert in_first_order(digits, "digits", tmp_path) is digits
    assert (tmp_path / "images.json").stat().st_size < 100
    other = digits._replace(train_items=digits.train_items[::-1])
    with pytest.raises(DataError, match=r"digits holds other images than when .* began: make"):
        in_first_order(other, "digits", tmp_path)


def test_the_directory_of_a_refused_run_can_be_reused(tmp_path):
    config = dataclasses.replace(CONFIG, data="digits", image_size=0, image_mode="auto")
    refused = [
        (UsageError, {"budget": 0.0}),
        (StoreError, {"store": "sqlite:////nowhere/labels.db"}),
        (UsageError, {"budget": 20.0, "target": 0.99}),
    ]
    for error, change in refused:
        with pytest.raises(error) as caught:
            experiment.run(dataclasses.replace(config, **change), tmp_path / "run")
        assert "another configuration" not in str(caught.value)  # not that of an earlier one
    assert experiment.run(config, tmp_path / "run")["labels_spent"] == 5
    for _, change in refused:
        match = r"another configuration.*; config\.store=sqlite:///.*run"
        with pytest.raises(UsageError, match=match):
            experiment.run(dataclasses.replace(config, **change), tmp_path / "run")
