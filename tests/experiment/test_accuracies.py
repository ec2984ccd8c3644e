"""The accuracies of a finished run, whatever labels its data set and its label store have."""

import json
import shutil
import sqlite3

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.data import importing
from jaxlabel.data.info import info
from jaxlabel.errors import DataError, NoLabels
from jaxlabel.experiment import run as experiment
from jaxlabel.methods import representatives
from jaxlabel.predictor import predict_probabilities

pytestmark = pytest.mark.usefixtures("import_in_a_process")
QUICK = {"classifier": "dense", "steps": 3, "budget": 8, "select": "random"}
NAMES = ("end", "top")


@pytest.fixture(autouse=True)
def labels_of_training_images(monkeypatch):
    """Let the recipe also predict the labels of the training images, as medoids and scan do."""

    def run(config, images, *rest):
        predictor = representatives.run(config, images, *rest)
        predicted = predict_probabilities(predictor.model, images).argmax(axis=-1)
        return predictor._replace(train_labels=predicted)

    monkeypatch.setitem(experiment.METHODS, representatives.Config, run)


def write_pictures(place, num_train=16, num_test=4):
    """Write pictures of two kinds, and return pairs of a path and the right label."""
    random, pairs = np.random.default_rng(0), []
    for split, count in (("train", num_train), ("test", num_test)):
        for number in range(count):
            image, path = random.integers(0, 60, (8, 8), np.uint8), f"{split}-{number:02}.png"
            image[: 4 * (number % 2) or 8] += 150
            Image.fromarray(image).save(place / path)
            pairs.append((path, NAMES[number % 2]))
    return pairs


def write_table(place, pairs, unlabelled):
    """Write a table of the pictures, some of them without a label, and return its spec."""
    rows = [f"{path},{path.split('-')[0]},{'' if path in unlabelled else label}"
            for path, label in pairs]  # fmt: skip
    (place / "list.csv").write_text("\n".join(["path,split,label", *rows]))
    return f"csv:{place / 'list.csv'}"


def test_test_pictures_without_labels_give_no_test_accuracy(tmp_path, capsys):
    pairs = write_pictures(tmp_path)
    spec = write_table(tmp_path, pairs, {path for path, _ in pairs if path.startswith("test")})
    assert data.load_train_labels(spec).tolist() == [0, 1] * 8
    with pytest.raises(NoLabels, match="has no test labels"):
        data.load_test_labels(spec)
    assert "the test images have no labels" in info(spec, sheet=str(tmp_path / "sheet.png"))
    result = experiment.run(representatives.Config(**QUICK, data=spec), tmp_path / "run")
    assert result["test_accuracy"] is None and 0 <= result["train_label_accuracy"] <= 1
    said = capsys.readouterr().err
    assert "the test images have no labels: no test accuracy will be measured" in said
    assert "test accuracy:" not in experiment.summary(result, tmp_path / "run")


def test_test_pictures_of_which_some_have_labels_are_refused_before_the_run(tmp_path):
    pairs = write_pictures(tmp_path)
    spec = write_table(tmp_path, pairs, {"test-01.png"})
    advice = r"label every test picture, or none of them \(then no test accuracy is measured\)"
    with pytest.raises(DataError, match=f"list.csv, row 18: test-01.png has no label: {advice}"):
        experiment.run(representatives.Config(**QUICK, data=spec), tmp_path / "run")
    spec = write_table(tmp_path, pairs, {"train-03.png"})
    advice = (
        r"label every training picture, or remove the column \(or the files\) of labels: then a "
        "person is asked"
    )
    with pytest.raises(DataError, match=f"row 4: train-03.png has no label: {advice}"):
        data.load_train_labels(spec)
    assert data.load_test_labels(spec).tolist() == [0, 1, 0, 1]


def test_a_run_on_a_table_of_the_user_is_measured_with_the_labels_of_its_data(tmp_path, capsys):
    pairs = write_pictures(tmp_path)
    spec = write_table(tmp_path, pairs, ())
    with sqlite3.connect(tmp_path / "truth.db") as connection:
        connection.execute("CREATE TABLE truth (file TEXT PRIMARY KEY, class TEXT)")
        connection.executemany("INSERT INTO truth VALUES (?, ?)", pairs)
    connection.close()
    labels = f"sqlite:///{tmp_path / 'truth.db'}?table=truth&id=file&label=class"
    config = representatives.Config(**QUICK, data=spec, labels=labels)
    result = experiment.run(config, tmp_path / "run")
    with np.load(tmp_path / "run" / "artifacts" / "train_labels.npz") as arrays:
        predicted = [result["classes"][label] for label in arrays["labels"]]
    right = [name == label for name, (_, label) in zip(predicted, pairs[:16], strict=True)]
    assert result["train_label_accuracy"] == np.mean(right)
    assert "nan" not in experiment.summary(result, tmp_path / "run")
    # A damaged or half-labelled test split is found after the training, which is not lost.
    write_table(tmp_path, pairs, {"test-01.png"})
    result = experiment.run(config, tmp_path / "again")
    assert result["test_accuracy"] is None
    assert "no test accuracy: csv:" in capsys.readouterr().err
    # Labels in other words than those of the table cannot be compared.
    write_table(tmp_path, [(path, f"the {label}") for path, label in pairs], ())
    result = experiment.run(config, tmp_path / "words")
    assert result["train_label_accuracy"] is None
    saved = json.loads((tmp_path / "words" / "result.json").read_text())
    assert saved["train_label_accuracy"] is None


@pytest.mark.parametrize("test", [None, [-1, -1]])
def test_arrays_of_test_images_may_lack_labels(test, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8)
    arrays = {"x_train": images[:4], "y_train": [0, 1, 0, 1], "x_test": images[4:]}
    np.savez(tmp_path / "a.npz", **arrays, **({} if test is None else {"y_test": test}))
    spec = f"npz:{tmp_path / 'a.npz'}"
    with pytest.raises(NoLabels, match="has no test labels"):
        data.load_test_labels(spec)
    lines = importing.import_labels(spec, f"sqlite:///{tmp_path / 'labels.db'}")
    assert lines == ["the test images have no labels: no test accuracy will be measured"]
    again = importing.import_labels(spec, f"sqlite:///{tmp_path / 'labels.db'}", only_compare=True)
    assert again == []


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_folder_of_test_pictures_may_lack_the_folders_of_classes(kind, tmp_path):
    place = tmp_path / "pets"
    for split in ("train/end", "train/top", "test"):
        (place / split).mkdir(parents=True)
    for path, label in write_pictures(tmp_path):
        split = path.split("-")[0]
        shutil.move(tmp_path / path, place / split / ("" if split == "test" else label) / path)
    options = data.Options(folder_labels=True)

    def spec():
        if kind == "zip":
            shutil.make_archive(str(place), "zip", place)
        return f"folder:{place}" if kind == "folder" else f"zip:{place}.zip"

    dataset = data.load(spec(), options)
    assert dataset.classes == NAMES == data.label_names(spec(), options)
    assert len(dataset.test_images) == 4
    assert data.load_train_labels(spec(), options).tolist() == [0] * 8 + [1] * 8
    with pytest.raises(NoLabels, match="has no test labels"):
        data.load_test_labels(spec(), options)
    (place / "test" / "top").mkdir()
    shutil.move(place / "test" / "test-01.png", place / "test" / "top")
    with pytest.raises(DataError, match=r"test-00.png (has no label|lies in no sub-folder)"):
        data.load(spec(), options)
        data.load_test_labels(spec(), options)
