"""Runs on features from outside: they work, their results are marked, and no table holds them."""

import csv
import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import jaxlabel
from jaxlabel import data
from jaxlabel.cli import main as cli
from jaxlabel.config import validate
from jaxlabel.errors import DataError, UsageError
from jaxlabel.experiment import outside_features
from jaxlabel.experiment import run as experiment
from jaxlabel.methods import semisup
from jaxlabel.runlog import open_workdir, results

FLAGSHIP = Path(__file__).parents[2] / "configs" / "flagship.py"
TRAIN = 1297  # of the scikit-learn digits
SETTINGS = {"data": "digits", "budget": 40.0, "width": 4, "steps": 100, "learning_rate": 0.02,
            "refinements": 1}  # fmt: skip


def flagship(**changes):
    spec = importlib.util.spec_from_file_location("flagship", FLAGSHIP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config("features", "tiny")
    return dataclasses.replace(config, **{"preset": "tiny"} | SETTINGS | changes)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with files of features: of all digits, of the training digits, of too few."""
    folder = tmp_path_factory.mktemp("features")
    digits = data.load("digits")
    pixels = np.concatenate([digits.train_images, digits.test_images]).reshape(-1, 64) / 16.0
    centred = pixels - pixels.mean(axis=0)
    rows = centred @ np.linalg.svd(centred, full_matrices=False)[2][:16].T
    np.savez(folder / "both.npz", train=rows[:TRAIN] + 5, test=rows[TRAIN:] + 5)
    np.save(folder / "train.npy", rows[:TRAIN])
    np.save(folder / "short.npy", rows[:99])
    return folder


@pytest.fixture(scope="module")
def run(place):
    """Return the directory of a finished run on features of training and test images."""
    workdir = place / "run"
    words = [f"--config.{name}={value}" for name, value in SETTINGS.items()]
    words += [f"--config.features={place / 'both.npz'}", f"--workdir={workdir}"]
    assert cli.run(["train", f"--config={FLAGSHIP}:features", "--config.preset=tiny", *words]) == 0
    return workdir


def result_of(workdir):
    return json.loads((workdir / "result.json").read_text())


def test_a_run_learns_from_the_features_and_every_output_says_so(run, place, capsys):
    result = result_of(run)
    assert result["test_accuracy"] > 0.8 and result["train_label_accuracy"] > 0.8
    assert result["labels_spent"] == 40 and result["config"]["kind"] == "features"
    assert result["features_from_outside"] == {
        "origin": "features from outside", "file": "both.npz", "dimensions": 16
    }  # fmt: skip
    assert result["image_shape"] == [64, 64, 1]
    report = (run / "report.html").read_text()
    assert "Features from outside" in report and "both.npz" in report
    assert "features from outside (both.npz)" in experiment.summary(result, run)
    assert "features from outside" in repr(jaxlabel.load(run))


def test_no_table_of_from_scratch_results_takes_it(run, tmp_path):
    result, path = result_of(run), tmp_path / "a.jsonl"
    assert not results.is_from_scratch(result)
    with pytest.raises(UsageError, match="a run on features from outside is not published"):
        results.append(path, result)
    path.write_text(json.dumps(result) + "\n")  # as if somebody had copied it there
    assert results.read(path) == []
    scratch = {name: value for name, value in result.items() if name != results.MARK}
    scratch["config"] = result["config"] | {"features": ""}
    results.append(path, scratch)
    before = scratch | {"config": {k: v for k, v in scratch["config"].items() if k != "features"}}
    results.append(path, before | {"labels_spent": 39})  # a line of an earlier version
    assert [one["labels_spent"] for one in results.read(path)] == [39]


def test_predictions_take_the_features_of_the_images(run, place, tmp_path, capsys):
    out = tmp_path / "labels.csv"
    words = ["predict", f"--workdir={run}", "--data=digits", f"--out={out}"]
    assert cli.run([*words, f"--features={place / 'both.npz'}"]) == 0
    assert "the model works on features from outside" in capsys.readouterr().out
    with out.open() as file:
        rows = list(csv.DictReader(file))
    labels = data.load_test_labels("digits")
    right = np.mean([row["label"] == str(label) for row, label in zip(rows, labels, strict=True)])
    assert right == pytest.approx(result_of(run)["test_accuracy"])
    with np.load(place / "both.npz") as arrays:
        shares = jaxlabel.load(run).predict_proba(arrays["test"])
    assert [row["label"] for row in rows] == [str(best) for best in shares.argmax(axis=1)]
    refused = {
        (): "name the file with the features of these images",
        (f"--features={place / 'short.npy'}",): "has 99 rows, digits has 1,297 training and 500",
    }
    for more, message in refused.items():
        assert cli.run([*words, *more]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(UsageError, match="pass an array with a row of 16 numbers"):
        jaxlabel.load(run).predict_proba(np.zeros((2, 8, 8), np.uint8))


def test_labels_are_exported_and_the_model_is_not(run, tmp_path, capsys):
    out = tmp_path / "labels.csv"
    assert cli.run(["labels", f"--workdir={run}", f"--out={out}"]) == 0
    with out.open() as file:
        known = [row["known"] for row in csv.DictReader(file)]
    assert len(known) == TRAIN and known.count("bought") == 40
    assert cli.run(["export", f"--workdir={run}", f"--out={tmp_path / 'bundle'}"]) == 2
    assert "learned from features from outside, whose encoder" in capsys.readouterr().err


def test_without_features_of_the_test_images_there_is_no_test_accuracy(place, tmp_path, capsys):
    config = semisup.Config(
        features=str(place / "train.npy"), network="linear", budget=50, steps=60, batch_size=16,
        objective="supervised", learning_rate=0.05,
    )  # fmt: skip
    result = experiment.run(config, tmp_path / "run")
    assert result["test_accuracy"] is None and result["train_label_accuracy"] > 0.7
    assert "no rows for the test images" in capsys.readouterr().err


def test_a_run_is_not_continued_on_other_features(run, place, tmp_path):
    workdir, features = tmp_path / "run", place / "both.npz"
    shutil.copytree(run, workdir)
    (workdir / "result.json").unlink()
    config, content = flagship(features=str(features)), features.read_bytes()
    try:
        np.savez(features, train=np.ones((TRAIN, 3)))
        with pytest.raises(DataError, match="holds other features than when"):
            experiment.run(config, workdir)
        with pytest.raises(DataError, match="all rows are equal"):
            experiment.run(config, tmp_path / "other")
    finally:
        features.write_bytes(content)


def test_features_can_be_corrected_until_the_run_has_an_account(tmp_path):
    path, digits, means = tmp_path / "f.npy", data.load("digits"), []
    config = flagship(features=str(path))
    with open_workdir(tmp_path / "run", {}) as log:
        for shift in (0.0, 5.0):
            np.save(path, np.eye(TRAIN, 2) + shift)
            outside_features.network_inputs(config, digits, tmp_path / "run", log)
            with np.load(tmp_path / "run/artifacts/features_from_outside.npz") as saved:
                means.append(saved["centre"][0])
        np.testing.assert_allclose(np.diff(means), 5, rtol=1e-5)
        (tmp_path / "run" / "run.json").write_text("{}")
        outside_features.network_inputs(config, digits, tmp_path / "run", log)
        np.save(path, np.eye(TRAIN, 2))
        with pytest.raises(DataError, match="holds other features than when"):
            outside_features.network_inputs(config, digits, tmp_path / "run", log)


def test_settings_that_do_not_go_with_features_are_refused(place):
    features = str(place / "train.npy")
    refused = [
        (semisup.Config(features=features), r"takes no network for images \(conv\)"),
        (flagship(contrast_steps=10), "nothing is trained on images"),
        (flagship(features=""), "config.network=hidden works on feature vectors: name their file"),
    ]
    for config, message in refused:
        with pytest.raises(UsageError, match=message):
            validate(config)
