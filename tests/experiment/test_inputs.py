"""Runs and predictions on pictures as people bring them."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxlabel.cli import main as cli
from jaxlabel.errors import DataError, LabelsMissing
from jaxlabel.experiment import predict as prediction
from jaxlabel.experiment import run as experiment
from jaxlabel.methods import representatives
from jaxlabel.report import write_report

RNG = np.random.default_rng(8)
QUICK = {"classifier": "dense", "steps": 3, "budget": 6}


def deep_pictures(folder: Path, count: int, scale: int = 1) -> None:
    """Write 12-bit pictures in two folders of classes."""
    for number in range(count):
        picture = RNG.integers(100, 120, (8, 8)).astype(np.uint16)
        picture[:4] += 800 * (number % 2)
        file = folder / ("low", "high")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * scale).astype(np.uint16)).save(file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the directory of a run on 12-bit pictures, and its result."""
    place = tmp_path_factory.mktemp("deep")
    deep_pictures(place / "pictures", 12)
    config = representatives.Config(**QUICK, data=f"folder:{place / 'pictures'}",
                                    folder_labels=True)  # fmt: skip
    return place, experiment.run(config, place / "run")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_rule_of_deep_pictures_is_in_the_result_and_used_in_predict(trained, monkeypatch):
    place, result = trained
    low, high = map(float, result["intensity"].split(":"))
    assert 100 <= low < 120 and 900 <= high < 920
    seen = {}

    def remember(model, images):
        seen["images"] = images
        return np.full((len(images), 2), 0.5)

    monkeypatch.setattr(prediction, "predict_probabilities", remember)
    deep_pictures(place / "new", 4, scale=2)
    said = prediction.predict(place / "run", f"folder:{place / 'new'}", place / "a.csv")
    assert f"{low:.6g} to {high:.6g} are shown as 0 to 255" in said
    assert seen["images"].max() == 255 and seen["images"].min() > 20  # twice as bright as before


def test_predict_has_a_row_for_every_file_of_every_split(trained):
    place, _ = trained
    deep_pictures(place / "split" / "train", 4)
    deep_pictures(place / "split" / "test", 2)
    bad = place / "split" / "test" / "low" / "bad.png"
    bad.write_bytes(b"")
    out, spec = place / "b.csv", f"folder:{place / 'split'}"
    with pytest.raises(DataError, match=r"bad\.png cannot be read"):
        prediction.predict(place / "run", spec, out, split="all")
    words = ["predict", f"--workdir={place / 'run'}", f"--data={spec}", f"--out={out}",
             "--split=all", "--skip_unreadable"]  # fmt: skip
    assert cli.run(words) == 0
    rows = rows_of(out)
    assert [row["split"] for row in rows] == ["train"] * 4 + ["test"] * 3
    assert all(Path(row["file"]).is_file() for row in rows)
    assert all(row["label"] in ("low", "high") and not row["error"] for row in rows[:-1])
    assert (rows[-1]["label"], rows[-1]["file"]) == ("", str(bad)) and rows[-1]["error"]
    assert cli.run(words) == 0  # its own file may be replaced


def test_predict_has_a_row_for_a_row_of_a_table_that_cannot_be_read(trained):
    place, _ = trained
    deep_pictures(place / "listed", 2)
    (place / "listed" / "bad.png").write_bytes(b"")
    names = sorted(str(p.relative_to(place / "listed")) for p in place.glob("listed/**/*.png"))
    (place / "listed" / "all.csv").write_text("\n".join(["path", *names]))
    said = prediction.predict(place / "run", f"csv:{place / 'listed' / 'all.csv'}",
                              place / "e.csv", skip_unreadable=True)  # fmt: skip
    assert "1 that cannot be read have a line without a label" in said
    *good, bad = rows_of(place / "e.csv")
    assert [row["file"] for row in good] == [name for name in names if name != "bad.png"]
    assert (bad["label"], bad["file"]) == ("", "bad.png")
    assert bad["error"] == "not an image format that Pillow can read"


