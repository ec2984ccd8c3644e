"""Pictures are decoded once: later starts read their pixels from the cache on disk."""

import os
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data
from jaxlabel.data import decoded, folder, streams
from jaxlabel.data.dataset import Options
from jaxlabel.errors import DataError

SKIP = Options(skip_unreadable=True)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Twelve training and four test pictures, one file that is none, and the cache's folder."""
    monkeypatch.setenv("JAXLABEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "FEWEST", 2)
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        (tmp_path / "own" / split).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (6, 5, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / split / f"{number:02}.png")
    (tmp_path / "own" / "train" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "own"


@pytest.fixture
def opened(monkeypatch):
    """The list of files that are decoded."""
    files = []
    read = folder.read_picture
    monkeypatch.setattr(folder, "read_picture", lambda file: files.append(file.name) or read(file))
    return files


def test_a_second_start_decodes_nothing_and_gets_the_same(pictures, opened):
    first = data.load(f"folder:{pictures}", SKIP)
    assert len(opened) == 17
    again = data.load(f"folder:{pictures}", SKIP)
    assert len(opened) == 17
    assert first.train_images.shape == (12, 6, 5, 3) and first.unread[0].file.endswith("broken.png")
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not again.train_images.flags.writeable  # it is the file on disk
    data.load(f"folder:{pictures}", SKIP._replace(image_mode="grey", image_size=4))
    assert len(opened) == 34


def test_a_changed_or_new_file_is_seen(pictures, opened):
    data.load(f"folder:{pictures}", SKIP)
    Image.new("RGB", (5, 6), (9, 9, 9)).save(pictures / "train" / "03.png")
    changed = data.load(f"folder:{pictures}", SKIP)
    assert (changed.train_images[3] == 9).all()
    assert len(opened) == 17 + 13  # the test pictures have not changed
    Image.new("RGB", (5, 6), (7, 7, 7)).save(pictures / "test" / "00a.png")
    assert (data.load(f"folder:{pictures}", SKIP).test_images[1] == 7).all()


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "I/O error"), MemoryError()]
)
def test_a_file_that_cannot_be_read_for_now_is_read_by_the_next_start(pictures, monkeypatch, error):
    read = folder.read_picture

    def refuse(file):
        if file.name == "07.png":
            raise error
        return read(file)

    monkeypatch.setattr(folder, "read_picture", refuse)
    first = data.load(f"folder:{pictures}", SKIP)
    assert len(first.train_images) == 11 and len(first.unread) == 2
    monkeypatch.setattr(folder, "read_picture", read)  # its size and time have not changed
    again = data.load(f"folder:{pictures}", SKIP)
    assert len(again.train_images) == 12
    assert [one.file for one in again.unread] == [str(pictures / "train" / "broken.png")]


def test_a_dangling_link_does_not_keep_a_folder_out_of_the_cache(pictures, opened):
    (pictures / "train" / "gone.png").symlink_to(pictures / "moved.png")
    first = data.load(f"folder:{pictures}", SKIP)
    again = data.load(f"folder:{pictures}", SKIP)
    assert len(opened) == 18
    assert first.unread == again.unread and len(again.unread) == 2
    np.testing.assert_array_equal(first.train_images, again.train_images)
    Image.new("RGB", (5, 6), (9, 9, 9)).save(pictures / "moved.png")
    assert (data.load(f"folder:{pictures}", SKIP).train_images[-1] == 9).all()


@pytest.mark.parametrize("name", ["07.png", "\udcff.png"])  # the second is not valid UTF-8
def test_a_file_without_the_right_to_read_it_is_tried_again_only_with_the_right(
    pictures, opened, monkeypatch, name
):
    file = (pictures / "train" / "07.png").rename(pictures / "train" / name)
    read, access = folder.read_picture, os.access  # the tests may run as root, who may read all

    def refuse(path):
        if path == file:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(folder, "read_picture", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: path != file and access(path, mode))
    for _ in range(2):
        assert len(data.load(f"folder:{pictures}", SKIP).train_images) == 11
        assert len(opened) == 16
    monkeypatch.setattr(folder, "read_picture", read)
    monkeypatch.setattr(os, "access", access)
    for _ in range(2):
        assert len(data.load(f"folder:{pictures}", SKIP).train_images) == 12
        assert len(opened) == 16 + 13


@pytest.mark.parametrize("name", ["pixels.npy", "items.npy", "about.json"])
def test_a_damaged_entry_is_made_again(pictures, opened, tmp_path, name):
    first = data.load(f"folder:{pictures}", SKIP)
    pixels = first.train_images.copy()  # they are a part of the file that is damaged
    for file in (tmp_path / "cache" / "pictures").glob(f"*/{name}"):
        file.write_bytes(file.read_bytes()[:-50] if name != "about.json" else b"{")
    for total in (34, 34):
        again = data.load(f"folder:{pictures}", SKIP)
        np.testing.assert_array_equal(again.train_images, pixels)
        assert len(opened) == total


