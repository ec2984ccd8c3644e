"""The benchmark of growth: its exponents, its table, and that it goes on where it was."""

import json
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import bench_scale  # noqa: E402

ROWS = [
    {"stage": "graph", "images": size, "processor": seconds, "seconds": 9.0, "gigabytes": 0.25}
    for size, seconds in ((1_000, 0.5), (10_000, 0.02), (100_000, 2.0))
]


def test_the_exponent_is_that_of_the_last_two_sizes():
    assert bench_scale.exponent(ROWS) == 2.0
    assert bench_scale.exponent([*ROWS[:2], {"images": 100_000, "failed": "stopped"}]) == -1.4
    assert bench_scale.exponent(ROWS[:1]) is None


def test_measurements_of_an_earlier_call_are_in_the_table(tmp_path, monkeypatch, capsys):
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    monkeypatch.setattr(sys, "argv", ["", f"--out={tmp_path}/old.jsonl", "--stages=graph",
                                      f"--data={tmp_path}", f"--folder={tmp_path}"])  # fmt: skip
    for size in (1_000, 10_000, 100_000):
        (tmp_path / str(size)).mkdir()
        (tmp_path / str(size) / "train-images-idx3-ubyte").touch()
    assert bench_scale.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| graph | 0.50 s, 0.25 GB | 0.02 s, 0.25 GB | 2.00 s, 0.25 GB | 2.0 |"
    assert (tmp_path / "old.jsonl").read_text().count("\n") == 3  # nothing was measured again


def test_an_unknown_stage_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["", "--stages=graphs", "--data=."])
    with pytest.raises(SystemExit) as error:
        bench_scale.main()
    assert error.value.code == 2
    assert "no stage 'graphs': it is one of reading, features" in capsys.readouterr().err
