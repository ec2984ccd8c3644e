"""A Sphinx extension that makes the notes and tables of `experiments/` pages of this site.

Before the build they are copied to `docs/experiments/`, which git ignores. The pages of `docs/`
link to `../experiments/NAME.md`, which is right where one reads them in the repository; in the site
these links go to the copies.
"""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
COPIED = (".md", ".svg", ".py", ".jsonl")
OUTSIDE = re.compile(r"(\]\((?:\.\./)*)\.\./experiments/")


def copy(app: Any) -> None:
    """Copy the files whose contents have changed, and remove those that are gone."""
    source, target = DOCS.parent / "experiments", DOCS / "experiments"
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.suffix in COPIED}
    for path in sorted(target.rglob("*")):
        if path.is_file() and path.relative_to(target) not in wanted:
            path.unlink()
    for name in sorted(wanted):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        fresh = (source / name).read_bytes()
        if not (target / name).exists() or (target / name).read_bytes() != fresh:
            (target / name).write_bytes(fresh)


def relink(app: Any, docname: str, source: list[str]) -> None:
    """Point links between `docs/` and the copies to each other, and give a bare table a title."""
    if not docname.startswith("experiments/"):
        source[0] = OUTSIDE.sub(r"\1experiments/", source[0])
        return
    source[0] = source[0].replace("](../docs/", "](../")
    if not source[0].startswith("#"):
        source[0] = f"# {docname.rpartition('/')[2]}\n\n{source[0]}"


def setup(app: Any) -> dict[str, Any]:
    """Copy when the build begins, and change links as pages are read."""
    app.connect("builder-inited", copy)
    app.connect("source-read", relink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