def test_predict_turns_colour_grey_as_the_runs_images_are(trained):
    place, _ = trained
    (place / "colour").mkdir()
    picture = RNG.integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(picture).save(place / "colour" / "a.png")
    said = prediction.predict(place / "run", f"folder:{place / 'colour'}", place / "c.csv")
    assert "converted from rgb to grey" in said and len(rows_of(place / "c.csv")) == 1


def test_predict_names_the_size_of_pictures_that_it_cannot_resize(trained, capsys):
    place, _ = trained
    (place / "sizes").mkdir()
    for side in (8, 9):
        Image.new("L", (side, side)).save(place / "sizes" / f"{side}.png")
    words = ["predict", f"--workdir={place / 'run'}", f"--out={place / 'd.csv'}"]
    assert cli.run([*words, f"--data={place / 'sizes'}"]) == 2
    said = capsys.readouterr().err
    assert "is 9x9; the run used 8x8 grey images without resizing" in said
    assert cli.run([*words, f"--data={place / 'sizes' / '8.png'}"]) == 2
    assert "cannot tell what kind of file" in capsys.readouterr().err
    assert cli.run([*words, f"--data=folder:{place / 'sizes' / '8.png'}"]) == 2
    assert "is a file: name a folder" in capsys.readouterr().err
    assert cli.run([*words, "--data=webdataset:a.tar", "--data=webdataset:b.tar"]) == 2
    assert "--data is given 2 times, the last time as webdataset:b.tar" in capsys.readouterr().err


def test_few_distinct_pictures_are_said_before_anything_is_asked(tmp_path, capsys):
    for number in range(24):
        Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / f"{number}.png")
    config = representatives.Config(**QUICK, data=f"folder:{tmp_path}")
    with pytest.raises(LabelsMissing):
        experiment.run(config, tmp_path / "run")
    said = capsys.readouterr()
    assert "24 pictures, 1 distinct" in said.out + said.err


def test_images_in_an_archive_are_written_as_png_beside_the_questions(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        for number in range(12):
            buffer = io.BytesIO()
            Image.fromarray(RNG.integers(0, 256, (8, 8), np.uint8)).save(buffer, "PNG")
            made.writestr(f"{number}.png", buffer.getvalue())
    config = representatives.Config(**QUICK, data=f"zip:{tmp_path / 'a.zip'}")
    with pytest.raises(LabelsMissing) as stopped:
        experiment.run(config, tmp_path / "a run")
    assert f"jaxlabel answer --workdir='{tmp_path / 'a run'}'" in str(stopped.value)
    with (tmp_path / "a run" / "questions.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        with Image.open(row["file"]) as picture:
            assert picture.size == (8, 8)


def test_images_of_an_array_are_written_as_png_beside_the_questions(tmp_path):
    pixels = RNG.integers(0, 256, (20, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=pixels)
    config = representatives.Config(**QUICK, data=f"npz:{tmp_path / 'a.npz'}")
    with pytest.raises(LabelsMissing):
        experiment.run(config, tmp_path / "run")
    with (tmp_path / "run" / "questions.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        with Image.open(row["file"]) as picture:
            shown = np.asarray(picture)
        assert any((shown == image).all() for image in pixels)
        assert Path(row["file"]).name == f"{row['item']}.png"
    page = (tmp_path / "run" / "report.html").read_text()
    start = page.index("The images that a person is asked about")
    shown = page[start : page.index("</section>", start)]
    assert "not answered yet" in shown and shown.count("data:image/png") == len(rows)
    assert f"not answered yet: {rows[0]['item']}" in shown
    answered = (tmp_path / "run" / "questions.csv").read_text(encoding="utf-8-sig")
    lines = [line + "k&auml;fer" for line in answered.splitlines()[1:3]] + answered.splitlines()[3:]
    (tmp_path / "run" / "questions.csv").write_text("\n".join(["item,file,label", *lines]))
    page = write_report(tmp_path / "run").read_text()
    assert "<h3>k&amp;auml;fer <small>2</small></h3>" in page
    assert page.count("not answered yet: ") == 2 * (len(rows) - 2)  # title and alternative text
