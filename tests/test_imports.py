"""Every import inside jaxlabel goes to a lower layer, in the order of scripts/architecture.py."""

import ast
import sys
from pathlib import Path

import pytest

import jaxlabel

ROOT = Path(jaxlabel.__file__).parent
sys.path.insert(0, str(ROOT.parent / "scripts"))
import architecture  # noqa: E402

RANK = architecture.rank()


def imports(path: Path) -> set[str]:
    """Return the top-level modules of jaxlabel that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "jaxlabel" and len(parts) > 1:
                known = parts[1] in RANK or (ROOT / parts[1]).exists()
                found.add(parts[1] if known or (ROOT / f"{parts[1]}.py").exists() else "__init__")
    return found


def files() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        found.append((parts[0].removesuffix(".py"), path))
    return [(room, path) for room, path in found if room != "configs"]


def test_every_module_has_a_layer():
    assert {room for room, _ in files()} == set(RANK)


def test_every_import_goes_to_a_lower_layer():
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for room, path in files()
        for other in imports(path) - {room}
        if room != "__init__"  # it imports the faces when a name is first used: tests/test_face.py
        if RANK[other] >= RANK[room]
    ]
    assert wrong == []


def test_the_package_has_few_entries():
    entries = [path for path in ROOT.iterdir() if path.name not in ("__pycache__", "configs")]
    assert sum(path.suffix == ".py" for path in entries) <= 10
    assert sum(path.is_dir() for path in entries) <= 20


@pytest.mark.parametrize("name", ["docs/architecture.md"])
def test_pictures_are_drawn_from_the_order(name):
    document = (ROOT.parent / name).read_text()
    assert "<!-- architecture -->" in document
    assert architecture.redraw(document) == document, f"python scripts/architecture.py {name}"


def test_methods_see_labels_through_the_oracle_only():
    for room, path in files():
        if room == "methods":
            assert not imports(path) & {"data", "evaluate", "experiment", "runlog"}, path


def test_data_and_oracle_start_without_jax():
    for room, path in files():
        if room in ("data", "oracle", "errors", "config"):
            modules = {
                (node.module or "").split(".")[0]
                if isinstance(node, ast.ImportFrom)
                else node.names[0].name.split(".")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Import | ast.ImportFrom)
            }
            assert not modules & {"jax", "flax", "optax"}, path
