import errno
import os
from pathlib import Path

import numpy as np
import pytest

from jaxlabel import files
from jaxlabel.errors import JaxlabelError, UsageError

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")


def test_write_replaces_whole_files_and_leaves_nothing_else(tmp_path):
    files.write(tmp_path / "new" / "a.txt", "one")
    files.write(tmp_path / "new" / "a.txt", b"two")
    assert [(p.name, p.read_text()) for p in (tmp_path / "new").iterdir()] == [("a.txt", "two")]


def test_a_name_in_another_encoding_is_kept_in_json(tmp_path):
    settings = {"data": os.fsdecode(b"folder:caf\xe9"), "store": "ü", "version": 1}
    files.write_json(tmp_path / "config.json", settings)
    (tmp_path / "lines").write_bytes(files.json_line(settings))
    assert files.read_json(tmp_path / "config.json") == settings
    assert files.read_lines(tmp_path / "lines")[0] == [settings]


def refuse_photos(folder):
    if (folder / "holiday.jpg").exists():
        raise UsageError(f"{folder} holds photographs")


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "deep" / "folder"
    for name in ("one", "two"):
        files.replace_folder(target, lambda new: (new / name).touch(), refuse_photos)  # noqa: B023
        assert [path.name for path in target.iterdir()] == [name]
    with pytest.raises(JaxlabelError, match=r"cannot write .*: No such file"):
        files.replace_folder(target, lambda new: (new / "a" / "b").touch(), refuse_photos)
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


def test_no_foreign_folder_is_deleted(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    (tmp_path / "link").symlink_to("photos")
    for path, message in (
        ("new/../photos", "holds photographs"), ("new/../link", "holds photographs"),
        ("link", "is a link"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            files.replace_folder(tmp_path / path, lambda new: None, refuse_photos)

    def fill(new):  # while the new content is written, photographs come to the folder
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "holiday.jpg").touch()

    with pytest.raises(UsageError, match="holds photographs"):
        files.replace_folder(tmp_path / "late", fill, refuse_photos)
    assert (tmp_path / "photos" / "holiday.jpg").exists()
    assert (tmp_path / "late" / "holiday.jpg").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["late", "link", "photos"]


def test_the_current_directory_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in (".", "..", tmp_path):
        with pytest.raises(UsageError, match="holds the current directory"):
            files.replace_folder(Path(path), lambda new: None, refuse_photos)
    files.replace_folder(Path("new"), lambda new: (new / "a").touch(), refuse_photos)
    assert [path.name for path in Path.cwd().iterdir()] == ["new"]
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    files.replace_folder(tmp_path / "other", lambda new: (new / "a").touch(), refuse_photos)
    assert (tmp_path / "other" / "a").exists()


def test_a_link_stays_and_its_file_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/a.txt")  # which does not exist yet
    for text in ("one", "two"):
        files.write(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there" / "a.txt").read_text() == text
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a.txt"]


def test_pipes_and_devices_are_written_to_directly(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    files.write(tmp_path / "pipe", "one")
    assert os.read(reader, 10) == b"one" and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    (tmp_path / "null").symlink_to("/dev/null")
    files.write(tmp_path / "null", "one")
    assert (tmp_path / "null").is_symlink() and Path("/dev/null").is_char_device()


@full
def test_a_full_disk_raises_an_error_of_one_line_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})
    (tmp_path / f".a.json.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(JaxlabelError, match=r"a\.json: no space left on the disk; free some") as e:
        files.write_json(path, {"new": 2})
    assert "\n" not in str(e.value)
    assert files.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_cannot_be_written_raises_an_error_of_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JaxlabelError, match=r"cannot write .*: (Not a directory|File exists)"):
        files.write(tmp_path / "file" / "a.txt", "x")
    with (
        pytest.raises(JaxlabelError, match="cannot write here: Permission denied"),
        files.write_errors(Path("here")),
    ):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_no_password_of_a_url_is_shown():
    for url, shown in (
        ("postgresql://me:se:cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=secret&x=1",
         "postgresql://host/db?user=me&password=***&x=1"),
        ("sqlite:///labels.db", "sqlite:///labels.db"),
    ):  # fmt: skip
        assert files.without_password(url) == shown


def test_a_private_file_is_never_anyone_elses_to_read(tmp_path, monkeypatch):
    modes, fsync = [], os.fsync

    def record_mode(number):
        modes.append(os.fstat(number).st_mode & 0o777)
        fsync(number)

    monkeypatch.setattr(os, "fsync", record_mode)
    files.write_json(tmp_path / "a.json", {}, private=True)
    assert [*modes, (tmp_path / "a.json").stat().st_mode & 0o777] == [0o600, 0o600]


def test_json_converts_arrays_and_nan(tmp_path):
    value = {"a": np.float32(0.5), "b": [np.nan, (1, np.int64(2))], "c": np.arange(3), "d": "é"}
    files.write_json(tmp_path / "a.json", value)
    read = files.read_json(tmp_path / "a.json")
    assert read == {"a": 0.5, "b": [None, [1, 2]], "c": [0, 1, 2], "d": "é"}


def test_read_json_of_missing_and_invalid_files(tmp_path):
    assert files.read_json(tmp_path / "none.json") is None
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(JaxlabelError, match="holds no JSON object"):
        files.read_json(tmp_path / "list.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(JaxlabelError, match="is not JSON"):
        files.read_json(tmp_path / "half.json")


@pytest.mark.parametrize("cut", range(1, 9))
def test_read_lines_drops_a_half_written_last_line(tmp_path, cut):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + b'{"a": 2}\n'[:cut])
    assert files.read_lines(path) == ([{"a": 1}], 9)


def test_read_lines_refuses_a_broken_line_in_the_middle(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(JaxlabelError, match=r"a\.jsonl: line 2"):
        files.read_lines(path)
    assert files.read_lines(tmp_path / "none") == ([], 0)
