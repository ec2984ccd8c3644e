"""The house has one direction: every import inside jaxlabel goes to a lower layer."""

import ast
from pathlib import Path

import jaxlabel

LAYERS = (
    ("__init__", "errors", "config", "log", "files", "interval", "cache",
     "processor"),
    ("data", "augment", "nets", "losses", "cluster", "oracle"),
    ("query", "certificate", "train", "predictor", "autoencode", "pretext", "linear", "gan", "scan",
     "semisupervised"),
    ("methods",),
    ("evaluate", "runlog", "report", "figures", "progress", "provenance", "results"),
    ("experiment", "account", "sweep", "prediction", "explore"),
    ("arguments", "cli", "commands", "configfile", "__main__"),
)  # fmt: skip
RANK = {room: rank for rank, layer in enumerate(LAYERS) for room in layer}
ROOT = Path(jaxlabel.__file__).parent


def imports(path: Path) -> set[str]:
    """The rooms that a file imports, also inside functions."""
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


def test_every_room_has_a_layer():
    assert {room for room, _ in files()} <= set(RANK)


def test_imports_go_downwards_or_stay_in_the_layer():
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for room, path in files()
        for other in imports(path)
        if RANK[other] > RANK[room]
    ]
    assert wrong == []


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
