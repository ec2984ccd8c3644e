import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import migrate_results  # noqa: E402

from jaxlabel.runlog.old_settings import RENAMED  # noqa: E402


def test_old_names_become_todays_and_the_rest_stays():
    old = {"seed": 3, "config": {"first": 5, "alignment": "paid", "steps": 7}}
    line = migrate_results.migrate_line(json.dumps(old))
    config = {"initial_labels": 5, "alignment": "labelled", "steps": 7}
    assert json.loads(line) == {"seed": 3, "config": config}
    assert migrate_results.migrate_line(line) == line
    odd = '{"config":{"steps": 7},  "seed": 1}'
    assert migrate_results.migrate_line(odd) == odd


def test_no_published_line_has_an_old_name():
    for path in (ROOT / "experiments" / "results").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            assert not set(json.loads(line).get("config") or ()) & set(RENAMED), path
