"""Tests of importing labels in a separate process, and of the description of data sets."""

import gzip
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.data import importing
from jaxlabel.data.info import info
from jaxlabel.errors import DataError, JaxlabelError
from jaxlabel.oracle import LabelStore

RNG = np.random.default_rng(2)
pytestmark = pytest.mark.usefixtures("import_in_a_process")


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """An archive with identical images: train 1 = 4 (labels 0, 2), 0 = 5 (label 1), test 1 = 2."""
    train = RNG.integers(0, 256, (6, 9, 9), np.uint8)
    train[4], train[5] = train[1], train[0]
    test = RNG.integers(0, 256, (2, 9, 9), np.uint8)
    test[1] = train[2]
    file = tmp_path / "pairs.npz"
    np.savez(file, x_train=train, y_train=[1, 0, 2, 2, 2, 1], x_test=test, y_test=[0, 2])
    return f"npz:{file}"


def agreement(url: str, dataset: data.Dataset, labels: list[int]) -> float:
    return LabelStore(url).agreement(dataset.name, dataset.train_items, labels)


def test_import_in_a_subprocess(pairs, tmp_path):
    url = f"sqlite:///{tmp_path}/labels.db"
    line = "contradiction: train 1 = train 4 is labelled 0 and 2; 0 is kept"
    assert importing.in_subprocess(pairs, url) == [line]
    assert importing.import_labels(pairs, url) == [line]  # again: nothing changes
    dataset = data.load(pairs)
    assert LabelStore(url).classes("pairs") == ("0", "1", "2")
    assert LabelStore(url).num_labelled("pairs", dataset.train_items) == 6
    assert agreement(url, dataset, [1, 0, 2, 2, 0, 1]) == 1.0
    assert agreement(url, dataset, [1, 0, 2, 2, 2, 1]) == 5 / 6
    # Labels of test images are not imported, except of the one that is also a training image.
    test_items = importing.data.read(pairs, data.Options()).test.items
    assert LabelStore(url).num_labelled("pairs", test_items) == 1


def test_corrected_labels_are_compared_with_the_store_and_store_nothing(pairs, tmp_path):
    url = f"sqlite:///{tmp_path}/labels.db"
    importing.import_labels(pairs, url)
    before = importing.label_files(pairs)
    with np.load(pairs.removeprefix("npz:")) as arrays:
        changed = dict(arrays) | {"y_train": [1, 0, 3, 2, 0, 1]}  # train 2 is now 3, a new class
    np.savez(pairs.removeprefix("npz:"), **changed)
    contradiction, hint = importing.in_subprocess(pairs, url, only_compare=True)
    assert contradiction == "contradiction: train 2 is labelled 2 and 3; 2 is kept"
    assert "name another store (config.store)" in hint
    assert LabelStore(url).classes("pairs") == ("0", "1", "2")
    assert len(before) == 1 and importing.label_files(pairs) != before
    assert importing.label_files("digits") == []


def test_a_data_set_that_contradicts_itself_agrees_with_the_store_that_it_filled(pairs, tmp_path):
    url, full = f"sqlite:///{tmp_path}/labels.db", tmp_path / "all.csv"
    assert len(importing.import_labels(pairs, url)) == 1
    assert importing.import_labels(pairs, url, full=str(full), only_compare=True) == []
    assert not full.exists()
    with np.load(pairs.removeprefix("npz:")) as arrays:
        changed = dict(arrays) | {"y_train": [1, 2, 2, 2, 2, 1]}  # train 1 is now 2, as train 4 is
    np.savez(pairs.removeprefix("npz:"), **changed)
    line, _ = importing.import_labels(pairs, url, full=str(full), only_compare=True)
    assert line == "contradiction: train 1 = train 4 is labelled 0 and 2 (2 times); 0 is kept"
    rows = [row.split(",")[1:] for row in full.read_text().splitlines()[1:]]
    assert rows == [["train 1", "2", "0"], ["train 4", "2", "0"]]


def test_label_files_follow_links_and_patterns(tmp_path, monkeypatch):
    def touched(path: Path, spec: str) -> bool:
        """Return True if the listing of `spec` changes with the modification time of `path`."""
        before = importing.label_files(spec)
        os.utime(path, ns=(7, 7))
        return importing.label_files(spec) != before

    monkeypatch.setenv("HOME", str(tmp_path))
    table, pets, cats = tmp_path / "real.csv", tmp_path / "pets", tmp_path / "cats"
    table.write_text("image,label\n")
    (tmp_path / "link.csv").symlink_to(table)
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere")
    assert touched(table, "csv:~/link.csv")
    assert importing.label_files("csv:~/gone.csv") == []
    (cats / "tabby").mkdir(parents=True)
    pets.mkdir()
    (pets / "cat").symlink_to(cats)
    (cats / "loop").symlink_to(pets)
    assert touched(cats / "tabby", f"folder:{pets}")
    assert [Path(path).name for path, *_ in importing.label_files(f"folder:{pets}")] == [
        "pets", "cat", "loop", "tabby",
    ]  # fmt: skip
    for part in "ab":
        (tmp_path / "shards" / part).mkdir(parents=True)
        (tmp_path / "shards" / part / "000.tar").write_bytes(b"")
    pattern = "webdataset:~/shards/*/000.tar"
    assert len(importing.label_files(pattern)) == 2
    assert touched(tmp_path / "shards" / "b" / "000.tar", pattern)


