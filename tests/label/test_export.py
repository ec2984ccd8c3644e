"""The labelling page's downloads: a table of all pictures, and a folder per class."""

import json

from pages import asked, clients, say


def test_export_holds_every_picture(project, tmp_path):
    inside, _, _ = clients(project)
    first, second = asked(inside)[:2]
    say(inside, first, "a/b, c")
    say(inside, second, "")
    lines = inside.get("/export/labels.jsonl").text.splitlines()
    rows = {row["item"]: row for row in map(json.loads, lines)}
    assert len(lines) == 41 and rows[first]["label"] == "a/b, c"
    assert rows[second]["source"] == "not sure"
    assert inside.get("/export/labels.csv").text.count("\n") == 42
    for copies in (False, True):
        made = inside.post("/api/export", json={"copies": copies}).json()
        place = project.workdir / "page" / "classes" / "a_b, c"
        assert made["count"] == 1 and len(list(place.iterdir())) == 1
        assert next(place.iterdir()).is_symlink() != copies
