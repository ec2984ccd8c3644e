"""Every reader, on inputs that a machine thinks up: a result or a JaxlabelError, within a second.

`pytest tests/data/test_readers_by_machine.py --hypothesis-profile=long` tries for longer; see
tests/conftest.py.
"""

import gzip
import io
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from jaxlabel import data
from jaxlabel.data import idx
from jaxlabel.data.info import info
from jaxlabel.errors import JaxlabelError
from jaxlabel.oracle import LabelStore, import_answers, write_questions

SECONDS = 1.0  # of processor time, for one input of a few kilobytes
MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "TGA", "ICO")


def result_or_line(call: Callable[[], Any]) -> Any:
    """Return the call's result, or None after a JaxlabelError; anything else fails the test."""
    start = time.process_time()
    try:
        found = call()
    except JaxlabelError as error:
        found = None
        assert str(error)
    assert time.process_time() - start < SECONDS
    return found


def checked(dataset: data.Dataset | None) -> None:
    """Check what every data set promises."""
    if dataset is not None:
        assert dataset.train_images.dtype == np.uint8 and dataset.train_images.ndim == 4
        assert len(dataset.train_images) == len(dataset.train_items) > 0
        assert dataset.train_images.shape[1:] == dataset.test_images.shape[1:]
        assert dataset.train_images.shape[-1] in (1, 3)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Return the content, or a part of it, or with some bytes changed."""
    kind = draw(st.sampled_from(["whole", "cut", "changed", "longer"]))
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if kind == "changed" and content:
        changed = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
        return bytes(changed)
    return content + draw(st.binary(max_size=8)) if kind == "longer" else content


@st.composite
def idx_files(draw: st.DrawFn) -> bytes:
    """Return a file that is IDX, or nearly."""
    shape = draw(st.lists(st.integers(0, 6), min_size=0, max_size=5))
    lengths = [*shape]
    if lengths and draw(st.booleans()):
        lengths[0] = draw(st.sampled_from([0, 1, 2**31, 2**32 - 1]))
    kind = draw(st.sampled_from([8, 8, 8, 9, 13]))
    body = draw(st.binary(max_size=8)) + bytes(int(np.prod(shape)))
    head = bytes([0, 0, kind, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in lengths)
    content = head + body[: int(np.prod(shape))]
    return draw(damaged(gzip.compress(content) if draw(st.booleans()) else content))


@given(st.data())
def test_idx(given_data):
    with tempfile.TemporaryDirectory() as place:
        for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3",
                     "t10k-labels-idx1"):  # fmt: skip
            ending = given_data.draw(st.sampled_from(["", ".gz"]))
            content = given_data.draw(idx_files())
            (Path(place) / f"{name}-ubyte{ending}").write_bytes(content)
        spec = f"idx:{place}"
        checked(result_or_line(lambda: data.load(spec)))
        for labels in (data.load_train_labels, data.load_test_labels, data.label_names):
            result_or_line(lambda read=labels: read(spec))


def test_an_idx_file_that_ends_in_its_header_is_one_line(tmp_path):
    file = tmp_path / "a"
    for length in range(2, 8):
        file.write_bytes(b"\0\0\x08\1\0\0\0\2"[:length])
        with pytest.raises(JaxlabelError, match=r"is cut short|not an IDX file"):
            idx.read_idx(file)


ANY_ARRAY = arrays.arrays(
    st.sampled_from(["u1", "?", "<u2", "<i4", "<i8", "<u8", "<f4", "<f8", "<U3", "S2", "c8"]),
    arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5),
)
IMAGES = arrays.arrays(
    st.sampled_from(["u1", "?", "<i4"]), st.tuples(st.integers(0, 4), st.just(3), st.just(3)),
    elements={"min_value": 0, "max_value": 1},
)  # fmt: skip


@given(st.data())
def test_npz(given_data):
    names = ("x_train", "train_images", "y_train", "x_test", "y_test", "val_images", "val_labels")
    chosen = given_data.draw(st.lists(st.sampled_from(names), unique=True))
    content = io.BytesIO()
    np.savez(content, **{name: given_data.draw(IMAGES | ANY_ARRAY) for name in chosen})
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "a.npz"
        file.write_bytes(given_data.draw(damaged(content.getvalue())))
        spec = f"npz:{file}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of names that occur twice
            checked(result_or_line(lambda: data.load(spec)))
            for read in (data.has_labels, data.load_train_labels, data.label_names):
                result_or_line(lambda read=read: read(spec))
            result_or_line(lambda: info(spec, sheet=f"{place}/sheet.png"))


def test_npz_of_objects_and_of_a_giant_shape_are_one_line(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.array([{}, 1], dtype=object))
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 2, 2), np.uint8))
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {**header, "shape": (10**9, 9999, 9999)})
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x_train.npy", stream.getvalue())
    for name in "ab":
        with pytest.raises(JaxlabelError, match="cannot be read"):
            data.load(f"npz:{tmp_path / name}.npz")


CELLS = st.text(max_size=6) | st.sampled_from(
    [
        "cat",
        "Cat",
        "1",
        "01",
        "1.0",
        "K\u00e4fer",
        "K\u00c3\u00a4fer",
        "nan",
        "a",
        "b",
        "",
        "\ufeff",
    ]
)


@given(st.data())
def test_csv_of_answers(given_data):
    header = given_data.draw(
        st.sampled_from(["item,label", "item;label;class_index", "Item\tLABEL"])
    )
    mark = next(mark for mark in ",;\t" if mark in header)
    rows = given_data.draw(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6))
    text = "\n".join([header, *(mark.join(row) for row in rows)])
    encoding = given_data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    content = given_data.draw(damaged(text.encode(encoding, "surrogatepass")))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "a.csv"
        path.write_bytes(content)
        store = LabelStore("sqlite://")
        store.define("set", ["cat", "K\u00e4fer", "1"])
        counts = result_or_line(lambda: import_answers(store, "set", path))
        if counts is not None:  # all of it is stored, and again nothing changes
            again = import_answers(store, "set", path)
            assert (again.added, again.known) == (0, counts.added + counts.known)
            assert again.new_classes == ()
        result_or_line(lambda: write_questions(path, ["a", "b"]))
        store.close()


@given(st.data())
def test_folders_of_pictures_in_all_modes_that_pillow_writes(given_data):
    with tempfile.TemporaryDirectory() as place:
        for number in range(given_data.draw(st.integers(1, 3))):
            mode = given_data.draw(st.sampled_from(MODES))
            size = given_data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
            values = given_data.draw(st.binary(min_size=400, max_size=400))
            form = given_data.draw(st.sampled_from(FORMATS))
            stream = io.BytesIO()
            try:
                length = len(Image.new(mode, size).tobytes())
                Image.frombytes(mode, size, values[:length]).save(stream, form)
            except (OSError, ValueError, KeyError, TypeError):
                continue  # Pillow does not write this mode in this format
            ending = given_data.draw(st.sampled_from([".png", ".tif", ""]))
            content = given_data.draw(damaged(stream.getvalue()))
            (Path(place) / f"{number}{ending}").write_bytes(content)
        skip, side = given_data.draw(st.booleans()), given_data.draw(st.sampled_from([0, 4]))
        options = data.Options(image_size=side, skip_unreadable=skip)
        checked(result_or_line(lambda: data.load(f"folder:{place}", options)))
