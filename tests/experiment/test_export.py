"""`jaxlabel export` writes a bundle that jaxlabel and other programs read."""

import csv
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxlabel
from jaxlabel import data
from jaxlabel.cli import main as cli
from jaxlabel.data.images import with_channels
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.experiment import predict as prediction
from jaxlabel.experiment import run as experiment
from jaxlabel.experiment.export import bundle
from jaxlabel.methods import representatives

pytest.importorskip("onnxruntime")
pytest.importorskip("flatbuffers")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "ensemble"
    config = representatives.Config(budget=40, classifier="dense", steps=9, members=2)
    experiment.run(config, workdir)
    return workdir


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundles") / "deep" / "bundle"
    assert cli.run(["export", f"--workdir={finished}", f"--out={out}"]) == 0
    return out


def test_the_bundle_says_what_it_holds(exported, finished):
    names = {path.name for path in exported.iterdir()}
    assert names >= {"model.safetensors", "model.onnx", "model.stablehlo", "config.json",
                     "README.md", "predict.py", "result.json"}  # fmt: skip
    assert "session.json" not in names  # its command may name folders and servers of the user
    settings = json.loads((exported / "config.json").read_text())
    assert (settings["kind"], settings["version"]) == ("jaxlabel bundle", 1)
    assert settings["classes"] == list("0123456789")
    assert settings["image"]["shape"] == [8, 8, 1] and settings["image"]["mode"] == "grey"
    parity = settings["parity"]
    assert parity["images"] == 256 and parity["of"] == "test images"
    assert set(parity["max_difference"]) == set(settings["files"])
    assert max(parity["max_difference"].values()) < 1e-5
    record = json.loads((exported / "result.json").read_text())
    assert record["config"]["store"] == record["config"]["account"] == ""
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: jaxlabel\n")
    accuracy = json.loads((finished / "result.json").read_text())["test_accuracy"]
    assert f"{100 * accuracy:.2f}% of the test images are right" in card
    assert f"metrics: [{{type: accuracy, value: {accuracy:.4f}}}]" in card
    assert "40 labels were bought" in card


def test_jaxlabel_predicts_with_the_bundle_as_with_the_run(exported, finished, tmp_path):
    for place, name in ((finished, "run.csv"), (exported, "bundle.csv")):
        arguments = ["predict", f"--workdir={place}", "--data=digits", f"--out={tmp_path / name}"]
        assert cli.run(arguments) == 0
    assert (tmp_path / "run.csv").read_text() == (tmp_path / "bundle.csv").read_text()
    images = data.load("digits").test_images[:20]
    run, copy = jaxlabel.load(finished), jaxlabel.load(exported)
    assert np.array_equal(run.predict_proba(images), copy.predict_proba(images))
    assert copy.classes == run.classes and copy.labels_spent == 40
    for again in (jaxlabel.load(place.save(tmp_path / "saved")) for place in (run, copy)):
        assert np.array_equal(run.predict_proba(images), again.predict_proba(images))


def test_predict_py_labels_pictures_without_jaxlabel(exported, finished, tmp_path):
    source = (exported / "predict.py").read_text()
    assert "jax" not in source and len(source.splitlines()) < 120
    images = data.load("digits").test_images[:5, ..., 0]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(images[0]).save(pictures / "0.png")
    Image.fromarray(np.repeat(images[1][..., None], 3, -1)).save(pictures / "1.bmp")
    Image.fromarray(images[2].astype(np.uint16) * 257).save(pictures / "2.png")
    Image.fromarray(np.dstack([images[3]] * 4)).save(pictures / "3.png")  # transparent
    (pictures / "note.txt").write_text("no picture")
    done = subprocess.run([sys.executable, exported / "predict.py", pictures],
                          capture_output=True, text=True, check=True)  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    prediction.predict(finished, f"folder:{pictures}", tmp_path / "jaxlabel.csv")
    with (tmp_path / "jaxlabel.csv").open() as file:
        wanted = list(csv.DictReader(file))
    assert len(rows) == len(wanted) == 4
    for row, other in zip(rows, wanted, strict=True):
        assert row["label"] == other["label"]
        assert float(row["probability 3"]) == pytest.approx(float(other["probability 3"]), abs=2e-6)


