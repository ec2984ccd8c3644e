import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweeps import Few, cells, names

from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.sweep import engine, local


@pytest.fixture
def few(tmp_path: Path) -> Few:
    return Few(tmp_path)


def test_tables_figures_and_page_of_a_small_sweep(few):
    table = few.sweep()
    # 10 11 12: mean 11, deviation 1, t(2, .975) = 4.302653, half = 4.302653 / sqrt(3) = 2.484
    assert cells(table) == [
        ["random labels", "shapes", "budget=10.0", "10", "11.00 (8.52 to 13.48)", "10.00", "+1.00",
         "3", "2.5", "none"],
        ["random labels", "shapes", "budget=20.0", "20", "21.00 (18.52 to 23.48)", "", "", "3",
         "2.5", "none"],
        ["strange", "shapes", "account=well", "64", "65.00 (62.52 to 67.48)", "", "", "3", "2.5",
         "none"],
    ]  # fmt: skip
    with (few.workdir / "table.csv").open() as file:
        first = next(csv.DictReader(file))
    assert float(first["mean"]) == pytest.approx(0.11) and first["n"] == "3"
    assert float(first["high"]) == pytest.approx(0.11 + 0.02484138, abs=1e-7)
    assert (first["theirs"], first["labels_spent"], first["seconds"]) == ("0.1", "10.0", "2.5")
    page = (few.workdir / "index.html").read_text()
    for name in names():
        assert f'href="runs/{name}/report.html"' in page
        assert f"working on {name}" in (few.workdir / "runs" / name / "run.log").read_text()
    svg = (few.workdir / "figures" / "table1.svg").read_text()
    assert "random labels: 0.21 at 20" in svg and "strange: 0.65 at 64" in svg and "<style>" in svg
    chart = svg.partition('<svg width="480" height="270">')[2].partition("</svg>")[0]
    assert "strange: 0.65 at 64" in chart and f"{chart}</svg>" in page
    assert [svg.count(f">{name}</text>") for name in ("random labels", "strange")] == [1, 1]


