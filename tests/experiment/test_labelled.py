"""`jaxlabel labels` writes what is known of each image, and Label Studio's answers come back."""

import csv
import errno
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.cli import main as cli
from jaxlabel.data.dataset import Options
from jaxlabel.data.tables import names_in_source
from jaxlabel.errors import DataError, JaxlabelError, LabelsMissing, UsageError
from jaxlabel.experiment import account, label_table, predict, questions
from jaxlabel.experiment import run as experiment
from jaxlabel.experiment.labelled import labelstudio, writing
from jaxlabel.experiment.labelled.rows import ImageLabels, LabelRow
from jaxlabel.label.project import begin
from jaxlabel.methods import representatives
from jaxlabel.oracle import LabelStore


def draw(folder, count=24):
    """Write dark and light pictures, and return the class of each by its file name."""
    classes = {}
    for number in range(count):
        place = folder / f"{number:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 60 + 120 * (number % 2) + number, np.uint8)).save(place)
        classes[place.name] = "li/ght" if number % 2 else "dark"
    return classes


class Run:
    """A run on a folder whose questions were answered by a person."""

    def __init__(self, root):
        self.pictures, self.workdir = root / "pictures", root / "run"
        self.classes = draw(self.pictures)
        self.config = representatives.Config(data=f"folder:{self.pictures}", budget=4)

    def train(self):
        return experiment.run(self.config, self.workdir)

    def questions(self):
        with pytest.raises(LabelsMissing):
            self.train()
        with (self.workdir / "questions.csv").open() as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("labelled"))
    rows = run.questions()
    for row in rows:
        row["label"] = run.classes[Path(row["file"]).name]
    with (run.workdir / "questions.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    questions.answer(run.workdir)
    run.train()
    return run


def write(run, form, out, **options):
    writing.write_labels(run.workdir, form, str(out), **options)
    return out


def test_the_table_says_how_each_label_is_known(finished, tmp_path):
    arguments = ["labels", f"--workdir={finished.workdir}", f"--out={tmp_path / 'l.csv'}"]
    assert cli.run(arguments) == 0
    with (tmp_path / "l.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == sorted(finished.classes)
    assert {row["label"] for row in rows} == {"dark", "li/ght"}
    bought = [row for row in rows if row["known"] == "bought"]
    assert len(bought) == 4
    for row in bought:
        assert row["label"] == finished.classes[Path(row["file"]).name]
        assert float(row["probability"]) == 1 and "@" in row["annotator"] and "T" in row["time"]
    others = [row for row in rows if row["known"] != "bought"]
    assert all(row["annotator"] == row["time"] == "" for row in others)
    ids = data.load(f"folder:{finished.pictures}").train_items.tolist()
    assert [row["item"] for row in rows] == ids
    write(finished, "csv", tmp_path / "strict.csv", sure="1")
    with (tmp_path / "strict.csv").open() as file:
        strict = [row for row in csv.DictReader(file) if row["known"] != "bought"]
    assert len(strict) == len(others)
    for row in strict:
        assert row["known"] == "not sure" or float(row["probability"]) == 1


def test_json_lines_and_parquet_hold_the_same_rows(finished, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    lines = write(finished, "jsonl", tmp_path / "l.jsonl").read_text().splitlines()
    table = parquet.read_table(write(finished, "parquet", tmp_path / "l.parquet"))
    assert table.to_pylist() == [json.loads(line) for line in lines]
    assert len(lines) == 24 and table.column_names == list(writing.COLUMNS)


def test_a_folder_per_class_is_read_again_with_its_labels(finished, tmp_path):
    out = write(finished, "folders", tmp_path / "links")
    assert sorted(path.name for path in out.iterdir()) == ["dark", "li_ght"]
    assert all(path.is_symlink() for path in out.rglob("*.png"))
    options = Options(folder_labels=True)
    read = data.load(f"folder:{out}", options)
    labels = data.load_train_labels(f"folder:{out}", options)
    classes = dict(zip(read.train_items.tolist(), labels.tolist(), strict=True))
    lines = write(finished, "jsonl", tmp_path / "l.jsonl").read_text().splitlines()
    names = {"dark": 0, "li/ght": 1}
    assert classes == {row["item"]: names[row["label"]] for row in map(json.loads, lines)}
    copied = write(finished, "folders", tmp_path / "copies", copy=True)
    assert not any(path.is_symlink() for path in copied.rglob("*.png"))
    with pytest.raises(UsageError, match="is not an empty directory"):
        write(finished, "folders", out)


def test_an_imagefolder_names_its_files(finished, tmp_path):
    out = write(finished, "imagefolder", tmp_path / "hub")
    with (out / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:3] == ["file_name", "item", "label"]
    assert all((out / row["file_name"]).is_file() for row in rows) and len(rows) == 24
    if importlib.util.find_spec("datasets") is None:
        pytest.skip("needs Hugging Face's datasets")
    script = (  # in a process of its own, because datasets leaves files open
        "import datasets, numpy, sys; "
        "hub = datasets.load_dataset('imagefolder', data_dir=sys.argv[1], cache_dir=sys.argv[2]); "
        "print(list(hub['train']['label']), int(numpy.asarray(hub['train'][3]['image']).max()))"
    )
    done = subprocess.run([sys.executable, "-c", script, out, tmp_path / "cache"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == f"{[row['label'] for row in rows]} 183"


def test_files_with_long_names_or_names_in_other_encodings_are_linked(tmp_path):
    names = ["n" * 251 + ".png", "ä" * 125 + ".png", os.fsdecode(b"caf\xe9.png")]
    shown = [*names[:2], "caf\\xe9.png"]
    rows = []
    for number, name in enumerate(names):
        Image.fromarray(np.full((8, 8), 90 * number, np.uint8)).save(tmp_path / name)
        file = f"{tmp_path}/{shown[number]}"
        rows.append(LabelRow(number, "", file, "train", 1.0, "bought", "", ""))
    labelled = ImageLabels(
        rows, np.zeros((3, 2, 2, 1), np.uint8), ("train", "bus"), "pictures", "folder:x"
    )
    for copy in (False, True):
        out = tmp_path / f"out{copy}"
        writing.write_folders(labelled, out, copy)
        links = sorted((out / "class train").iterdir())
        assert [link.name for link in links] == [
            "000000_" + "n" * 196 + ".png", "000001_" + "ä" * 98 + ".png", "000002_caf\\xe9.png"
        ]  # fmt: skip
        for number, link in enumerate(links):
            assert link.is_symlink() != copy
            assert link.read_bytes() == (tmp_path / names[number]).read_bytes()


def test_a_failure_leaves_no_half_folder(finished, tmp_path, monkeypatch):
    def fail(*_):
        put(*_)
        raise OSError(errno.ENOSPC, "full")

    put = writing.put_picture
    for form in ("folders", "imagefolder", "labelstudio"):
        out = tmp_path / form
        out.mkdir()  # an empty directory may be there
        monkeypatch.setattr(writing, "put_picture", fail)
        with pytest.raises(JaxlabelError, match="no space left"):
            write(finished, form, out, copy=True)
        monkeypatch.undo()
        assert not list(out.iterdir())
        write(finished, form, out, copy=True)
        assert len(list(out.rglob("*.png"))) == 24
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert (tmp_path / "labelstudio" / "root.txt").read_text().strip().endswith("studio/images")


def test_classes_called_as_splits_are_read_again_as_classes(tmp_path):
    names = ["train", "Test", "@eaDir"]
    rows = [LabelRow(k, "", "", name, 1.0, "bought", "", "") for k, name in enumerate(names)]
    images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4, 1)
    writing.write_folders(
        ImageLabels(rows, images, tuple(names), "x", "folder:x"), tmp_path, copy=False
    )
    read = data.load(f"folder:{tmp_path}", Options(folder_labels=True))
    assert read.classes == ("class @eaDir", "class Test", "class train")
    assert len(read.train_images) == 3


def test_classes_get_distinct_folders():
    names = writing.folder_names(["a/b", "a_b", "A:B", "..", "ä"])
    assert names == {"a/b": "a_b", "a_b": "a_b 2", "A:B": "A_B 3", "..": "class", "ä": "ä"}
    long = writing.folder_names(["ä" * 150 + end for end in "xy"])  # 301 bytes each
    assert list(long.values()) == ["ä" * 100, "ä" * 100 + " 2"]


def exported_by_label_studio(tasks, classes):
    """Return Label Studio's JSON export after a person has answered all tasks.

    The keys are those of an export of Label Studio 1.x.
    """
    export = []
    for number, task in enumerate(tasks, 1):
        choice = classes[Path(task["data"]["file"]).name]
        value = {"value": {"choices": [choice]}, "id": "q1", "from_name": "label",
                 "to_name": "image", "type": "choices", "origin": "manual"}  # fmt: skip
        annotation = {"id": number, "completed_by": 1, "result": [value], "was_cancelled": False,
                      "ground_truth": False, "updated_at": "2026-11-28T07:00:00Z"}  # fmt: skip
        export.append({"id": number, "annotations": [annotation], "predictions": [],
                       "data": task["data"], "meta": {}, "project": 1})  # fmt: skip
    return export


def test_label_studio_answers_a_runs_questions(tmp_path):
    run = Run(tmp_path)
    asked = run.questions()
    out = write(run, "labelstudio", tmp_path / "studio")  # before any label is known
    tasks = json.loads((out / "tasks.json").read_text())
    assert len(tasks) == 24 and not any("predictions" in task for task in tasks)
    assert tasks[3]["data"]["image"] == "/data/local-files/?d=03.png"
    assert (out / "root.txt").read_text().strip() == str(run.pictures)
    (tmp_path / "export.json").write_text(json.dumps(exported_by_label_studio(tasks, run.classes)))
    arguments = ["answer", f"--workdir={run.workdir}", f"--labels={tmp_path / 'export.json'}"]
    assert cli.run(arguments) == 0 and cli.run(arguments) == 0  # twice changes nothing
    result = run.train()
    assert result["labels_spent"] == len(asked) == 4
    recorded = json.loads((run.workdir / "run.json").read_text())
    store = LabelStore(account.store_url(recorded["store"], run.workdir))
    names = {task["data"]["item"]: run.classes[Path(task["data"]["file"]).name] for task in tasks}
    for row in store.ledger(recorded["account"]):
        assert row.class_name == names[row.item]
    again = write(run, "labelstudio", tmp_path / "again")
    tasks = json.loads((again / "tasks.json").read_text())
    assert sum("annotations" in task for task in tasks) == 4
    assert sum("predictions" in task for task in tasks) == 20
    assert '<Choice value="li/ght"/>' in (again / "labels.xml").read_text()


def test_label_studios_export_is_read_in_all_its_forms():
    def task(**annotations):
        return {"data": {"item": "a", "file": "a.png"}, **annotations}

    def chosen(name, **more):
        return {"result": [{"type": "choices", "value": {"choices": [name]}}], **more}

    assert labelstudio.answers([task(annotations=[])]) == [("a", "a.png", "")]
    skipped = task(annotations=[chosen("x", was_cancelled=True)])
    assert labelstudio.answers([skipped]) == [("a", "a.png", "")]
    several = task(annotations=[chosen("old", updated_at="2026-01-01"),
                                chosen("new", updated_at="2026-02-01")])  # fmt: skip
    assert labelstudio.answers([several])[0][2] == "new"
    several["annotations"][0]["ground_truth"] = True
    assert labelstudio.answers([several])[0][2] == "old"
    assert labelstudio.answers([{"item": "b", "label": "cat"}]) == [("b", "", "cat")]  # JSON-MIN
    with pytest.raises(DataError, match=r"task 1 has no data\.item"):
        labelstudio.answers([{"data": {"image": "a.png"}, "annotations": []}])
    with pytest.raises(DataError, match="task 1 has 2 classes"):
        labelstudio.answers([{"item": "b", "label": {"choices": ["cat", "dog"]}}])
    with pytest.raises(DataError, match="is no list of tasks"):
        labelstudio.answers({"tasks": []})


def test_images_without_files_are_written_as_pictures(tmp_path):
    config = representatives.Config(budget=20)
    experiment.run(config, tmp_path / "digits")
    out = tmp_path / "folders"
    message = writing.write_labels(tmp_path / "digits", "folders", str(out))
    assert message.startswith(f"{out}: 1297 images, 20 bought")
    ids = data.load("digits").train_items
    read = data.load(f"folder:{out}")
    assert sorted(read.train_items.tolist()) == sorted(ids.tolist())
    for form, sure, wrong in (("xls", "0.5", "--format=xls"), ("csv", "high", "--sure=high"),
                              ("csv", "nan", "--sure=nan"), ("csv", "5", "--sure=5")):  # fmt: skip
        with pytest.raises(UsageError, match=wrong):
            writing.write_labels(tmp_path / "digits", form, sure=sure)
    with pytest.raises(UsageError, match="has asked for no label yet"):
        writing.write_labels(tmp_path, "csv", str(tmp_path / "l.csv"))


def test_files_are_named_as_in_the_users_own_table(tmp_path, monkeypatch):
    draw(tmp_path / "shop" / "0")
    names = [f"0/{number:02d}.png" for number in range(23)] + [str(tmp_path / "shop/0/23.png")]
    rows = [("path", "label"), *((name, "ab"[number % 2]) for number, name in enumerate(names))]
    with (tmp_path / "shop/list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    monkeypatch.chdir(tmp_path)
    config = representatives.Config(data="csv:shop/list.csv", budget=4, select="random")
    experiment.run(config, tmp_path / "run")
    writing.write_labels(tmp_path / "run", "csv", "labels.csv")
    predict.predict(tmp_path / "run", config.data, tmp_path / "predicted.csv")
    writing.write_labels(tmp_path / "run", "labelstudio", "tasks")
    for table in ("labels.csv", "predicted.csv"):
        with open(table) as file:
            assert [row["file"] for row in csv.DictReader(file)] == names
    tasks = json.loads((tmp_path / "tasks/tasks.json").read_text())
    assert [task["data"]["file"] for task in tasks] == names
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    run, there = tmp_path / "run", f"was started in {tmp_path}, and its data have a relative path"
    with pytest.raises(DataError, match=f"shop/list.csv cannot be read: .*; {run} {there}"):
        writing.write_labels(run, "csv", "labels.csv")
    with pytest.raises(DataError, match=there):
        assert "unknown" in questions.LabelableImages(run)
    (run / "result.json").rename(tmp_path / "result.json")
    with pytest.raises(DataError, match=there):
        experiment.run(config, run)
    with pytest.raises(DataError, match=there):
        begin(config, run)
    (tmp_path / "result.json").rename(run / "result.json")
    monkeypatch.chdir(tmp_path)
    # the cells are relative to the table, and must not be taken for files of this directory
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "00.png").write_bytes(b"another picture")
    writing.write_labels(tmp_path / "run", "imagefolder", "copies")
    assert len(data.load(f"folder:{tmp_path / 'copies'}").train_images) == 24
    dataset = data.load(config.data)
    assert label_table.picture_ids(config.data, dataset, "path") == names
    inside = names_in_source("webdataset:a.tar", ["a.tar/00001/x/7.png"])
    assert inside == ("x/7.png",)
    assert names_in_source("folder:a", ["a/000/7.png"]) == ("a/000/7.png",)
    assert names_in_source("parquet:a", ["a/000000000/"]) == ("a/000000000/",)


def test_a_bought_label_is_corrected_by_a_run_in_another_directory(finished, tmp_path):
    writing.write_labels(finished.workdir, "csv", str(tmp_path / "labels.csv"))
    with (tmp_path / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["known"] == "bought"]
    rows[0]["label"] = "corrected"
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _, refusal = questions.answer(finished.workdir, str(tmp_path / "labels.csv"))
    assert "line 2 says corrected, it is" in refusal and "'A label was wrong'" in refusal
    again = tmp_path / "again"
    with pytest.raises(LabelsMissing):
        experiment.run(finished.config, again)
    message, refusal = questions.answer(again, str(tmp_path / "labels.csv"))
    assert "4 answers stored" in message and not refusal
    result = experiment.run(finished.config, again)
    assert result["labels_spent"] == 4 and "corrected" in result["classes"]
