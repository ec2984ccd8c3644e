import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data, train
from jaxlabel.certificate.interval import wilson_interval
from jaxlabel.cli import main as cli
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.experiment import predict as prediction
from jaxlabel.experiment import run as experiment
from jaxlabel.methods import active, medoids, representatives, scan

RUNS = {
    "medoids": medoids.Config(budget=1, autoencoder="none", space="codes", classifier_steps=9),
    "logistic": representatives.Config(budget=40, features="distances", centres=30),
    "ensemble": representatives.Config(budget=40, classifier="dense", steps=9, members=2),
    "active": active.Config(
        budget=20,
        network="dense",
        width=8,
        initial_labels=20,
        steps=9,
        batch_size=16,
    ),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/labels.db"


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", RUNS)
def test_a_loaded_model_predicts_as_the_run_did_without_training(
    name, store, tmp_path, capsys, monkeypatch
):
    workdir, out = tmp_path / "run", tmp_path / "deep" / "labels.csv"
    result = experiment.run(dataclasses.replace(RUNS[name], store=store), workdir)
    monkeypatch.setattr(train, "fit", None)
    monkeypatch.setattr(train, "init", None)
    arguments = ["predict", f"--workdir={workdir}", "--data=digits", f"--out={out}"]
    assert cli.run(arguments) == 0
    assert f"500 images of digits (test) labelled by {workdir}" in capsys.readouterr().out
    rows = rows_of(out)
    labels = data.load_test_labels("digits")
    right = np.mean([row["label"] == str(label) for row, label in zip(rows, labels, strict=True)])
    assert right == pytest.approx(result["test_accuracy"], abs=1e-9)
    assert result["test_accuracy_interval"] == list(wilson_interval(round(500 * right), 500))
    shares = np.array([[float(row[f"probability {c}"]) for c in range(10)] for row in rows])
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert [row["label"] for row in rows] == [str(i) for i in shares.argmax(axis=1)]
    assert [float(row["probability"]) for row in rows] == shares.max(axis=1).tolist()


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "logistic"
    experiment.run(representatives.Config(budget=30, store=store), workdir)
    return workdir


def test_a_folder_of_images_is_labelled_file_by_file(finished, tmp_path):
    digits = data.load("digits").test_images[:3]
    for number, image in enumerate(digits):
        path = tmp_path / "new" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    arguments = [f"--workdir={finished}", f"--data={tmp_path / 'new'}", f"--out={tmp_path}/new.csv"]
    assert cli.run(["predict", *arguments]) == 0  # a bare path stands for folder:PATH
    prediction.predict(finished, "digits", tmp_path / "all.csv", split="all")
    new, every = rows_of(tmp_path / "new.csv"), rows_of(tmp_path / "all.csv")
    assert [row["file"].split("/")[-1] for row in new] == ["0.png", "1.png", "2.png"]
    assert [row["split"] for row in every] == ["train"] * 1297 + ["test"] * 500
    for row, known in zip(new, every[1297:], strict=False):
        assert (row["label"], row["probability"]) == (known["label"], known["probability"])


def test_a_run_with_folder_labels_predicts_images_without_labels(tmp_path):
    for number in range(24):
        name = "light" if number % 2 else "dark"
        image = np.full((8, 8), 60 + 120 * (number % 2) + number, np.uint8)
        for place in (tmp_path / "known" / name, tmp_path / "new"):
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{number}.png")
    config = representatives.Config(data=f"folder:{tmp_path / 'known'}", folder_labels=True,
                                    budget=4)  # fmt: skip
    experiment.run(config, tmp_path / "run")
    prediction.predict(tmp_path / "run", f"folder:{tmp_path / 'new'}", tmp_path / "new.csv")
    rows = rows_of(tmp_path / "new.csv")
    assert len(rows) == 24
    for row in rows:
        assert row["label"] == ("light" if int(Path(row["file"]).stem) % 2 else "dark")
    for part in (tmp_path / "run/checkpoints/predictor/0/default").rglob("*"):
        if part.is_file():
            part.write_bytes(b"")
    with pytest.raises(JaxlabelError, match="holds no model"):
        prediction.load(tmp_path / "run")
    assert (tmp_path / "run/checkpoints/predictor/0").is_dir()  # whoever only reads removes nothing


def test_wrong_prediction_requests_are_refused_with_one_line(finished, tmp_path):
    with pytest.raises(UsageError, match="holds no finished run"):
        prediction.load(tmp_path)
    np.savez(tmp_path / "wide.npz", x_train=np.zeros((4, 8, 9), np.uint8))
    with pytest.raises(UsageError, match="images of 9x8 grey, the run learned from 8x8 grey"):
        prediction.predict(finished, f"npz:{tmp_path / 'wide.npz'}", tmp_path / "x.csv")
    for place, message in (("", r"--out=\. is a folder"), (tmp_path, "is a folder: name a file")):
        with pytest.raises(UsageError, match=message):
            prediction.predict(finished, "digits", Path(place))
    (tmp_path / "mine.csv").write_text("file,label\n1.png,cat\n")
    with pytest.raises(UsageError, match=r"mine\.csv exists and does not hold predictions"):
        prediction.predict(finished, "digits", tmp_path / "mine.csv")
    with pytest.raises(JaxlabelError, match=r"Not a directory|File exists"):
        prediction.predict(finished, "digits", tmp_path / "mine.csv" / "x.csv")
    with pytest.raises(UsageError, match="--split=tset: it takes one of test, train, all"):
        prediction.predict(finished, "digits", tmp_path / "x.csv", split="tset")
    np.savez(tmp_path / "train.npz", x_train=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(UsageError, match="has no test images"):
        prediction.predict(
            finished, f"npz:{tmp_path / 'train.npz'}", tmp_path / "x.csv", split="test"
        )
    result = json.loads((finished / "result.json").read_text())
    for change, message in (
        ({"method": "no such"}, "another version of jaxlabel: its method is no such"),
        ({"config": {"colour": 1}}, "another version of jaxlabel: .*colour"),
    ):
        (tmp_path / "result.json").write_text(json.dumps(result | change))
        with pytest.raises(UsageError, match=message):
            prediction.load(tmp_path)
    (tmp_path / "result.json").write_text(json.dumps(result))
    with pytest.raises(JaxlabelError, match="holds no model"):
        prediction.load(tmp_path)


def test_a_setting_without_limit_is_read_again():
    settings = {"budget": None, "minutes": 30.0, "kind": "digits"}
    loaded = prediction._todays_settings(scan.Config, settings, Path("run"))
    assert loaded == settings | {"budget": float("inf")}
