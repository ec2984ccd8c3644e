"""Tests of preparing data sets from published files and reading them, on small archives."""

import gzip
import hashlib
import http.server
import io
import socket
import sys
import tarfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from jaxlabel import data
from jaxlabel.data import prepare, published
from jaxlabel.data.published import ARCHIVES, File
from jaxlabel.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"
RNG = np.random.default_rng(3)
GREY = {"train": RNG.integers(0, 256, (7, 28, 28), np.uint8),
        "t10k": RNG.integers(0, 256, (3, 28, 28), np.uint8)}  # fmt: skip
GREY_LABELS = {"train": np.arange(7, dtype=np.uint8), "t10k": np.array([9, 0, 9], np.uint8)}


def publish(monkeypatch, name: str, folder: Path, url: str = "http://127.0.0.1:9/") -> None:
    """Register the files of a folder as the published files of a data set."""
    files = tuple(
        File(f.name, f.stat().st_size, hashlib.sha256(f.read_bytes()).hexdigest())
        for f in sorted(folder.iterdir())
    )
    monkeypatch.setitem(ARCHIVES, name, ARCHIVES[name]._replace(url=url, files=files))


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch) -> Path:
    """A folder with files like MNIST's that contain ten images."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for split in ("train", "t10k"):
        for kind, array in (("images-idx3", GREY[split]), ("labels-idx1", GREY_LABELS[split])):
            shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
            content = bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    publish(monkeypatch, "mnist", folder)
    return folder


def refused(name: str, manual_dir: Path | None, data_dir: Path) -> str:
    with pytest.raises(DataError) as error:
        prepare.prepare(name, manual_dir and str(manual_dir), str(data_dir))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_mnist_prepared_and_read_back_is_the_mnist_of_its_files(mnist, tmp_path, capfd):
    line = prepare.prepare("mnist", str(mnist), str(tmp_path / "tfds"))
    assert line == f"prepared {tmp_path}/tfds/mnist/3.0.1: use it with --config.data=tfds:mnist"
    assert capfd.readouterr().out == ""
    assert "already exists" in prepare.prepare("mnist", str(mnist), str(tmp_path / "tfds"))
    options = data.Options(data_dir=str(tmp_path / "tfds"))
    read, direct = data.load("tfds:mnist", options), data.load(f"idx:{mnist}")
    # The images are in another order, with the same ids and labels.
    positions = {item: index for index, item in enumerate(direct.train_items)}
    order = [positions[item] for item in read.train_items]
    assert sorted(order) == list(range(7))
    np.testing.assert_array_equal(read.train_images, direct.train_images[order])
    assert data.load_train_labels("tfds:mnist", options).tolist() == order
    ordered = np.sort(read.test_images.reshape(3, -1), 0)
    np.testing.assert_array_equal(ordered, np.sort(GREY["t10k"].reshape(3, -1), 0))
    assert sorted(data.load_test_labels("tfds:mnist", options)) == [0, 9, 9]
    assert (read.name, read.kind, read.classes) == (direct.name, direct.kind, direct.classes)
    assert data.has_labels("tfds:mnist", options)
    assert "tensorflow" not in sys.modules
    # tensorflow-datasets itself can read the files too.
    import tensorflow_datasets as tfds

    source = tfds.data_source("mnist", split="test", data_dir=options.data_dir, download=False)
    assert {int(row["label"]) for row in source} == {0, 9}


def test_damaged_preparations_are_named(mnist, tmp_path):
    options = data.Options(data_dir=str(tmp_path / "tfds"))
    prepare.prepare("mnist", str(mnist), options.data_dir)
    folder = tmp_path / "tfds" / "mnist" / "3.0.1"
    (records,) = folder.glob("*train*record*")
    content = records.read_bytes()
    for damage in (content[:1000], content[:100] + b"?" + content[101:], b""):
        records.write_bytes(damage)
        with pytest.raises(DataError, match=r"3\.0\.1 is damaged \(.*remove its folder and"):
            data.load("tfds:mnist", options)
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        data.load("tfds:mnist", options)


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch) -> Path:
    """A folder with a small CIFAR-10: two images per file, label 3 red on top, 5 blue at left."""
    folder = tmp_path / "cifar"
    folder.mkdir()
    red, blue = np.zeros((2, 3, 32, 32), np.uint8)
    red[0, :16], blue[2, :, :16] = 200, 100
    record = bytes([3]) + red.tobytes() + bytes([5]) + blue.tobytes()
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for index, name in enumerate(names):
            content = bytearray(record)
            content[1 + 1024] = index  # a green pixel, so that no two files hold the same image
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(bytes(content)))
    publish(monkeypatch, "cifar10", folder)
    return folder


def test_cifar10_from_its_binary_version(cifar, tmp_path):
    prepare.prepare("cifar10", str(cifar), str(tmp_path / "tfds"))
    options = data.Options(data_dir=str(tmp_path / "tfds"))
    dataset = data.load("tfds:cifar10", options)
    labels = data.load_train_labels("tfds:cifar10", options)
    assert dataset.train_images.shape == (10, 32, 32, 3)
    assert dataset.test_images.shape == (2, 32, 32, 3)
    assert sorted(labels) == [3] * 5 + [5] * 5
    assert (dataset.classes[3], dataset.classes[5], dataset.kind) == ("cat", "dog", "objects")
    for image, label in zip(dataset.train_images, labels, strict=True):
        colours = [(200, 0, 0), (0, 0, 0)] if label == 3 else [(0, 0, 100), (0, 0, 100)]
        assert [tuple(image[y, 1]) for y in (1, 30)] == colours
    greens = {int(image[0, 0, 1]) for image in dataset.train_images[labels == 3]}
    assert greens == {0, 1, 2, 3, 4}


def test_a_broken_tar_file_is_named(cifar, tmp_path, monkeypatch):
    (cifar / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(b"no tar" * 500))
    publish(monkeypatch, "cifar10", cifar)
    assert "is not CIFAR-10's binary version" in refused("cifar10", cifar, tmp_path / "tfds")


def test_files_that_are_not_the_published_ones(mnist, tmp_path):
    target = tmp_path / "tfds"
    file = mnist / "t10k-labels-idx1-ubyte.gz"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    error_text = refused("mnist", mnist, target)
    assert f"{file} has {len(content) - 1} bytes, the published file {len(content)}" in error_text
    file.write_bytes(content[:-1] + b"x")
    assert f"{file} has the SHA-256" in refused("mnist", mnist, target)
    file.unlink()
    assert f"lacks {file.name}: download from http" in refused("mnist", mnist, target)
    assert "there is no such folder" in refused("mnist", tmp_path / "nowhere", target)
    assert "did you mean mnist?): choose one of mnist, fashion_mnist, cifar10" in refused(
        "minst", None, target
    )
    assert not target.exists()


def test_download_from_a_server(mnist, tmp_path, monkeypatch):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(mnist))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        publish(monkeypatch, "mnist", mnist, f"http://127.0.0.1:{server.server_port}/")
        target = tmp_path / "downloads"
        published.download("mnist", target)
        published.check("mnist", target)
        assert len(list(target.iterdir())) == 4
        # A file with other content is refused, and existing files are not downloaded again.
        (target / "t10k-labels-idx1-ubyte.gz").unlink()
        (mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(b"please log in")
        (mnist / "train-images-idx3-ubyte.gz").unlink()
        with pytest.raises(DataError, match="has 13 bytes"):
            published.download("mnist", target)
        (target / "train-labels-idx1-ubyte.gz").unlink()
        (mnist / "train-labels-idx1-ubyte.gz").unlink()
        (mnist / "t10k-labels-idx1-ubyte.gz").unlink()
        with pytest.raises(DataError, match=r"cannot fetch .*File not found.*--manual_dir=DIR"):
            published.download("mnist", target)
        server.shutdown()


def test_a_missing_network_is_reported_within_seconds(mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    error_text = refused("mnist", None, tmp_path / "tfds")  # nobody listens on port 9
    assert "cannot fetch http://127.0.0.1:9/t10k-images" in error_text
    assert "--manual_dir=DIR" in error_text
    with socket.create_server(("127.0.0.1", 0)) as silent_server:  # takes the call and says nothing
        publish(monkeypatch, "mnist", mnist, f"http://127.0.0.1:{silent_server.getsockname()[1]}/")
        monkeypatch.setattr(published, "TIMEOUT", 0.3)
        start = time.perf_counter()
        assert "without network, put" in refused("mnist", None, tmp_path / "tfds")
        assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("fashion_mnist", "run `jaxlabel data prepare --name=fashion_mnist --data_dir="),
        ("cats_vs_dogs", "prepare it with tensorflow-datasets and file_format='array_record'"),
        ("mnist:9.9.9", "run `jaxlabel data prepare --name=mnist"),
        ("no/such/name", "prepare it with"),
    ],
)
def test_a_data_set_that_is_not_prepared_is_explained(tmp_path, name, advice):
    start = time.perf_counter()
    with pytest.raises(DataError) as error:
        data.load(f"tfds:{name}", data.Options(data_dir=str(tmp_path)))
    assert f"tfds:{name} is not prepared in {tmp_path}: {advice}" in str(error.value)
    assert time.perf_counter() - start < 10  # the first one imports tensorflow-datasets


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real data in ../shared/data")
def test_the_real_files_against_the_published_checksums():
    published.check("fashion_mnist", SHARED / "fashion_mnist")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz has 9,603,454 bytes"):
        published.check("mnist", SHARED / "mnist")