def test_an_entry_that_another_process_has_written_meanwhile_is_kept(
    pictures, tmp_path, monkeypatch
):
    entries, write, numbers = tmp_path / "cache" / "pictures", decoded._write, []

    def write_twice(entry, result):
        write(entry, result)
        numbers.append((entry / "pixels.npy").stat().st_ino)
        write(entry, result)
        numbers.append((entry / "pixels.npy").stat().st_ino)

    monkeypatch.setattr(decoded, "_write", write_twice)
    data.load(f"folder:{pictures}", SKIP)
    assert len(numbers) == 4 and numbers[::2] == numbers[1::2]
    assert not list(entries.glob("*.part"))


def test_entries_unused_for_longest_are_deleted(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "MAX_BYTES", 2000)  # the two entries have 1,208 and 488
    data.load(f"folder:{pictures}", SKIP)
    kept = list((tmp_path / "cache" / "pictures").iterdir())
    assert {len(np.load(entry / "pixels.npy")) for entry in kept} == {12, 4}
    data.load(f"folder:{pictures}", SKIP._replace(image_mode="rgb"))
    left = list((tmp_path / "cache" / "pictures").iterdir())
    assert not set(left) & set(kept) and len(left) == 2
    monkeypatch.setattr(decoded, "MAX_BYTES", 100)
    assert len(data.load(f"folder:{pictures}", SKIP._replace(image_size=3)).train_images) == 12


def test_few_pictures_and_a_full_disk_need_no_cache(pictures, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file in the place of the folder")
    assert len(data.load(f"folder:{pictures}", SKIP).train_images) == 12
    (tmp_path / "cache").unlink()
    monkeypatch.setattr(decoded, "FEWEST", 1000)
    data.load(f"folder:{pictures}", SKIP)
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def archive(pictures):
    """A TAR archive of the pictures without the broken one."""
    (pictures / "train" / "broken.png").rename(pictures.parent / "broken.png")
    with tarfile.open(pictures.parent / "own.tar", "w") as file:
        file.add(pictures, "own")
    return pictures.parent / "own.tar"


@pytest.fixture
def read(monkeypatch):
    """The list of pictures in archives that are decoded."""
    opened, decode = [], streams.read_picture
    monkeypatch.setattr(streams, "read_picture", lambda file: opened.append(1) or decode(file))
    return opened


def test_an_archive_is_decoded_once(archive, pictures, read, monkeypatch):
    first = data.load(f"tar:{archive}")
    assert len(read) == 16
    monkeypatch.chdir(pictures)
    again = data.load(f"tar:{archive}")
    assert len(read) == 16
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one, other)
    before = archive.stat()
    other = archive.rename(archive.with_suffix(".old"))
    archive.write_bytes(other.read_bytes())
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))
    data.load(f"tar:{archive}")
    assert len(read) == 32  # another file of the same size and time
    with tarfile.open(archive, "w") as file:
        file.add(pictures / "test", "own")
    assert len(data.load(f"tar:{archive}").train_images) == 4 and len(read) == 36


def test_an_archive_is_kept_whole_or_not_at_all(archive, read, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "MAX_BYTES", 1300)  # the pixels of the splits have 1,080 and 360
    data.load(f"tar:{archive}")
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(decoded, "MAX_BYTES", 8000)
    with tarfile.open(archive, "a") as file:
        file.add(tmp_path / "broken.png", "own/train/broken.png")
    for total in (33, 50):
        assert len(data.load(f"tar:{archive}", SKIP).train_images) == 12
        assert len(read) == total
    assert not (tmp_path / "cache").exists()


def test_few_bytes_of_an_archive_are_read_ahead(monkeypatch):
    monkeypatch.setattr(streams, "TOGETHER_BYTES", 300)
    monkeypatch.setattr(streams, "PENDING_BYTES", 1000)
    taken, got = [], []

    def entries():
        for number in range(100):
            taken.append(number)
            yield streams.Entry(str(number), bytes(100))

    with ThreadPoolExecutor(1) as pool:
        for entry in streams._decode_in_parallel(pool, lambda entry: (entry, None), entries()):
            got.append(entry[0].name)
            assert len(taken) - len(got) <= 13  # 1000 bytes and a group of 3
    assert got == [str(number) for number in range(100)]


def test_a_damaged_picture_ends_the_decoding_of_an_archive(
    archive, pictures, tmp_path, monkeypatch
):
    with tarfile.open(archive, "w") as file:
        file.add(tmp_path / "broken.png", "own/broken.png")
        for _ in range(20):
            file.add(pictures, "own")
    decode, read = streams.read_picture, []

    def slowly(file):
        picture = decode(file)
        time.sleep(0.01)
        read.append(1)
        return picture

    monkeypatch.setattr(streams, "read_picture", slowly)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with pytest.raises(DataError, match=r"broken.png cannot be read"):
        data.load(f"tar:{archive}")
    assert len(read) < 112  # of the 8 groups that were read ahead, the last 7 have 112 pictures
