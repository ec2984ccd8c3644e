"""Pictures with more than 8 bits, transparent drawings, and ids of the files' real pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.data import intensity
from jaxlabel.data.decoding import read_picture

RNG = np.random.default_rng(5)


def spots(count: int, low: int = 100, high: int = 900) -> np.ndarray:
    """Return 16-bit pictures (count, 12, 12) of a bright block each on a dark ground."""
    pictures = RNG.integers(low, low + 20, (count, 12, 12))
    for picture in pictures:
        row, column = RNG.integers(0, 9, 2)
        picture[row : row + 3, column : column + 3] = high
    return pictures


def save_all(folder: Path, pictures: np.ndarray, ending: str = ".tif") -> str:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:03}{ending}")
    return f"folder:{folder}"


@pytest.mark.parametrize("dtype, ending", [
    (np.uint16, ".png"), (np.uint16, ".tif"), (np.int32, ".tif"), (np.float32, ".tif"),
])  # fmt: skip
def test_pictures_that_use_a_part_of_the_range_are_seen(tmp_path, dtype, ending):
    pictures = spots(36)
    dataset = data.load(save_all(tmp_path / "f", pictures.astype(dtype), ending))
    assert len(set(dataset.train_items)) == 36
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_images.min() == 0 and dataset.train_images.max() == 255
    low, high = intensity.limits(dataset.intensity)
    assert low == pytest.approx(pictures.min(), abs=1) and high == 900
    wanted = np.clip((pictures - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(dataset.train_images[..., 0], wanted, atol=0.51)
    assert any("36 pictures have more than 8 bits" in note for note in dataset.notes)


def test_signed_16_bit_tiff_and_16_bit_pgm_are_read(tmp_path):
    values = RNG.integers(-1000, 3000, (12, 12)).astype("<i2")
    # Pillow cannot write signed TIFF: this is a smallest file of 12 x 12 pixels.
    entries = [
        (256, 3, 1, 12),
        (257, 3, 1, 12),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 3, 1, 12),
        (279, 4, 1, 288),
        (339, 3, 1, 2),
    ]
    directory = len(entries).to_bytes(2, "little")
    for tag, kind, count, value in entries:
        directory += tag.to_bytes(2, "little") + kind.to_bytes(2, "little")
        directory += count.to_bytes(4, "little") + value.to_bytes(4, "little")
    content = b"II*\0" + (8 + 288).to_bytes(4, "little") + values.tobytes() + directory + bytes(4)
    (tmp_path / "signed.tif").write_bytes(content)
    np.testing.assert_array_equal(read_picture(tmp_path / "signed.tif").pixels[..., 0], values)
    grey = RNG.integers(0, 65536, (12, 12)).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 12 12 65535\n" + grey.tobytes())
    np.testing.assert_array_equal(read_picture(tmp_path / "a.pgm").pixels[..., 0], grey)
    assert data.load(f"folder:{tmp_path}").train_images.max() == 255


def test_full_range_16_bits_are_divided_by_257_as_before(tmp_path):
    pictures = RNG.integers(0, 65536, (5, 12, 12)).astype(np.uint16)
    dataset = data.load(save_all(tmp_path / "f", pictures, ".png"))
    assert dataset.intensity == "0:65535"
    before = (pictures.astype(np.uint32) + 128) // 257
    np.testing.assert_array_equal(dataset.train_images[..., 0], before)


def test_one_rule_of_the_training_images_holds_for_test_and_new_images(tmp_path):
    save_all(tmp_path / "f", spots(9).astype(np.uint16))
    (tmp_path / "f").rename(tmp_path / "train")
    bright = spots(3, high=1800).astype(np.uint16)
    save_all(tmp_path / "test", bright)
    dataset = data.load(f"folder:{tmp_path}")
    alone = data.load(f"folder:{tmp_path / 'test'}", data.Options(intensity=dataset.intensity))
    np.testing.assert_array_equal(alone.train_images, dataset.test_images)
    assert alone.intensity == dataset.intensity
    assert data.load(f"folder:{tmp_path / 'test'}").intensity != dataset.intensity


def test_one_broken_picture_of_many_does_not_darken_the_others():
    pictures = [*spots(150).astype(np.float32), np.full((12, 12), 65535, np.float32)]
    assert intensity.limits(intensity.measure(pictures))[1] == 900


def test_what_differs_in_few_pixels_is_seen_and_flat_pictures_are_no_error():
    pictures = np.full((4, 100, 100), 100.0)
    pictures[2, 5, 5] = 300
    rule = intensity.measure(list(pictures))
    assert intensity.scale(pictures[2], rule).max() == 255
    assert intensity.scale(pictures[0], rule).max() == 0
    assert intensity.scale(np.array([np.nan, -np.inf, np.inf]), "0:1").tolist() == [0, 0, 255]
    assert intensity.measure([np.full((3, 3), 7.0)]) == "7:8"
    assert intensity.measure([np.full((3, 3), np.nan)]) == "0:1"
    assert intensity.limits(intensity.written(-0.125, 1 / 3)) == (-0.125, 1 / 3)


def test_pictures_that_the_rule_makes_flat_are_named(tmp_path):
    spec = save_all(tmp_path / "f", spots(4).astype(np.uint16), ".png")
    shares = RNG.random((12, 12)).astype(np.float32)
    for number, pixels in enumerate((np.zeros_like(shares), shares, 1 - shares)):
        Image.fromarray(pixels).save(tmp_path / "f" / f"share{number}.tif")
    notes = [note for note in data.load(spec).notes if "single grey value" in note]
    assert len(notes) == 1 and notes[0].startswith("2 pictures have different pixel values")
    assert notes[0].endswith("share1.tif")


def test_an_id_is_of_the_files_pixels_not_of_what_is_left_of_them(tmp_path):
    picture = spots(1)[0].astype(np.uint16)
    other = picture.copy()
    other[0, 0] += 1  # a difference that 8 bits and 4 x 4 pixels do not show
    spec = save_all(tmp_path / "f", np.stack([picture, other, picture]))
    dataset = data.load(spec, data.Options(image_size=4))
    first, second, third = dataset.train_items
    assert first == third != second
    for number, dtype in enumerate((np.int32, np.float32)):  # the same values, stored otherwise
        Image.fromarray(picture.astype(dtype)).save(tmp_path / f"{number}.tif")
        again = data.load(f"folder:{tmp_path}").train_items
        assert set(again) == {first, second}


def test_8_bits_saved_as_16_are_the_same_picture(tmp_path):
    grey = RNG.integers(0, 90, (12, 12)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "b.png")
    dataset = data.load(f"folder:{tmp_path}")
    assert len(set(dataset.train_items)) == 1
    np.testing.assert_array_equal(dataset.train_images[0], dataset.train_images[1])


def test_white_drawings_on_a_transparent_ground_are_seen(tmp_path):
    drawings = np.zeros((3, 12, 12, 4), np.uint8)
    drawings[..., :3] = 255
    for number, drawing in enumerate(drawings):
        drawing[number * 4 : number * 4 + 3, 2:9, 3] = 255
    dataset = data.load(save_all(tmp_path / "f", drawings, ".png"))
    assert len(set(dataset.train_items)) == 3
    np.testing.assert_array_equal(dataset.train_images[..., 0], drawings[..., 3])
    assert any("3 pictures are white drawings on a transparent ground" in n for n in dataset.notes)
    drawings[..., :3] = 40  # dark ones stay on white, as ever
    dark = data.load(save_all(tmp_path / "g", drawings, ".png"))
    assert set(dark.train_images.ravel().tolist()) == {40, 255}


def test_few_distinct_pictures_are_said(tmp_path):
    same = np.repeat(RNG.integers(0, 256, (1, 12, 12), np.uint8), 24, 0)
    dataset = data.load(save_all(tmp_path / "f", same, ".png"))
    assert any("24 pictures, 1 distinct" in note for note in dataset.notes)


def test_colour_of_16_bits_and_files_of_several_pictures_are_said(tmp_path):
    frames = [Image.fromarray(RNG.integers(0, 256, (9, 9), np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    notes = data.load(f"folder:{tmp_path}").notes
    assert any("hold several pictures in one file" in note and "a.tif" in note for note in notes)
