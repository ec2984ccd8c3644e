"""Tests of the reader of folders: image sizes, modes, sub-folders, and unreadable files."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.data import identity
from jaxlabel.data.dataset import DEFAULTS
from jaxlabel.data.decoding import read_picture
from jaxlabel.errors import DataError
from jaxlabel.oracle import write_questions

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (6, 8, 8), np.uint8)
COLOUR = RNG.integers(0, 256, (8, 8, 3), np.uint8)


def save(array: np.ndarray, file: Path, **options: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file, **options)
    return file


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for name, image in zip(("b.png", "a/z.PNG", "a/c.bmp", "c/d/e.tif"), GREY, strict=False):
        save(image, tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    save(GREY[5], tmp_path / ".hidden" / "x.png")
    return tmp_path


def message(spec: str, options: data.Options = DEFAULTS) -> str:
    with pytest.raises(DataError) as error:
        data.load(spec, options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_all_images_below_a_folder_are_read_in_sorted_order(flat):
    dataset = data.load(f"folder:{flat}")
    assert [str(Path(p).relative_to(flat)) for p in dataset.paths] == [
        "a/c.bmp", "a/z.PNG", "b.png", "c/d/e.tif",
    ]  # fmt: skip
    np.testing.assert_array_equal(dataset.train_images[..., 0], GREY[[2, 1, 0, 3]])
    assert dataset.train_items.tolist() == identity.item_ids(GREY[[2, 1, 0, 3], ..., None]).tolist()
    assert (dataset.kind, dataset.classes, len(dataset.test_images)) == ("unknown", (), 0)
    assert not data.has_labels(f"folder:{flat}")
    with pytest.raises(DataError, match="has no labels: set folder_labels"):
        data.load_train_labels(f"folder:{flat}")


def test_a_file_name_that_is_not_utf_8_is_escaped(tmp_path, caplog):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    save(GREY[0], folder / os.fsdecode(b"\xe8.png"))
    (folder / os.fsdecode(b"z\xff.png")).write_bytes(b"")
    options = DEFAULTS._replace(folder_labels=True, skip_unreadable=True)
    dataset = data.load(f"folder:{tmp_path}", options)
    assert dataset.paths == (f"{tmp_path}/caf\\xe9/\\xe8.png",)
    assert dataset.classes == ("caf\\xe9",) and caplog.text.isascii()
    write_questions(tmp_path / "questions.csv", dataset.train_items, dataset.paths)
    assert "caf\\xe9" in (tmp_path / "questions.csv").read_text(encoding="utf-8")


def test_train_and_test_with_sub_folders_as_labels(tmp_path):
    files = ("train/dog/1.png", "train/cat/2.png", "train/dog/sub/3.png", "test/dog/4.png",
             "test/cat/5.png", "6.png")  # fmt: skip
    for file, image in zip(files, GREY, strict=True):
        save(image, tmp_path / file)
    (tmp_path / "notes").mkdir()  # without images, it is no class
    spec, options = f"folder:{tmp_path}", data.Options(folder_labels=True)
    dataset = data.load(spec, options)
    np.testing.assert_array_equal(dataset.train_images[..., 0], GREY[[1, 0, 2]])
    np.testing.assert_array_equal(dataset.test_images[..., 0], GREY[[4, 3]])
    assert dataset.classes == ("cat", "dog")
    assert data.load_train_labels(spec, options).tolist() == [0, 1, 1]
    assert data.load_test_labels(spec, options).tolist() == [0, 1]
    assert data.load(spec).classes == ()
    save(GREY[0], tmp_path / "train" / "stray.png")
    with pytest.raises(DataError, match=r"stray.png lies in no sub-folder"):
        data.load_train_labels(spec, options)


def test_a_test_folder_beside_loose_images_is_not_trained_on(tmp_path):
    save(GREY[0], tmp_path / "a.png")
    save(GREY[1], tmp_path / "test" / "b.png")
    dataset = data.load(f"folder:{tmp_path}")
    np.testing.assert_array_equal(dataset.train_images[..., 0], GREY[:1])
    np.testing.assert_array_equal(dataset.test_images[..., 0], GREY[1:2])


def test_images_are_converted_to_one_size_and_mode(tmp_path):
    save(GREY[0], tmp_path / "a.png")
    save(np.full((30, 20, 3), (200, 100, 50), np.uint8), tmp_path / "b.png")
    spec = f"folder:{tmp_path}"
    text = message(spec)
    assert f"{tmp_path}/a.png is 8x8, {tmp_path}/b.png is 20x30: set image_size" in text
    colour = data.load(spec, data.Options(image_size=6))
    assert colour.train_images.shape == (2, 6, 6, 3)
    assert np.ptp(colour.train_images[0], axis=-1).max() == 0
    np.testing.assert_array_equal(
        colour.train_images[1], np.broadcast_to((200, 100, 50), (6, 6, 3))
    )
    grey = data.load(spec, data.Options(image_size=6, image_mode="grey"))
    assert grey.train_images.shape == (2, 6, 6, 1)
    assert set(grey.train_images[1].ravel().tolist()) == {124}  # .299 r + .587 g + .114 b
    assert grey.train_items.tolist() == colour.train_items.tolist()


def test_files_of_each_colour_mode_are_decoded(tmp_path):
    def encode_and_decode(array_or_image, name: str = "x.png", **options: object) -> np.ndarray:
        image = (
            Image.fromarray(array_or_image)
            if isinstance(array_or_image, np.ndarray)
            else array_or_image
        )
        image.save(tmp_path / name, **options)
        return read_picture(tmp_path / name).pixels

    np.testing.assert_array_equal(encode_and_decode(GREY[0])[..., 0], GREY[0])
    np.testing.assert_array_equal(encode_and_decode(COLOUR), COLOUR)
    np.testing.assert_array_equal(
        encode_and_decode(GREY[0].astype(np.uint16) * 257)[..., 0], GREY[0]
    )  # 16-bit grey
    np.testing.assert_array_equal(
        encode_and_decode(GREY[0] > 127)[..., 0], (GREY[0] > 127) * 255
    )  # 1 bit
    palette = Image.fromarray(COLOUR // 64 * 64).convert("RGB").quantize(64)
    np.testing.assert_array_equal(encode_and_decode(palette), np.asarray(palette.convert("RGB")))
    alpha = np.dstack([COLOUR, np.full((8, 8), 255, np.uint8)])
    np.testing.assert_array_equal(encode_and_decode(alpha), COLOUR)
    alpha[..., 3] = 0
    np.testing.assert_array_equal(
        encode_and_decode(alpha), np.full((8, 8, 3), 255)
    )  # transparent: white
    turned = Image.Exif()
    turned[0x0112] = 6  # taken with the camera on its side
    upright = encode_and_decode(Image.fromarray(COLOUR[:4]), exif=turned)
    np.testing.assert_array_equal(upright, np.rot90(COLOUR[:4], -1))
    smooth = np.tile(np.arange(0, 128, 8, dtype=np.uint8), (16, 1))
    jpeg = encode_and_decode(smooth, "x.jpg", quality=95)
    assert jpeg.shape == (16, 16, 1)
    assert np.abs(jpeg[..., 0].astype(int) - smooth).max() <= 3


def test_the_same_image_as_grey_and_as_colour_file_is_one_item(tmp_path):
    save(GREY[0], tmp_path / "a.png")
    save(np.repeat(GREY[0][..., None], 3, -1), tmp_path / "b.bmp")
    dataset = data.load(f"folder:{tmp_path}")
    assert len(set(dataset.train_items)) == 1
    assert dataset.train_images.shape == (2, 8, 8, 1)


def test_unreadable_images_are_named_and_skipped_only_if_allowed(flat, caplog):
    whole = save(GREY[4], flat / "ok.png").read_bytes()
    broken = {"a/text.jpg": b"hello", "cut.png": whole[: len(whole) // 2], "empty.gif": b""}
    spec = f"folder:{flat}"
    for name, content in broken.items():
        (flat / name).write_bytes(content)
        text = message(spec)
        assert f"{flat}/{name} cannot be read (" in text
        assert "set skip_unreadable to skip such files" in text
        (flat / name).unlink()
    for name, content in broken.items():
        (flat / name).write_bytes(content)
    with caplog.at_level(logging.WARNING, "jaxlabel"):
        dataset = data.load(spec, data.Options(skip_unreadable=True))
    assert sorted(Path(r.args[0]).name for r in caplog.records) == [
        "cut.png",
        "empty.gif",
        "text.jpg",
    ]
    assert [Path(p).name for p in dataset.paths] == ["c.bmp", "z.PNG", "b.png", "e.tif", "ok.png"]


def test_labels_stay_beside_their_images_when_some_are_skipped(tmp_path):
    for index, name in enumerate(("x", "y", "x")):
        save(GREY[index], tmp_path / name / f"{index}.png")
    (tmp_path / "x" / "1.png").write_bytes(b"broken")
    options = data.Options(folder_labels=True, skip_unreadable=True)
    spec = f"folder:{tmp_path}"
    assert [Path(p).name for p in data.load(spec, options).paths] == ["0.png", "2.png", "1.png"]
    assert data.load_train_labels(spec, options).tolist() == [0, 0, 1]


def test_empty_folders(tmp_path):
    assert "holds no images: no file ends in .png" in message(f"folder:{tmp_path}")
    (tmp_path / "train").mkdir()
    save(GREY[0], tmp_path / "beside.png")
    assert f"folder:{tmp_path}/train holds no images" in message(f"folder:{tmp_path}")
    (tmp_path / "train" / "a.png").write_bytes(b"")
    text = message(f"folder:{tmp_path}", data.Options(skip_unreadable=True))
    assert "none of its 1 images can be read" in text


def test_a_loop_of_symbolic_links_is_read_once(tmp_path):
    save(GREY[0], tmp_path / "a" / "x.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert len(data.load(f"folder:{tmp_path}").paths) == 1
