"""The order of jaxlabel's modules: which may import which, and the picture of it.

    python scripts/architecture.py                         # print the picture
    python scripts/architecture.py docs/architecture.md    # draw it again in this document

A document holds the picture between `<!-- architecture -->` and `<!-- end of architecture -->`.
`tests/test_imports.py` checks that the code keeps to this order and that the pictures are current.
"""

import re
import sys
from pathlib import Path

# From the bottom to the top: a module imports only modules of rows above its own in this list
# (lower layers), never one of its own row and never one of a row below.
ROWS: tuple[tuple[str, dict[str, str]], ...] = (
    ("plain definitions", {
        "__init__": "version", "errors": "exceptions", "log": "the log interface"}),
    ("settings", {"config": "settings, own parts"}),
    ("arrays in, arrays out", {
        "losses": "per-example losses", "cluster": "k-means, neighbours, graphs",
        "certificate": "audits and intervals", "files": "safe writing",
        "oracle": "label store, budget, ledger"}),
    ("files on disk", {"cache": "shared computations"}),
    ("services", {
        "data": "readers", "query": "query strategies", "report": "figures, report page"}),
    ("networks", {"nets": "networks, CPU kernels, devices"}),
    ("images and records", {
        "augment": "random image transforms", "runlog": "records of a run"}),
    ("training", {"train": "training loop"}),
    ("parts of recipes", {
        "predictor": "what a recipe returns", "gan": "SGAN training",
        "pretext": "features without labels"}),
    ("learning", {"scan": "SCAN", "semisupervised": "FreeMatch and others"}),
    ("recipes", {"methods": "one recipe, one file"}),
    ("one run", {"experiment": "configuration to report"}),
    ("many runs", {"sweep": "grids of runs"}),
    ("page", {"label": "labelling page"}),
    ("Python interface", {"api": "fit, Session, Result"}),
    ("scikit-learn interface", {"sklearn": "FewLabelClassifier"}),
    ("command line", {"cli": "command line"}),
    ("start", {"__main__": "python -m jaxlabel"}),
)  # fmt: skip
MARKED = re.compile(r"(<!-- architecture -->\n).*?(<!-- end of architecture -->)", re.DOTALL)


def rank() -> dict[str, int]:
    """Return the layer number of every module of jaxlabel, 0 for the lowest layer.

    A module may import only modules of lower numbers.
    """
    return {room: number for number, (_, rooms) in enumerate(ROWS) for room in rooms}


def picture() -> str:
    """Return the picture of the modules as text: one line per layer, the highest layer first."""
    lines = []
    for name, rooms in reversed(ROWS):
        shown = " · ".join(f"{room} ({about})" for room, about in rooms.items())
        lines.append(f"{name:<22} {shown}")
    return "\n".join(lines)


def redraw(document: str) -> str:
    """Return the text of a document with the current picture in place of every marked old one."""
    return MARKED.sub(lambda match: f"{match[1]}```text\n{picture()}\n```\n{match[2]}", document)


def main() -> None:
    """Print the picture of the modules; with file names as arguments, redraw it in these files."""
    if len(sys.argv) == 1:
        print(picture())
    for path in map(Path, sys.argv[1:]):
        path.write_text(redraw(path.read_text()))


if __name__ == "__main__":
    main()
