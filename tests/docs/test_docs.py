"""The documentation's code runs, its tables are current, and its links lead somewhere."""

import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from jaxlabel.cli import arguments, main, settings
from jaxlabel.runlog import results
from jaxlabel.sweep import plan

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(path for path in DOCS.rglob("*.md") if "experiments" not in path.parts[-3:]),
]
CELL = re.compile(r"^```\{code-cell\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(?:\w+|\{code-cell\})?\n.*?^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = {"--config=CONFIG", "--config=my_config.py"}  # commands whose settings are unknown
COMPUTES = re.compile(r"!jaxlabel ((?:train|predict) [^|&>]*?)(?: 2>/dev/null)?")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def script_of(page: Path) -> str:
    """Return a page's cells as one Python script; a line `!command` runs in a shell.

    Trainings and predictions run in the script's process, which need not import JAX once more.
    """
    lines = ["import subprocess", "from jaxlabel.cli import main"]
    for cell in CELL.findall(page.read_text()):
        for line in cell.splitlines():
            if command := COMPUTES.fullmatch(line):
                line = f"assert main.run({shlex.split(command[1])}) == 0"
            elif line.startswith("!"):
                line = f"subprocess.run({line[1:]!r}, shell=True, check=True)"
            lines.append(line)
    return "\n".join(lines)


def run_page(name: str, folder: Path, **changes: str) -> str:
    """Run a page's cells in an empty folder, and return what they print.

    Args:
      name: the file of the page.
      folder: the empty folder.
      changes: settings for shorter trainings, by the setting that each replaces.
    """
    script = script_of(DOCS / name)
    for old, new in changes.items():
        assert old in script
        script = script.replace(old, new)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_tutorial_runs(tmp_path):
    printed = run_page("tutorial.md", tmp_path)
    assert "64 labels bought" in printed and "budget 64, spent 64, left 0" in printed
    accuracy = re.search(r"64 labels, (\d+\.\d)% of the test images right", printed)
    assert accuracy and float(accuracy[1]) > 96
    medoids = re.search(r"medoids +20 labels: (\d+\.\d)%", printed)
    random = re.search(r"random +20 labels: (\d+\.\d)%", printed)
    assert medoids and random and float(medoids[1]) > float(random[1]) + 5
    assert (tmp_path / "runs/digits/report.html").exists()


def test_the_python_page_runs(tmp_path):
    shorter = {
        'recipe="medoids:pixels"': 'recipe="medoids:pixels", classifier_steps=100',
        "steps=300": "steps=30",
    }
    printed = run_page("python.md", tmp_path, **shorter)
    assert "in all 40 labels" in printed and "20 labels" in printed and "True" in printed


def test_the_example_of_an_own_experiment_makes_a_plan(tmp_path):
    page = (DOCS / "extending.md").read_text()
    file = tmp_path / "my_experiment.py"
    file.write_text(page.partition("```python\n# my_experiment.py\n")[2].partition("```")[0])
    made = plan.make(file, tmp_path, quick=False, data_root="")
    assert len(made.runs) == 2 * 2 * 5 and made.about == "Do medoids help on the digits?"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_readme_names_its_two_commands():
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2 and "pytest" in commands[1] and commands[0].endswith("train")


def test_generated_tables_are_current():
    page = DOCS / "results.md"
    text = page.read_text()
    assert "<!-- results: " in text
    command = "python -m jaxlabel.runlog.results docs/results.md"
    assert results.with_tables(text, page.parent) == text, f"the tables are old: {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    text = BLOCK.sub("", page.read_text())
    targets = [target for target in LINK.findall(text) if ":" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def commands_of(page: Path) -> list[list[str]]:
    """Return the words after `jaxlabel` of each command in a page's shell blocks."""
    found = []
    lines = [line for block in SHELL.findall(page.read_text())
             for line in block.replace("\\\n", " ").splitlines()]  # fmt: skip
    for line in lines:
        words = [word for word in shlex.split(line, comments=True) if word != "..."]
        for place in [i for i, word in enumerate(words) if Path(word).name == "jaxlabel"]:
            command = list(itertools.takewhile(lambda word: word != "&&", words[place + 1 :]))
            if command and command[0].isalpha() and command[-1] != "--help":
                found.append(command)  # otherwise `jaxlabel` is the name of a folder or an image
    return found


@pytest.mark.parametrize("page", [p for p in PAGES if commands_of(p)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_exist_with_their_flags_and_settings(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(DOCS / "examples")
    for words in commands_of(page):
        command, rest = main._find_command(words)
        if not command.default_config:
            arguments.read(command, rest)
        elif not PLACEHOLDERS & set(rest):
            settings.read(command, rest)


def test_the_changelog_lists_every_renamed_setting():
    from jaxlabel.runlog.old_settings import RENAMED

    text = (ROOT / "CHANGELOG.md").read_text()
    for old, new in RENAMED.items():
        removed_later = f"`{new}`, once `{old}`"
        assert f"| `{old}` | `{new}` |" in text or removed_later in text


def test_the_changelog_names_every_removed_setting():
    from jaxlabel.runlog.old_settings import REMOVED

    table = (ROOT / "CHANGELOG.md").read_text().partition("| removed | instead |")[2]
    table = table.partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row[:100])}
    assert REMOVED.keys() <= named