def test_predict_py_reads_the_same_pixels_as_jaxlabel(exported, tmp_path):
    spec = importlib.util.spec_from_file_location("bundle_predict", exported / "predict.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    random = np.random.default_rng(0)
    shape = random.integers(0, 2, (8, 8), np.uint8) * 255  # the opaque part
    for name, level in (("white", 255), ("light", 230), ("nearly", 229), ("black", 0)):
        drawing = np.dstack([np.full_like(shape, level)] * 3 + [shape])
        Image.fromarray(drawing).save(tmp_path / f"{name}.png")
        Image.fromarray(drawing[..., [0, 3]]).save(tmp_path / f"{name}_grey.png")
        drawing[..., 3] = 100
        Image.fromarray(drawing).save(tmp_path / f"{name}_faint.png")
    grey = random.integers(0, 255, (8, 8), np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png", transparency=int(grey[0, 0]))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    Image.fromarray(grey.astype(np.uint16) * 10).save(tmp_path / "twelve.png")
    script.CONFIG["image"]["intensity"] = "100:2000"
    dataset = data.load(f"folder:{tmp_path}", data.Options(intensity="100:2000"))
    assert len(dataset.paths) == 15
    wanted = with_channels(dataset.train_images, 1)
    for path, image in zip(dataset.paths, wanted, strict=True):
        assert np.array_equal(script.pixels(Path(path)), image), path
    white = script.pixels(tmp_path / "white.png")
    assert np.array_equal(white[..., 0], shape)  # on black, where it can be seen


def test_predict_py_resizes_pictures_with_more_than_8_bits_as_jaxlabel_does(exported, tmp_path):
    spec = importlib.util.spec_from_file_location("bundle_predict", exported / "predict.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    random = np.random.default_rng(0)
    grey = random.integers(0, 255, (40, 30), np.uint8)
    deep = random.integers(100, 1200, (40, 30)).astype(np.uint16)
    deep[random.random(deep.shape) < 0.05] = 60000  # broken pixels, much lighter than HIGH
    floats = deep.astype(np.float32)
    floats[3, 4], floats[20, 20], floats[30, 5] = np.nan, np.inf, -np.inf
    pictures = {
        "deep.png": deep, "same_size.png": deep[:8, :8],
        "sixteen.png": grey.astype(np.uint16) * 257,
        "floats.tif": floats, "floats_same_size.tif": floats[3:11, 4:12],
        "signed.tif": deep.astype(np.int32) * 1000 - 500_000,
    }  # fmt: skip
    for name, values in pictures.items():
        Image.fromarray(values).save(tmp_path / name)
    script.CONFIG["image"] |= {"intensity": "100:2000", "resize": True}
    dataset = data.load(f"folder:{tmp_path}", data.Options(image_size=8, intensity="100:2000"))
    assert len(dataset.paths) == len(pictures)
    for path, image in zip(dataset.paths, dataset.train_images, strict=True):
        assert np.array_equal(script.pixels(Path(path)), image), path


def test_predict_py_says_in_one_line_what_it_cannot_label(exported, tmp_path):
    (tmp_path / ".thumbs").mkdir()
    for name, content in (("._0.png", b"of macOS"), (".thumbs/0.png", b""), ("a.txt", b"")):
        (tmp_path / name).write_bytes(content)

    def call(*places):
        command = [sys.executable, exported / "predict.py", *places]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    assert call(tmp_path) == (1, [], [f"there is no picture in {tmp_path}"])
    wrong = tmp_path / "mistyped"
    assert call(tmp_path, wrong) == (1, [], [f"there is no file or folder {wrong}"])
    (tmp_path / "0.png").write_text("no picture")
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "1.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "2.png")
    code, rows, errors = call(tmp_path)
    assert code == 1 and [row.split(",")[0] for row in rows] == ["file", str(tmp_path / "2.png")]
    assert len(errors) == 3 and errors[2] == "2 of 3 pictures cannot be read"
    assert errors[0].startswith(f"{tmp_path / '0.png'} cannot be read: cannot identify")
    assert errors[1].endswith(
        "1.png cannot be read: it has another size than the model's images, 8x8"
    )


def test_a_network_that_is_exported_wrongly_is_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "compare", lambda *_: {"model.onnx": 2e-4})
    with pytest.raises(JaxlabelError, match=r"model\.onnx differs from the network by 2\.0e-04"):
        bundle.export(finished, tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


def test_wrong_requests_are_refused_before_anything_is_written(finished, exported, tmp_path):
    for formats, message in (("onnx,coreml", "it takes some of"), (",", "is empty")):
        with pytest.raises(UsageError, match=message):
            bundle.export(finished, tmp_path / "out", formats)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for place, message in ((tmp_path / "mine", "no bundle"), (finished, "work directory"),
                           (tmp_path / "mine" / "thesis.txt", "is a file"),
                           (tmp_path / "new" / ".." / "mine", "no bundle")):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            bundle.export(finished, place, "safetensors")
    assert bundle.export(finished, exported, "safetensors").count("model.") == 2
    assert not (exported / "model.onnx").exists()  # the old bundle was replaced


def test_the_private_part_of_a_result_stays_at_home():
    config = {"store": "postgresql://me@host/db", "account": "me", "data": "folder:/home/me/x",
              "labels": "postgresql://me@host/db?table=t", "features": "/home/me/x.npy",
              "seed": 3}  # fmt: skip
    record = bundle.public_record({"config": config, "dataset": "x"})
    empty = dict.fromkeys(("store", "account", "labels", "features"), "")
    assert record["config"] == empty | {"data": "folder:x", "seed": 3}
