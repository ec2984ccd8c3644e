"""Tests of the readers of digits, IDX and NPZ, and of the errors for damaged files."""

import gzip
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxlabel import data
from jaxlabel.data import identity
from jaxlabel.data.dataset import DEFAULTS
from jaxlabel.data.images import with_channels
from jaxlabel.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"
RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (12, 5, 4), np.uint8)
TEST = RNG.integers(0, 256, (3, 5, 4), np.uint8)
TRAIN_LABELS = np.arange(12, dtype=np.uint8) % 3
TEST_LABELS = np.array([2, 0, 1], np.uint8)
STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")  # fmt: skip


def as_idx(array: np.ndarray) -> bytes:
    """Encode an array as an IDX file, independently of the reader."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    folder = tmp_path / "Shapes-Set"
    folder.mkdir()
    for stem, array in zip(STEMS, (TRAIN, TRAIN_LABELS, TEST, TEST_LABELS), strict=True):
        (folder / f"{stem}.gz").write_bytes(gzip.compress(as_idx(array)))
    return folder


def message(spec: str, options: data.Options = DEFAULTS) -> str:
    """Return the message of the error that loading raises; it must be a single line."""
    with pytest.raises(DataError) as error:
        data.load(spec, options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_bare_path_stands_for_a_folder_or_for_a_file_by_its_ending(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zip2").mkdir()
    for name in ("a.zip", "b.tar.gz", "c.csv", "d.parquet", "e.npz"):
        (tmp_path / name).touch()
    given = ["digits", "idx:x", "pictures", "zip2", "zap:x", "a.zip", "b.tar.gz", "c.csv",
             "d.parquet", "e.npz"]  # fmt: skip
    assert [data.spec_of(text) for text in given] == [
        "digits", "idx:x", "folder:pictures", "folder:zip2", "zap:x", "zip:a.zip", "tar:b.tar.gz",
        "csv:c.csv", "parquet:d.parquet", "npz:e.npz",
    ]  # fmt: skip


def test_idx_gives_the_arrays_that_were_written(idx):
    dataset = data.load(f"idx:{idx}")
    np.testing.assert_array_equal(dataset.train_images[..., 0], TRAIN)
    np.testing.assert_array_equal(dataset.test_images[..., 0], TEST)
    assert (dataset.name, dataset.kind, dataset.classes) == ("shapes_set", "unknown", ())
    np.testing.assert_array_equal(data.load_train_labels(f"idx:{idx}"), TRAIN_LABELS)
    np.testing.assert_array_equal(data.load_test_labels(f"idx:{idx}"), TEST_LABELS)


def test_idx_reads_plain_files_and_dotted_names_too(idx):
    packed = data.load(f"idx:{idx}")
    for stem in STEMS:
        file = idx / f"{stem}.gz"
        (idx / stem.replace("-idx", ".idx")).write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    plain = data.load(f"idx:{idx}")
    np.testing.assert_array_equal(plain.train_images, packed.train_images)
    assert plain.train_items.tolist() == packed.train_items.tolist()


def test_images_load_where_the_labels_are_absent_or_corrupt(idx):
    (idx / "t10k-labels-idx1-ubyte.gz").write_bytes(b"rubbish")
    (idx / "train-labels-idx1-ubyte.gz").unlink()
    assert len(data.load(f"idx:{idx}").train_images) == 12
    assert not data.has_labels(f"idx:{idx}")
    with pytest.raises(DataError, match="not gzipped"):
        data.load_test_labels(f"idx:{idx}")


def test_ids_depend_only_on_the_pixels(idx, tmp_path):
    order = RNG.permutation(len(TRAIN))
    file = tmp_path / "other.npz"
    np.savez_compressed(file, x_train=np.repeat(TRAIN[order][..., None], 3, -1), x_test=TEST)
    one, other = data.load(f"idx:{idx}"), data.load(f"npz:{file}")
    assert other.train_items.tolist() == one.train_items[order].tolist()
    assert len(set(one.train_items)) == 12
    # Three equal channels are a grey image, and resizing does not change an image's id.
    assert other.train_images.shape == (12, 5, 4, 1)
    options = data.Options(image_size=9, image_mode="rgb")
    bigger = data.load(f"idx:{idx}", options)
    assert bigger.train_images.shape == (12, 9, 9, 3)
    assert bigger.train_items.tolist() == one.train_items.tolist()


@pytest.mark.parametrize("keys", [("train_{}", "test_{}"), ("x_train", "x_test")])
def test_npz_reads_both_namings(tmp_path, keys):
    file = tmp_path / "mnist.npz"
    names = [k.format("images") for k in keys] + [
        k.format("labels").replace("x_", "y_") for k in keys
    ]
    arrays = (TRAIN, TEST, TRAIN_LABELS[:, None], TEST_LABELS.astype(np.int64))
    np.savez(file, **dict(zip(names, arrays, strict=True)))
    dataset = data.load(f"npz:{file}")
    np.testing.assert_array_equal(dataset.train_images[..., 0], TRAIN)
    np.testing.assert_array_equal(dataset.test_images[..., 0], TEST)
    assert (dataset.name, dataset.kind) == ("mnist", "digits")
    assert dataset.classes == tuple("0123456789")
    np.testing.assert_array_equal(data.load_train_labels(f"npz:{file}"), TRAIN_LABELS)
    np.testing.assert_array_equal(data.load_test_labels(f"npz:{file}"), TEST_LABELS)


def test_npz_without_test_images_or_labels(tmp_path):
    np.savez(tmp_path / "a.npz", train_images=TRAIN)
    spec = f"npz:{tmp_path / 'a.npz'}"
    assert data.load(spec).test_images.shape == (0, 5, 4, 1)
    assert not data.has_labels(spec)
    with pytest.raises(DataError, match="no train labels: it needs an array train_labels"):
        data.load_train_labels(spec)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"images": TRAIN}, "no array train_images or x_train, but images"),
        ({"x_train": TRAIN / 255}, "holds float64: save pixels as uint8"),
        ({"x_train": TRAIN.astype(int) + 100}, "pixels are from 0 to 255"),
        ({"x_train": np.zeros((4, 3, 8, 8), np.uint8)}, "channels last"),
        ({"x_train": np.zeros((0, 8, 8), np.uint8)}, "no pixels"),
        ({"x_train": TRAIN.astype(object)}, "cannot be read"),
        ({"x_train": TRAIN, "x_test": TEST[:, 1:]}, "training images are 4x5, test images 4x4"),
    ],
)
def test_npz_with_wrong_content_is_refused(tmp_path, arrays, expected):
    np.savez(tmp_path / "a.npz", **arrays)
    assert expected in message(f"npz:{tmp_path / 'a.npz'}")


def test_npz_cut_short(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=TRAIN)
    content = (tmp_path / "a.npz").read_bytes()
    for kept in (0, 3, 100, len(content) - 10):
        (tmp_path / "b.npz").write_bytes(content[:kept])
        assert "not an NPZ archive" in message(f"npz:{tmp_path / 'b.npz'}")
    np.save(tmp_path / "c.npy", TRAIN)
    assert "single array" in message(f"npz:{tmp_path / 'c.npy'}")
    middle = bytearray(content)
    middle[len(middle) // 3] ^= 255
    (tmp_path / "d.npz").write_bytes(bytes(middle))
    assert "x_train cannot be read" in message(f"npz:{tmp_path / 'd.npz'}")


def test_damaged_idx_files_are_refused(idx):
    file = idx / "train-images-idx3-ubyte.gz"
    good = file.read_bytes()
    cases = {
        good[:-9]: "cut short",
        good[:40] + bytes([good[40] ^ 255]) + good[41:]: "corrupt",
        as_idx(TRAIN): "not gzipped, though its name says so",
        gzip.compress(as_idx(TRAIN)[:-7]): "cut short: 249 bytes, but its header (12, 5, 4) "
        "requires 256",
        gzip.compress(as_idx(TRAIN) + b"x"): "too long",
        gzip.compress(b"\x01" + as_idx(TRAIN)[1:]): "begins with 0x01000803",
        gzip.compress(b""): "not an IDX file",
        gzip.compress(as_idx(TRAIN_LABELS)): "has the shape (12,): images are",
    }
    for content, expected in cases.items():
        file.write_bytes(content)
        found = message(f"idx:{idx}")
        assert expected in found
        assert "train-images-idx3-ubyte.gz" in found
    file.unlink()
    assert "has no train-images-idx3-ubyte.gz: put MNIST's four files there" in message(
        f"idx:{idx}"
    )


def test_labels_that_do_not_fit_the_images_or_classes_are_refused(idx, tmp_path):
    def label_error(labels: np.ndarray, folder: Path = idx) -> str:
        file = folder / "train-labels-idx1-ubyte.gz"
        file.write_bytes(gzip.compress(as_idx(labels)))
        with pytest.raises(DataError) as error:
            data.load_train_labels(f"idx:{folder}")
        return str(error.value)

    assert "has 11 labels, but train-images-idx3-ubyte.gz has 12 images" in label_error(
        TRAIN_LABELS[1:]
    )
    assert "not a list of labels" in label_error(TRAIN)
    known = idx.rename(tmp_path / "MNIST")
    assert "train labels from 0 to 10: valid are 0 to 9" in label_error(
        np.arange(12, dtype=np.uint8) % 11, known
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("idxs:a", "(did you mean idx?): write digits, idx:DIR, npz:FILE, folder:DIR, zip:FILE"),
        ("digit", "(did you mean digits?)"),
        ("", "unknown data set '': write digits"),
        ("digits:8", "takes no location"),
        ("folder:", "lacks a location"),
        ("tfds", "lacks a location"),
        ("idx:/nowhere/at/all", "there is no such folder"),
        ("npz:/nowhere/at/all.npz", "there is no such file"),
        ("folder:/nowhere/at/all", "there is no such folder"),
    ],
)
def test_an_invalid_spec_is_refused(spec, expected):
    start = time.process_time()
    assert expected in message(spec)
    assert time.process_time() - start < 2


def test_a_path_without_a_prefix_is_explained(idx):
    assert f"did you mean idx:{idx}?" in message(str(idx))
    assert f"did you mean folder:{idx.parent}?" in message(str(idx.parent))


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    dataset = data.load("digits")
    assert dataset.train_images.shape == (1297, 8, 8, 1)
    assert dataset.test_images.shape == (500, 8, 8, 1)
    assert (dataset.name, dataset.kind) == ("digits", "digits")
    place = {image.tobytes(): i for i, image in enumerate(np.round(bunch.images * 255 / 16))}
    both = np.concatenate([dataset.train_images, dataset.test_images])[..., 0].astype(float)
    order = [place[image.tobytes()] for image in both]
    assert sorted(order) == list(range(1797))  # none twice, none lost
    labels = [data.load_train_labels("digits"), data.load_test_labels("digits")]
    np.testing.assert_array_equal(np.concatenate(labels), bunch.target[order])
    assert order[:4] == FIRST_DIGITS  # the split is fixed for ever


FIRST_DIGITS = [1081, 1707, 927, 713]


def test_loading_digits_imports_nothing_heavy():
    code = (
        "import sys; from jaxlabel import data; data.load('digits'); "
        "heavy = {'jax', 'sklearn', 'PIL', 'matplotlib', 'tensorflow_datasets', 'sqlalchemy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_image_mode_of_mixed_colour_and_grey_images(tmp_path):
    colours = RNG.integers(0, 256, (4, 5, 4, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=colours, x_test=TEST)
    spec = f"npz:{tmp_path / 'a.npz'}"
    assert data.load(spec).train_images.shape == (4, 5, 4, 3)
    assert data.load(spec).test_images.shape == (3, 5, 4, 3)  # one colour image makes all rgb
    grey = data.load(spec, data.Options(image_mode="grey"))
    np.testing.assert_array_equal(grey.train_images, with_channels(colours, 1))
    np.testing.assert_array_equal(grey.test_images[..., 0], TEST)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real data in ../shared/data")
def test_real_data_and_known_duplicates():
    overhead = data.load(f"idx:{SHARED / 'overhead_mnist'}")
    assert overhead.train_images.shape == (8519, 28, 28, 1)
    assert identity.duplicates(overhead.train_items) == [[438, 8275]]
    assert overhead.kind == "overhead"
    assert overhead.classes[5] == "plane"
    test_items = identity.item_ids(overhead.test_images)
    assert identity.shared_items(overhead.train_items, test_items) == [(6623, 402)]
    fashion = data.load(f"idx:{SHARED / 'fashion_mnist'}")
    assert len(set(fashion.train_items)) == 60_000
    assert data.load_test_labels(f"idx:{SHARED / 'fashion_mnist'}")[:5].tolist() == [9, 2, 1, 1, 6]
