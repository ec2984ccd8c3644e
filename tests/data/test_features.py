"""Files of feature vectors from outside: what is read, how rows find their images, bad files."""

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from jaxlabel.data import features
from jaxlabel.data.dataset import Dataset
from jaxlabel.errors import DataError

ROWS = np.arange(15, dtype=np.float64).reshape(5, 3)
PATHS = ("pictures/cat/1.png", "pictures/cat/2.png", "pictures/dog/1.png")
TEST_PATHS = ("pictures/test/a.png", "pictures/test/b.png")


def dataset(paths=(), test_paths=(), train=3, test=2):
    pixels = np.zeros((train + test, 4, 4, 1), np.uint8)
    return Dataset("pets", "unknown", (), pixels[:train], np.arange(train).astype(str),
                   pixels[train:], paths, test_paths)  # fmt: skip


NAMED = dataset(PATHS, TEST_PATHS)


def write(folder, name, **arrays):
    path = folder / name
    if name.endswith(".npy"):
        np.save(path, arrays["train"])
    elif name.endswith(".npz"):
        np.savez(path, **arrays)
    else:
        parquet.write_table(pyarrow.table(arrays), path)
    return str(path)


def numbers_of(found):
    return found.train[:, 0].tolist(), None if found.test is None else found.test[:, 0].tolist()


def test_rows_without_names_are_in_the_order_of_the_images(tmp_path):
    split = {"train": ROWS[:3], "test": ROWS[3:]}
    for name, arrays in (
        ("a.npz", split),
        ("b.npz", {"features": ROWS}),
        ("c.npy", {"train": ROWS}),
    ):
        found = features.load(write(tmp_path, name, **arrays), NAMED)
        assert numbers_of(found) == ([0, 3, 6], [9, 12]) and found.train.dtype == np.float32
    found = features.load(write(tmp_path, "d.npy", train=ROWS[:3].astype(np.int16)), NAMED)
    assert numbers_of(found) == ([0, 3, 6], None)
    listed = write(tmp_path, "e.parquet", embedding=ROWS[:3].tolist(), label=[7, 8, 9])
    numbered = write(tmp_path, "f.parquet", label=[7, 8, 9], f2=ROWS[:3, 2], f0=ROWS[:3, 0],
                     f1=ROWS[:3, 1], row0=[7, 8, 9])  # fmt: skip
    for file in (listed, numbered):
        np.testing.assert_array_equal(features.load(file, dataset()).train, ROWS[:3])


def test_rows_with_names_are_matched_to_files(tmp_path):
    names = ["test/b.png", "cat\\2.png", "/home/other/pictures/dog/1.png", "test/a.png",
             "./pictures/cat/1.png"]  # fmt: skip
    whole = write(tmp_path, "a.parquet", features=ROWS.tolist(), path=names)
    split = write(tmp_path, "b.npz", train=ROWS[[1, 2, 4]], train_names=np.array(names)[[1, 2, 4]],
                  test=ROWS[[0, 3]], test_names=np.array(names)[[0, 3]])  # fmt: skip
    for file in (whole, split):
        assert numbers_of(features.load(file, NAMED)) == ([12, 3, 6], [9, 0])
    more = write(tmp_path, "c.npz", features=ROWS[1:], names=[*names[1:3], "bird/1.png", names[4]])
    found = features.load(more, NAMED)
    assert numbers_of(found) == ([12, 3, 6], None)
    assert "1 rows are left out: they name no image of pets" in found.notes


def test_the_digest_tells_other_features_apart(tmp_path):
    one, other = (
        features.load(write(tmp_path, f"{n}.npy", train=ROWS + n), NAMED) for n in (0, 1e-3)
    )
    assert one.digest() == features.load(str(tmp_path / "0.npy"), NAMED).digest() != other.digest()


