"""Environments that differ from a developer's machine: a clear line, or it works."""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxlabel
from jaxlabel import data
from jaxlabel.cache import compiled_code_folder
from jaxlabel.cli import environment
from jaxlabel.cli import main as cli
from jaxlabel.data.info import info
from jaxlabel.errors import JaxlabelError, StoreError
from jaxlabel.oracle import LabelStore, ledger_text


def test_64_bits_are_turned_off_with_a_line():
    variables = {"JAX_ENABLE_X64": "1", "XLA_FLAGS": "--mine"}
    assert environment.settle(variables) == [
        "JAX_ENABLE_X64 is not used: jaxlabel computes with 32 bits"
    ]
    assert variables["JAX_ENABLE_X64"] == "0" and variables["XLA_FLAGS"].endswith("--mine")
    assert environment.settle({"JAX_ENABLE_X64": "0"}) == []


def test_a_platform_that_jax_cannot_use_is_one_line(monkeypatch, capsys):
    import jax

    def refuse():
        raise AssertionError  # as JAX 0.10 does for cuda without its plug-in

    def fail(words):
        raise AssertionError

    monkeypatch.setattr(jax, "devices", refuse)
    monkeypatch.setenv("JAX_PLATFORMS", "cudaa")
    monkeypatch.setattr(cli, "_dispatch", fail)
    assert cli.run(["train"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "cannot use JAX_PLATFORMS=cudaa" in said
    monkeypatch.undo()
    monkeypatch.setattr(cli, "_dispatch", fail)
    with pytest.raises(AssertionError):  # an error of our own is not hidden
        cli.run(["train"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding_gets_escapes(encoding, monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding=encoding))
    environment.settle_streams()
    print("\u043a\u043e\u0442 \u2713")
    sys.stdout.flush()
    assert content.getvalue() == b"\\u043a\\u043e\\u0442 \\u2713\n"


def test_without_a_home_no_folder_called_tilde_appears(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, no such user
    assert os.path.isabs(str(compiled_code_folder("xla"))) and "~" not in str(
        compiled_code_folder("xla")
    )


def test_a_home_that_is_read_only_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(compiled_code_folder("xla")).startswith(f"{tmp_path}/.cache/jaxlabel/xla")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not str(compiled_code_folder("xla")).startswith(str(tmp_path))


def test_the_sheet_of_samples_goes_elsewhere_from_a_read_only_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    assert info("digits").endswith(f"samples  {tmp_path}/tmp/digits_samples.png")


def test_another_users_label_store_is_read_without_a_trace(monkeypatch, tmp_path):
    path = tmp_path / "labels.db"
    store = LabelStore(f"sqlite:///{path}")
    store.define("pets", ["cat", "dog"])
    store.add_labels("pets", ["a"], [1])
    store.open_account("run", "pets", 3)
    store.buy("run", ["a"], purpose="train", round=0, asked_by="")
    store.close()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write all
    other = LabelStore(f"sqlite:///{path}")
    assert "budget 3, spent 1" in ledger_text(other)
    with pytest.raises(StoreError, match="readonly database"):
        other.define("birds", ["owl"])
    assert [file.name for file in tmp_path.iterdir()] == ["labels.db"]


def test_an_open_writers_log_is_read_too(monkeypatch, tmp_path):
    path = tmp_path / "labels.db"
    store = LabelStore(f"sqlite:///{path}")
    with store.engine.connect() as connection:  # another process that keeps the log alive
        connection.exec_driver_sql("SELECT 1 FROM jaxlabel_labels")
        store.define("pets", ["cat"])
        assert Path(f"{path}-wal").stat().st_size > 0
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        assert LabelStore(f"sqlite:///{path}").classes("pets") == ("cat",)


@pytest.fixture
def full_folder(tmp_path):
    """A directory on a file system of its own that has room for a few kilobytes."""
    place = tmp_path / "full"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    try:
        (place / "fill").write_bytes(bytes(40_000))
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_folder_for_temporary_files(full_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(full_folder))
    monkeypatch.setenv("TMPDIR", str(full_folder))
    monkeypatch.setenv("SQLITE_TMPDIR", str(full_folder))
    items = [f"item{number}" for number in range(1500)]
    with LabelStore(f"sqlite:///{tmp_path / 'labels.db'}") as store:  # it has room elsewhere
        store.define("set", "ab")
        store.add_labels("set", items, [0] * 1500)
        store.open_account("run", "set", 5000)
        store.buy("run", items[:500], purpose="train", round=0, asked_by="")
        assert len(store.correct("set", items, [1] * 1500)) == 1000
        assert len(store.bought("set", items)) == 500
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    with pytest.raises(JaxlabelError, match="full") as error:  # its work directory is temporary
        jaxlabel.fit(pixels, lambda indices: [0] * len(indices), budget=5)
    assert "\n" not in str(error.value)


def test_a_large_picture_is_read_without_pillows_warning(monkeypatch, tmp_path):
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    assert data.load(f"folder:{tmp_path}").train_images.shape == (1, 8, 8, 1)


def test_torch_is_not_imported_for_tensorboard(tmp_path):
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('torch was imported')")
    code = ("from jaxlabel.runlog import tensorboard; from pathlib import Path; import sys; "
            "e = tensorboard.Events(Path(sys.argv[1])); e.scalars('a', 1, {'b': 2.0}); e.close(); "
            "assert 'torch' not in sys.modules")  # fmt: skip
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "events")], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
