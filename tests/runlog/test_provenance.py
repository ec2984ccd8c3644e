"""Device, versions and commit of a result, also outside git and without an installed package."""

import os
import re
import subprocess
import sys
from pathlib import Path

from jaxlabel import __version__
from jaxlabel.runlog import provenance

ROOT = Path(__file__).parents[2]


def test_device_versions_and_commit_are_recorded():
    made = provenance.made_with()
    assert list(made) == ["device", "cpu_kernels", "versions", "commit"]
    assert made["cpu_kernels"].startswith(("oneDNN, ", "XLA, "))
    assert made["device"] and made["versions"]["jaxlabel"] == __version__
    assert all(re.match(r"\d+\.\d+", text) for text in made["versions"].values())


def test_without_git_the_environment_names_the_commit(monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    assert provenance.commit() == ""
    monkeypatch.setenv("JAXLABEL_COMMIT", "abc")
    assert provenance.commit() == "abc"


def test_the_commit_is_not_that_of_the_project_in_whose_environment_jaxlabel_is(
    tmp_path, monkeypatch
):
    installed = tmp_path / ".venv" / "provenance.py"
    installed.parent.mkdir()
    installed.touch()
    monkeypatch.setattr(provenance, "__file__", str(installed))
    monkeypatch.setenv("JAXLABEL_COMMIT", "abc")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]

    def commit_all():
        subprocess.run([*git, "add", "."], check=True, capture_output=True)
        subprocess.run([*git, "commit", "-m", "all"], check=True, capture_output=True)

    subprocess.run([*git, "init"], check=True, capture_output=True)
    (tmp_path / ".gitignore").write_text(".venv\n")
    commit_all()
    assert provenance.commit() == "abc"
    (tmp_path / ".gitignore").write_text("")
    commit_all()  # the project's repository holds jaxlabel itself
    assert re.fullmatch("[0-9a-f]{40}", provenance.commit())


def test_versions_are_known_where_jaxlabel_is_not_installed(tmp_path):
    (tmp_path / "jaxlabel").symlink_to(ROOT / "jaxlabel")
    script = (
        "import importlib.metadata as m\n"
        "found = m.version\n"
        "def version(name):\n"
        "    if name == 'jaxlabel': raise m.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "m.version = version\n"
        "from jaxlabel.runlog import provenance\n"
        "print(provenance.versions()['jaxlabel'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == __version__