def test_a_second_start_runs_nothing_and_imports_no_jax(few, monkeypatch):
    few.sweep()
    before = (few.workdir / "table.md").read_text(), few.tally()
    code = (
        "import sys; from jaxlabel.cli import main as cli; "
        f"code = cli.run(['sweep', '--experiment={few.folder}/few.py', "
        f"'--workdir={few.workdir}', '--data_root={few.folder}/data']); "
        "sys.exit(code or 9 * ('jax' in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
    assert ((few.workdir / "table.md").read_text(), few.tally()) == before
    assert few.tally() == sorted(names())


def test_a_run_on_features_from_outside_is_in_no_table(few, capsys):
    few.sweep()
    path = few.workdir / "runs" / names()[0] / "result.json"
    result = json.loads(path.read_text()) | {"features_from_outside": {"file": "clip.npz"}}
    path.write_text(json.dumps(result))
    assert [row[-3] for row in cells(few.sweep())] == ["2", "3", "3"]
    printed = capsys.readouterr().out
    assert "9 of 9 runs are done; 1 on features from outside are in no table" in printed


def test_only_a_run_with_a_missing_result_is_repeated(few):
    few.sweep()
    (few.workdir / "runs" / names()[4] / "result.json").unlink()
    few.sweep()
    assert sorted([*names(), names()[4]]) == few.tally()


def test_only_the_runs_of_an_added_row_are_executed(few):
    few.sweep()
    few.write(**{"20.0": "20.0, 30.0", "None": "None, None"})
    table = few.sweep()
    assert len(few.tally()) == 12 and [row[2] for row in cells(table)] == [
        "budget=10.0", "budget=20.0", "budget=30.0", "account=well",
    ]  # fmt: skip


def test_runs_with_an_edited_part_of_the_users_own_are_repeated(few, monkeypatch):
    def write_part(text):
        (few.folder / "look.py").write_text(f"def turn(view):\n    return {text}\n")
        monkeypatch.delitem(sys.modules, "look", raising=False)

    monkeypatch.chdir(few.folder)
    few.write(shapes='shapes", kind="look:turn')
    write_part("None")
    for _ in range(2):
        few.sweep(publish=True)
        assert len(few.tally()) == 9
    write_part("view.edited")
    (few.workdir / "runs" / names()[0] / "result.json").unlink()  # it was killed
    few.sweep(limit=1e-9, go_on=True)  # the published results are outdated too
    assert cells(few.workdir / "table.md") == []
    few.sweep(publish=True)
    assert len(few.tally()) == 18 and len(list((few.workdir / "earlier").iterdir())) == 9
    few.sweep(limit=1e-9, go_on=True, workdir=few.folder / "other")
    assert [row[-3] for row in cells(few.folder / "other" / "table.md")] == ["3", "3", "3"]
    assert len(few.tally()) == 18


@pytest.mark.parametrize(
    ("account", "error"),
    [("fail", "no such picture"), ("die", "its process was killed by SIGKILL")],
)
def test_a_failing_run_does_not_stop_the_others(few, capsys, account, error):
    few.write(account)
    with pytest.raises(JaxlabelError, match="1 of 9 runs failed") as caught:
        few.sweep()
    assert caught.value.exit_code == 1
    bad = names(account)[-2]
    log = few.workdir / "runs" / bad / "run.log"
    assert f"{bad}: FAILED: {error} ({log})" in capsys.readouterr().out
    assert (
        f'<a href="runs/{bad}/run.log">{bad}</a>: {error}'
        in (few.workdir / "index.html").read_text()
    )
    assert [row[-3] for row in cells(few.workdir / "table.md")] == ["3", "3", "2"]
    with pytest.raises(JaxlabelError):
        few.sweep()
    assert few.tally() == sorted([*names(account), bad])


def test_a_bug_is_reported_and_its_traceback_is_in_the_log(few, capsys):
    few.write("bug")
    with pytest.raises(JaxlabelError, match="3 of 9 runs failed"):
        few.sweep()
    assert "FAILED: ZeroDivisionError: by zero" in capsys.readouterr().out
    log = (few.workdir / "runs" / names("bug")[-1] / "run.log").read_text()
    assert "Traceback" in log and "fake_worker.py" in log


def test_the_number_of_jobs_does_not_change_the_files(few):
    one, two = few.folder / "one", few.folder / "two"
    few.sweep(jobs=1, workdir=one)
    assert len(few.pids()) == 1  # one process does them all
    few.sweep(jobs=3, workdir=two)
    assert len(few.pids()) == 1 + 3
    for name in ("table.md", "table.csv", "figures/table1.svg"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_killed_sweep_continues(few):
    few.write("wait")
    process = in_a_process(few)
    waiting = {name for name in names("wait") if "strange" in name}
    until(lambda: (few.folder / "tally").exists() and len(waiting & set(few.tally())) == 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not any(alive(pid) for pid in few.pids()))  # the workers end by themselves
    begun = few.tally()
    assert len(begun) == 6  # seed by seed: both workers wait in those of the first two
    (few.folder / "go").touch()
    few.sweep()
    interrupted = sorted(waiting & set(begun))
    assert few.tally() == sorted([*names("wait"), *interrupted])
    assert [row[-3] for row in cells(few.workdir / "table.md")] == ["3", "3", "3"]


def test_two_sweeps_in_one_directory_share_the_runs(few):
    """Each run is executed once, and those of a killed sweep by the other one."""
    few.write("wait")
    waiting = {name for name in names("wait") if "strange" in name}
    with in_a_process(few) as first, in_a_process(few) as second:
        try:
            until(lambda: (few.folder / "tally").exists() and waiting <= set(few.tally()))
            others = set(names("wait")) - waiting
            until(lambda: all((few.workdir / "runs" / n / "result.json").exists() for n in others))
            assert sorted(few.tally()) == sorted(names("wait"))
            first.kill()
            first.wait()
            (few.folder / "go").touch()
            assert second.wait(timeout=60) == 0
        finally:
            first.kill()
            second.kill()
    begun = few.tally()
    assert set(begun) == set(names("wait"))
    repeated = [name for name in begun if begun.count(name) > 1]
    assert set(repeated) <= waiting and max(map(begun.count, begun)) <= 2
    assert [row[-3] for row in cells(few.workdir / "table.md")] == ["3", "3", "3"]


def in_a_process(few):
    """Start the sweep in a process of its own and return the process."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import sweeps; "
        "f = sweeps.Few.__new__(sweeps.Few); f.folder = Path(sys.argv[2]); "
        "f.workdir = f.folder / 'sweep'; f.sweep()"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(few.folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_another_directory_or_sweep_is_refused(few):
    few.sweep(quick=True)
    with pytest.raises(UsageError, match="holds a sweep with quick True, not False"):
        few.sweep()
    (few.folder / "few.py").rename(few.folder / "new.py")
    few.write()
    other = few.folder / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"not empty and not a sweep's: it holds thesis\.tex"):
        few.sweep(workdir=other)


def test_publish_writes_results_table_and_figures(few):
    few.sweep()
    assert not (few.folder / "results").exists()
    for _ in range(2):
        few.sweep(publish=True)
    text = (few.folder / "results" / "few.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 9 and str(few.folder) not in text
    assert lines[0]["config"]["data"] == "idx:DATA_ROOT/shapes" and lines[0]["theirs"] == 0.1
    published = few.folder / "results" / "few.md"
    assert published.read_text() == (few.workdir / "table.md").read_text()
    figures = {f"few_{figure.name}": figure for figure in (few.workdir / "figures").iterdir()}
    there = list((few.folder / "results" / "figures").iterdir())
    assert figures and {figure.name for figure in there} == figures.keys()
    for figure in there:
        assert figure.read_bytes() == figures[figure.name].read_bytes()
    with pytest.raises(UsageError, match="leave out --quick"):
        few.sweep(quick=True, publish=True, workdir=few.folder / "quick")


def test_cores_are_divided_among_workers(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 5, 7, 8}, raising=False)
    assert local.core_shares(1) == ["2,3,5,7,8"]
    assert local.core_shares(2) == ["2,3", "5,7,8"]
    assert local.core_shares(5) == ["2", "3", "5", "7", "8"]
    assert local.core_shares(7) == ["2", "3", "5", "7", "8", "2", "3"]


REAL = '''"""A real recipe on the digits."""
from jaxlabel.methods import representatives
from jaxlabel.sweep import Arm, Experiment, Table

def get_experiment(quick=False):
    base = representatives.Config(budget=200, select="random", classifier="dense", steps=60)
    return Experiment("Same?", [Table("Real", [Arm("dense", base, seeds=range(2))])])
'''


def test_parallel_and_sequential_real_runs_agree(tmp_path):
    (tmp_path / "real.py").write_text(REAL)
    found = []
    for jobs in (1, 2):
        table = engine.sweep(str(tmp_path / "real.py"), tmp_path / f"jobs{jobs}",
                             options=engine.Options(jobs))  # fmt: skip
        (row,) = cells(table)
        assert row[-3] == "2"
        assert (table.parent / "runs" / "real-digits-dense-s1" / "report.html").exists()
        found.append(row[:-2])
    assert found[0] == found[1]
    assert 60 < float(found[0][4].split()[0]) < 100
    assert found[0][3] == "200"
