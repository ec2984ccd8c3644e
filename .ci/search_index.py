"""Check that a search of the built site finds words: `python search_index.py SITE WORD...`."""

import json
import sys
from pathlib import Path


def main(site: str, *words: str) -> int:
    """Return 1 and name the words that neither the objects nor the texts of the index have."""
    text = (Path(site) / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    terms = set(index["terms"]) | set(index["titleterms"])
    objects = {entry[-1] for entries in index["objects"].values() for entry in entries}
    missing = [word for word in words if word not in objects and word.lower() not in terms]
    if missing:
        print(f"{site}: a search does not find {', '.join(missing)}", file=sys.stderr)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
