"""Give published result lines today's names of settings.

    python scripts/migrate_results.py experiments/results/*.jsonl

Settings that were renamed (`RENAMED` in jaxlabel/runlog/old_settings.py) have their old names in
result lines that older versions wrote. The script rewrites each line's `config` with today's names
and leaves all else as it is; a line that has no old name stays the same to the byte.
"""

import json
import sys
from pathlib import Path

from jaxlabel.runlog.old_settings import with_current_names


def migrate_line(line: str) -> str:
    """Replace old names of settings in one result line (JSON) and return the line.

    If the line has no old names, it is returned unchanged.
    """
    result = json.loads(line)
    config = result.get("config")
    if not isinstance(config, dict) or with_current_names(config) == config:
        return line
    ordered = list(result) == sorted(result)
    return json.dumps(
        result | {"config": with_current_names(config)}, sort_keys=ordered, ensure_ascii=False
    )


def main() -> None:
    """Rewrite the files that the arguments name, and print how many lines changed in each."""
    for path in map(Path, sys.argv[1:]):
        lines = path.read_text().splitlines()
        fresh = [migrate_line(line) for line in lines]
        changed = sum(old != new for old, new in zip(lines, fresh, strict=True))
        if changed:
            path.write_text("".join(f"{line}\n" for line in fresh))
        print(f"{path}: {changed} of {len(lines)} lines changed")


if __name__ == "__main__":
    main()
