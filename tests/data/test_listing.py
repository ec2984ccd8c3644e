"""Every file of a folder is counted, and what is taken for what is said."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.data import importing, listing
from jaxlabel.data.info import info
from jaxlabel.errors import DataError

RNG = np.random.default_rng(6)
LABELLED = data.Options(folder_labels=True)


def save(file: Path, ending: str = "PNG") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (8, 8), np.uint8)).save(file, ending)
    return file


def names(dataset: data.Dataset, root: Path) -> list[str]:
    return [Path(path).relative_to(root).as_posix() for path in dataset.paths]


def test_a_class_called_train_beside_others_is_a_class(tmp_path):
    for name in ("bus", "train", "test", "val"):
        save(tmp_path / name / "1.png")
    dataset = data.load(f"folder:{tmp_path}", LABELLED)
    assert dataset.classes == ("bus", "test", "train", "val")
    assert data.load_train_labels(f"folder:{tmp_path}", LABELLED).tolist() == [0, 1, 2, 3]
    assert len(dataset.test_images) == 0
    assert any("test/, train/, val/ beside bus/" in note for note in dataset.notes)


@pytest.mark.parametrize("train, val, test", [
    ("train", "valid", "test"), ("Train", "val", "Test"), ("training", "validation", "TEST"),
])  # fmt: skip
def test_splits_in_other_spellings(tmp_path, train, val, test):
    for split, count in ((train, 3), (val, 2), (test, 1)):
        for number in range(count):
            save(tmp_path / split / ("cat", "dog")[number % 2] / f"{number}.png")
    dataset = data.load(f"folder:{tmp_path}", LABELLED)
    assert (len(dataset.train_images), len(dataset.test_images)) == (5, 1)
    assert dataset.classes == ("cat", "dog")
    assert dataset.test_paths == (f"{tmp_path}/{test}/cat/0.png",)
    said = "\n".join(dataset.notes)
    assert f"to train: 5 pictures of {train}/ and {val}/ (the validation pictures join" in said
    assert f"to test: 1 of {test}/" in said


def test_the_work_directory_of_a_run_is_left_out(tmp_path):
    exported = save(tmp_path / "runs" / "mine" / "page" / "classes" / "cat" / "0.png").parent.parent
    save(tmp_path / "a.png")
    assert len(data.load(f"folder:{tmp_path}").paths) == 2
    for name in ("config.json", ".lock"):
        (tmp_path / "runs" / "mine" / name).touch()
    dataset = data.load(f"folder:{tmp_path}")
    assert names(dataset, tmp_path) == ["a.png"]
    assert dataset.notes[0].endswith("4 files, 1 of them pictures; left out: 3 in work directories "
                                     "of runs")  # fmt: skip
    for folder in (exported, tmp_path / "runs" / "mine"):  # the user names it
        assert names(data.load(f"folder:{folder}", LABELLED), exported)[0] == "cat/0.png"


def test_a_test_folder_alone_is_the_data_set(tmp_path):
    save(tmp_path / "test" / "a.png")
    assert names(data.load(f"folder:{tmp_path}"), tmp_path) == ["test/a.png"]


def test_every_file_is_counted_by_the_reason_why_it_is_left_out(tmp_path):
    for name in ("a.png", "@eaDir/a.png", "x/#recycle/b.png", "$RECYCLE.BIN/c.png",
                 "lost+found/d.png", ".Trashes/e.png", "__MACOSX/._a.png", "x/._b.png",
                 ".hidden.png", ".hidden/f.png"):  # fmt: skip
        save(tmp_path / name)
    for name in ("Thumbs.db", "raw.NEF", "raw2.nef", "photo.jp2", "notes.txt", "README"):
        (tmp_path / name).write_bytes(b"something else")
    dataset = data.load(f"folder:{tmp_path}")
    assert names(dataset, tmp_path) == ["a.png"]
    note = dataset.notes[0]
    for part in ("16 files, 1 of them pictures", "8 files of the operating system or network",
                 "2 hidden", "2 .nef", "1 .jp2", "1 .txt",
                 "1 without an extension, of no known format"):  # fmt: skip
        assert part in note, note
    assert note in info(f"folder:{tmp_path}", data.Options(), str(tmp_path / "s" / "sheet.png"))


def test_heic_names_the_extra_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "heif_is_readable", lambda: False)
    save(tmp_path / "a.png")
    (tmp_path / "b.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    assert "1 .heic (pip install 'jaxlabel[heif]'" in data.load(f"folder:{tmp_path}").notes[0]


def test_files_without_an_extension_are_known_by_their_content(tmp_path):
    for number, kind in enumerate(("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")):
        save(tmp_path / f"kind{number}", kind)
    save(tmp_path / "series.0001", "PNG")
    (tmp_path / "LICENSE").write_text("BM is no bitmap\n")
    dataset = data.load(f"folder:{tmp_path}", data.Options(image_mode="grey"))
    assert len(dataset.paths) == 8 and not any("LICENSE" in path for path in dataset.paths)


def test_a_folder_without_permission_is_an_error_as_a_file_is(tmp_path, monkeypatch, caplog):
    save(tmp_path / "a.png")
    save(tmp_path / "secret" / "b.png")
    scandir = os.scandir

    def refuse(place):
        if str(place).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root, who may enter
    with pytest.raises(DataError, match=r"secret cannot be read \(Permission denied\)"):
        data.load(f"folder:{tmp_path}")
    dataset = data.load(f"folder:{tmp_path}", data.Options(skip_unreadable=True))
    assert [one.file for one in dataset.unread] == [f"{tmp_path}/secret"]
    assert "secret" in caplog.text


def test_many_unreadable_files_are_counted_not_listed(tmp_path, caplog):
    save(tmp_path / "ok.png")
    for number in range(25):
        (tmp_path / f"{number}.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "jaxlabel"):
        dataset = data.load(f"folder:{tmp_path}", data.Options(skip_unreadable=True))
    assert len(dataset.unread) == 25 and len(caplog.records) == 11
    assert "25 files or folders cannot be read" in "\n".join(dataset.notes)


def test_sub_folders_whose_names_look_the_same_are_refused(tmp_path):
    save(tmp_path / "K\u00e4fer" / "1.png")
    save(tmp_path / "Ka\u0308fer" / "2.png")
    with pytest.raises(DataError, match="look the same"):
        data.load(f"folder:{tmp_path}", LABELLED)


def test_letters_in_both_cases_are_two_classes_and_a_line_says_so(tmp_path):
    save(tmp_path / "A" / "1.png")
    save(tmp_path / "a" / "2.png")
    dataset = data.load(f"folder:{tmp_path}", LABELLED)
    assert dataset.classes == ("A", "a")
    assert any("'A' and 'a' differ only" in note for note in dataset.notes)


def test_a_flood_of_identical_pictures_is_one_short_line(tmp_path):
    blank = save(tmp_path / "p" / "x" / "0.png").read_bytes()
    (tmp_path / "p" / "y").mkdir()
    for number in range(40):
        (tmp_path / "p" / "xy"[number % 2] / f"{number}.png").write_bytes(blank)
    full, spec = tmp_path / "all.csv", f"folder:{tmp_path / 'p'}"
    lines = importing.import_labels(spec, f"sqlite:///{tmp_path}/l.db", LABELLED, str(full))
    assert len(lines) == 2 and max(map(len, lines)) < 400 + 3 * len(str(tmp_path))
    assert "(and 37 more) is labelled x and y (20 times); x is kept" in lines[0]
    assert lines[1] == f"all contradictory labels are in {full}"
    assert len(full.read_text().splitlines()) == 41
    text = info(spec, LABELLED, str(tmp_path / "sheet.png"))
    assert "and 30 more" in text


def test_validation_images_of_an_archive_join_the_training_images(tmp_path):
    pixels = RNG.integers(0, 256, (9, 5, 5), np.uint8)
    np.savez(
        tmp_path / "a.npz", train_images=pixels[:4], train_labels=[0, 1, 0, 1],
        val_images=pixels[4:7], val_labels=[1, 1, 0], test_images=pixels[7:], test_labels=[0, 1],
        weights=np.zeros(3),
    )  # fmt: skip
    spec = f"npz:{tmp_path / 'a.npz'}"
    dataset = data.load(spec)
    np.testing.assert_array_equal(dataset.train_images[..., 0], pixels[:7])
    assert data.load_train_labels(spec).tolist() == [0, 1, 0, 1, 1, 1, 0]
    said = "\n".join(dataset.notes)
    assert "4 training images and 3 validation images" in said and "not read: weights" in said