NAN = np.where(ROWS == 7, np.nan, ROWS)
FAULTS = {
    "a.npy": ({"train": ROWS[:4]}, "has 4 rows, pets has 3 training and 2 test images: write"),
    "b.npz": ({"train": ROWS[:3], "test": ROWS[:1]}, "has 3 training and 1 test rows, pets has 3"),
    "c.npy": ({"train": NAN}, "1 rows hold NaN or infinity, the first is row 3"),
    "d.npy": ({"train": ROWS * 1e40}, "4 rows hold NaN or infinity|5 rows hold NaN or infinity"),
    "e.npy": ({"train": ROWS.astype(str)}, "holds text: it takes numbers"),
    "f.npy": ({"train": ROWS * 1j}, "holds complex128: it takes real numbers"),
    "g.npy": ({"train": ROWS[0]}, r"has the shape \(3,\): it takes a row of numbers per image"),
    "h.npz": ({"pixels": ROWS}, "has no array train or features, but pixels"),
    "i.npz": ({"features": ROWS[:3], "names": [PATHS[0], PATHS[1], "cat/1.png"]},
              "has two rows for pictures/cat/1.png: rows 1 and 3"),
    "j.npz": ({"features": ROWS[:3], "names": ["1.png", *PATHS[1:]]},
              "the name 1.png fits pictures/cat/1.png and pictures/dog/1.png: write more"),
    "k.npz": ({"features": ROWS[:2], "names": PATHS[:2]},
              "has no row for 1 of 3 images, the first is pictures/dog/1.png"),
    "l.npz": ({"features": ROWS[:4], "names": [*PATHS, TEST_PATHS[0]]},
              "has no row for 1 of 2 images, the first is pictures/test/b.png"),
    "m.npz": ({"features": ROWS, "names": PATHS}, "has 5 rows and 3 names"),
    "n.npz": ({"train": ROWS[:3], "train_names": PATHS, "test": ROWS[3:]},
              "names the rows of one split only"),
    "o.npz": ({"train": ROWS[:3], "test": ROWS[3:, :2]}, "training rows have 3 numbers, test rows"),
    "p.parquet": ({"features": [[1.0, 2.0], [3.0], [4.0, 5.0]]}, "has rows of different lengths"),
    "q.parquet": ({"features": [["a", "b"]] * 3}, "holds text"),
    "r.parquet": ({"label": [1, 2, 3]}, "has the columns label: call the column"),
    "s.parquet": ({"features": [[1.0, 2.0], None, [4.0, 5.0]]}, "has rows without features"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_file_is_one_clear_line(name, tmp_path):
    arrays, message = FAULTS[name]
    with pytest.raises(DataError, match=message) as caught:
        features.load(write(tmp_path, name, **arrays), NAMED)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_a_missing_or_broken_file_is_one_clear_line(tmp_path):
    whole = (tmp_path / "a.npz").with_name("whole.npz")
    np.savez(whole, train=ROWS, junk=np.zeros(3000))
    damaged = bytearray(whole.read_bytes())
    damaged[90:150] = b"\0" * 60
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}, "a"], object), allow_pickle=True)
    contents = {"cut.npz": whole.read_bytes()[:200], "damaged.npz": bytes(damaged),
                "text.npy": b"0.1 0.2\n", "empty.npz": b"", "text.parquet": b"PAR1 no"}  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in (*contents, "objects.npy"):
        with pytest.raises(DataError, match=rf"{name} cannot be read \(") as caught:
            features.load(str(tmp_path / name), NAMED)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"none\.npy: there is no such file"):
        features.load(str(tmp_path / "none.npy"), NAMED)
    with pytest.raises(DataError, match=r"a\.csv: they are read from \.npy, \.npz, \.parquet"):
        features.load("a.csv", NAMED)
    with pytest.raises(DataError, match="names its rows, but the images of pets are not separate"):
        features.load(write(tmp_path, "z.npz", train=ROWS[:3], names=PATHS), dataset())