def test_import_from_a_folder_passes_the_options_on(tmp_path):
    for index, name in enumerate(("dog", "cat", "dog")):
        folder = tmp_path / "pets" / name
        folder.mkdir(parents=True, exist_ok=True)
        pixels = RNG.integers(0, 256, (5 + index, 5, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (tmp_path / "pets" / "cat" / "bad.png").write_bytes(b"")
    url, spec = f"sqlite:///{tmp_path}/labels.db", f"folder:{tmp_path / 'pets'}"
    options = data.Options(image_size=4, folder_labels=True, skip_unreadable=True)
    assert importing.in_subprocess(spec, url, options) == []
    dataset = data.load(spec, options)
    assert LabelStore(url).classes("pets") == ("cat", "dog")
    assert agreement(url, dataset, [0, 1, 1]) == 1.0
    before = importing.label_files(spec)
    (tmp_path / "pets" / "dog" / "0.png").rename(tmp_path / "pets" / "cat" / "0.png")
    assert importing.label_files(spec) != before
    with pytest.raises(DataError, match=r"bad.png cannot be read"):
        importing.import_labels(spec, url, options._replace(skip_unreadable=False))


def test_errors_of_the_subprocess_are_raised_in_the_parent(pairs, capfd, monkeypatch):
    with pytest.raises(JaxlabelError, match="is not valid"):
        importing.in_subprocess(pairs, "nonsense")
    order = {"spec": "idx:/nowhere/at/all", "url": "sqlite://", "options": {}}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(order)))
    assert importing.main() == 2
    output = capfd.readouterr()
    assert output.err == "jaxlabel: idx:/nowhere/at/all: there is no such folder\n"
    assert output.out == ""


def test_corrupt_test_labels_are_found_at_the_start(tmp_path):
    def idx(array: np.ndarray) -> bytes:
        shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
        return gzip.compress(bytes([0, 0, 8, array.ndim]) + shape + array.tobytes())

    images, labels = np.arange(16, dtype=np.uint8).reshape(4, 2, 2), np.zeros(4, np.uint8)
    for stem, found in (("train", labels), ("t10k", labels[1:])):
        (tmp_path / f"{stem}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (tmp_path / f"{stem}-labels-idx1-ubyte.gz").write_bytes(idx(found))
    with pytest.raises(DataError, match="has 3 labels, but t10k-images"):
        importing.import_labels(f"idx:{tmp_path}", "sqlite://")


def test_info_counts_and_names_what_is_identical(pairs, tmp_path):
    text = info(pairs, data.Options(), str(tmp_path / "deep" / "sheet.png"))
    for line in (
        "train          6 images",
        "test           2 images",
        "    0           1 train        1 test",
        "    2           3 train        1 test",
        "identical images within train: 2",
        "  train 0 (1) = train 5 (1)",
        "  train 1 (0) = train 4 (2)",
        "test images that are also in train: 1",
        "  test 1 (2) = train 2 (2)",
        "identical training images with different labels: 1",
    ):
        assert line in text.splitlines()
    with Image.open(tmp_path / "deep" / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    train = data.load(pairs).train_images[..., 0]
    # 9 x 9 pixels are enlarged 6 times: row 0 begins with train 1, row 1 with train 0 and 5.
    rows = [pixels[3 + 57 * row :][:54:6] for row in range(3)]
    left = next(x for x in range(60) if (rows[0][:, x::6][:, :9, 0] == train[1]).all())
    np.testing.assert_array_equal(rows[1][:, left::6][:, :9, 0], train[0])
    np.testing.assert_array_equal(rows[1][:, left + 57 :: 6][:, :9, 0], train[5])
    np.testing.assert_array_equal(rows[2][:, left::6][:, :9, 0], train[2])


def test_info_of_images_without_labels(tmp_path):
    images = RNG.integers(0, 256, (300, 100, 40, 3), np.uint8)
    np.savez(tmp_path / "a.npz", train_images=images)
    text = info(f"npz:{tmp_path / 'a.npz'}", data.Options(), str(tmp_path / "s.png"))
    assert "labels   the source brings none" in text
    assert "classes  unknown" in text
    assert "shape    40 x 100, rgb, uint8" in text
    with Image.open(tmp_path / "s.png") as sheet:  # 14 rows of 14, each 56 high at most
        assert sheet.height == 14 * 59 + 3


def test_class_numbers_with_gaps_are_what_occurs(tmp_path):
    pixels = RNG.integers(0, 256, (6, 5, 5), np.uint8)
    plu, ean = 4011, 4006381333931
    np.savez(
        tmp_path / "fruit.npz", x_train=pixels, y_train=np.array([ean, 7, 7, plu, 7, plu]),
        x_test=pixels[:3], y_test=np.array([7, 55, ean]),
    )  # fmt: skip
    spec, url = f"npz:{tmp_path / 'fruit.npz'}", f"sqlite:///{tmp_path}/labels.db"
    assert data.label_names(spec) == ("7", str(plu), str(ean), "55")
    assert data.load_train_labels(spec).tolist() == [2, 0, 0, 1, 0, 1]
    assert data.load_test_labels(spec).tolist() == [0, 3, 2]  # a class of test images comes last
    assert importing.in_subprocess(spec, url) == []
    assert LabelStore(url).classes("fruit") == ("7", str(plu), str(ean))
    assert agreement(url, data.load(spec), [2, 0, 0, 1, 0, 1]) == 1.0
    text = info(spec, data.Options(), str(tmp_path / "sheet.png"))
    assert "classes  4" in text and f"  {ean}" in text


def test_a_store_that_numbered_classes_without_gaps_keeps_its_order(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=RNG.integers(0, 256, (2, 5, 5), np.uint8), y_train=[2, 0])
    url, spec = f"sqlite:///{tmp_path}/labels.db", f"npz:{tmp_path / 'a.npz'}"
    LabelStore(url).define("a", ["0", "1", "2"])  # as earlier versions did
    importing.import_labels(spec, url)
    assert LabelStore(url).classes("a") == ("0", "1", "2")
    assert agreement(url, data.load(spec), [2, 0]) == 1.0
