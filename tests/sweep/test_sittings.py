"""A sweep that is interrupted and continued, on one machine or on several."""

import contextlib
import dataclasses
import itertools
import json
import math
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from sweeps import Few, cells, names

from jaxlabel import config, files
from jaxlabel.errors import UsageError
from jaxlabel.experiment import account
from jaxlabel.methods import active, semisup
from jaxlabel.oracle import LabelStore
from jaxlabel.runlog import workdir as directory
from jaxlabel.sweep import leases, local, plan, records
from jaxlabel.sweep.types import Plan, Run


@pytest.fixture
def few(tmp_path: Path) -> Few:
    return Few(tmp_path)


def in_order(few: Few) -> list[str]:
    """Return the names of the runs that were started, in the order of their start."""
    return (few.folder / "tally").read_text().split()[::2]


def test_go_on_skips_runs_that_another_machine_published(few, capsys):
    few.sweep(quick=True, workdir=few.folder / "quick")
    few.sweep(publish=True)
    published = few.folder / "results" / "few.jsonl"
    kept = published.read_text().splitlines(keepends=True)
    strange = [line.replace('"noise": 0.0', '"noise": 0.1') for line in kept[:1]]
    assert strange != kept[:1]
    published.write_text("".join(strange + kept[2:]))
    begun, other = len(few.tally()), few.folder / "other"
    table = few.sweep(go_on=True, publish=True, workdir=other)
    again = in_order(few)[begun:]
    assert sorted(again) == names()[:2]  # one was of other settings, one was not there
    assert f"9 of 9 runs are done, 7 of them in {published}" in capsys.readouterr().out
    assert table.read_text() == (few.workdir / "table.md").read_text()
    page = (other / "index.html").read_text()
    assert f'href="runs/{names()[0]}/report.html"' in page and f"{names()[2]}/report" not in page
    assert len(published.read_text().splitlines()) == 8 + 2  # nothing that was there twice
    assert published.with_suffix(".md").read_text() == table.read_text()  # no seed twice
    few.sweep(workdir=few.folder / "anew")  # nothing is known unless one says so
    assert len(few.tally()) == begun + 2 + 9


def test_published_results_follow_a_renamed_table(few):
    few.sweep(publish=True)
    few.write(**{"0.1, None": "0.2, None", "S8: few labels": "S8: labels"})
    table = few.sweep(go_on=True, workdir=few.folder / "other")
    assert len(few.tally()) == 9 and "## S8: labels" in table.read_text()
    assert cells(table)[0][5:7] == ["20.00", "-9.00"]


@pytest.mark.parametrize(("name", "recipe", "agrees"), [
    ("semisup", semisup, True),
    ("flagship", active, False),  # it has refine_steps=150, and its round_steps are 100
])  # fmt: skip
def test_a_result_with_removed_settings_counts_if_they_are_todays_rules(
    name, recipe, agrees, tmp_path
):
    published = Path(__file__).parents[2] / "experiments" / "results" / f"{name}.jsonl"
    with published.open() as file:
        line = json.loads(file.readline())
    known = {field.name for field in dataclasses.fields(recipe.Config)}
    assert line["config"].keys() - known >= {"threshold", "weight", "ramp", "neighbours"}
    planned = {k: v for k, v in line["config"].items() if k in known}
    config = dataclasses.asdict(recipe.Config(**planned))
    run = Run(line["run"], f"{recipe.__name__}:Config", config, line["table"], line["row"],
              line["cell"], None)  # fmt: skip
    table = {"title": line["table"], "measures": [], "over": ""}
    plan = Plan("", name, "", "", False, "", [table], [run])
    copy = tmp_path / "one.jsonl"
    copy.write_text(json.dumps(line) + "\n")
    assert bool(records.published_lines(plan, copy)) == agrees
    line["config"]["threshold"] = 0.9
    copy.write_text(json.dumps(line) + "\n")
    assert records.published_lines(plan, copy) == {}


def lose(path: Path, setting: str) -> None:
    """Delete a setting from a run's config.json, or from each line of a file of results."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line]
    for line in lines:
        del line.get("config", line)[setting]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_setting_missing_in_a_record_has_its_default(few):
    few.sweep(publish=True)
    places = [few.workdir / "runs" / name / "config.json" for name in names()]
    for path in places:
        path.write_text(json.dumps(json.loads(path.read_text())) + "\n")
    for path in (few.folder / "results" / "few.jsonl", *places):
        lose(path, "noise")
    few.sweep()
    few.sweep(go_on=True, workdir=few.folder / "other")
    assert len(few.tally()) == 9 and not (few.workdir / "earlier").exists()
    lose(places[0], "budget")  # the plan's are not the default
    lose(places[1], "seed")
    few.sweep()
    assert few.tally() == sorted([*names(), *names()[:2]])


def test_no_run_starts_after_the_limit_and_seeds_are_complete(few, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        ticks = itertools.chain([0.0] * 4, itertools.repeat(float("inf")))
        patched.setattr(local, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
        table = few.sweep(jobs=1, limit=1.0)
    assert "4 of 9 runs are done; the same command goes on" in capsys.readouterr().out
    assert [name[-2:] for name in in_order(few)] == ["s0"] * 3 + ["s1"]
    assert [row[-3] for row in cells(table)] == ["2", "1", "1"]
    table = few.sweep(jobs=1, limit=5.0)
    assert few.tally() == sorted(names())  # and none of them twice
    assert [row[-3] for row in cells(table)] == ["3", "3", "3"]
    with pytest.raises(UsageError, match="without --slurm"):
        few.sweep(limit=5.0, slurm="")


def test_a_run_with_other_settings_is_moved_and_repeated(few):
    few.sweep()
    folder = few.workdir / "runs" / names()[0]
    for _ in range(2):
        config = folder / "config.json"
        config.write_text(config.read_text().replace('"noise": 0.0', '"noise": 0.1'))
        few.sweep()
    assert few.tally().count(names()[0]) == 3 and len(few.tally()) == 9 + 2
    earlier = sorted(path.name for path in (few.workdir / "earlier").iterdir())
    assert earlier == [f"{names()[0]}-1", f"{names()[0]}-2"]
    kept = few.workdir / "earlier" / earlier[0]
    assert json.loads((kept / "config.json").read_text())["noise"] == 0.1
    assert json.loads((kept / "result.json").read_text())["seed"] == 0


def test_a_sweep_goes_on_if_its_data_have_another_path(few, monkeypatch, capsys):
    table = few.sweep().read_text()
    monkeypatch.chdir(few.folder)
    for root in ("data", "./data/"):
        few.sweep(data_root=root)
        assert "are taken to be in" not in capsys.readouterr().out
    (few.folder / "data").rename("disk")
    few.sweep(data_root="disk", publish=True)
    assert "the data in ./data/ are taken to be in disk now" in capsys.readouterr().out
    assert (few.workdir / "table.md").read_text() == table
    lines = (few.folder / "results" / "few.jsonl").read_text().splitlines()
    assert {json.loads(line)["config"]["data"] for line in lines} == {"idx:DATA_ROOT/shapes"}
    # a sweep that began before the data were moved does not undo those that began later
    old = {**plan.read(few.folder / "few.py", few.workdir, False, "disk").runs[0].config,
           "data": f"idx:{few.folder}/data/shapes"}  # fmt: skip
    records.prepare_folder(few.workdir / "runs" / names()[0], "jaxlabel.config:RunConfig", old)
    assert few.tally() == sorted(names()) and not (few.workdir / "earlier").exists()
    other = old | {"data": "idx:disk/circles"}
    records.prepare_folder(few.workdir / "runs" / names()[0], "jaxlabel.config:RunConfig", other)
    assert (few.workdir / "earlier").exists()
    # while the first place exists, another one holds other data
    (few.folder / "other" / "shapes").mkdir(parents=True)
    made = plan.read(few.folder / "few.py", few.workdir, False, "other")
    assert made.data_roots == ["other"]


@pytest.mark.parametrize("has_account", [True, False])
def test_an_interrupted_run_goes_on_if_the_sweep_and_its_data_were_moved(few, has_account):
    few.workdir.mkdir()
    made = plan.read(few.folder / "few.py", few.workdir, False, str(few.folder / "data"))
    folder, store = few.workdir / "runs" / names()[0], account.store_url("", few.workdir)
    files.write_json(folder / "config.json", made.runs[0].config)
    files.write_json(folder / "run.json", {"account": "payer", "store": store})
    with LabelStore(store) as opened:
        opened.define("shapes", ["round"])
        opened.open_account("payer" if has_account else "other", "shapes", 10)
    moved = few.folder / "what?%41"
    few.workdir.rename(moved)
    (few.folder / "data").rename(few.folder / "disk")
    made = plan.read(few.folder / "few.py", moved, False, str(few.folder / "disk"))
    run, folder = made.runs[0], moved / "runs" / names()[0]
    assert run.config["store"] == account.store_url("", moved)
    records.prepare_folder(folder, run.recipe, run.config)
    if has_account:
        directory.write_or_check_config(folder, run.config)  # it would raise a UsageError
        assert files.read_json(folder / "run.json")["store"] == run.config["store"]
    else:  # its labels were bought from another database
        with pytest.raises(UsageError, match="another configuration: store is"):
            directory.write_or_check_config(folder, run.config)
        assert files.read_json(folder / "run.json")["store"] == store


def test_the_folder_of_a_run_that_another_sweep_executes_is_not_moved(few):
    few.sweep()
    folder = few.workdir / "runs" / names()[0]
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"noise": 0.0', '"noise": 0.1'))
    there = []

    def end_the_other_sweep():
        there.append(folder.exists())
        other.close()

    with contextlib.ExitStack() as other:
        assert other.enter_context(leases.lease(few.workdir / ".leases" / names()[0]))
        threading.Timer(0.7, end_the_other_sweep).start()
        table = few.sweep()
    assert there == [True] and [row[-3] for row in cells(table)] == ["3", "3", "3"]
    assert few.tally().count(names()[0]) == 2  # with the planned settings, after the other sweep
    assert (few.workdir / "earlier" / f"{names()[0]}-1").exists()


def test_a_run_without_a_limit_of_its_budget_is_read_back(few):
    few.write(**{"[10.0, 20.0]": "[10.0, float('inf')]"})
    (few.folder / "fake_worker.py").write_text(
        (few.folder / "fake_worker.py").read_text()
        .replace('config["budget"]', '(config["budget"] or 90.0)')
    )  # fmt: skip
    for _ in range(2):  # the second time, the plan is read from plan.json
        table = few.sweep()
    assert len(few.tally()) == 9
    assert [row[2] for row in cells(table)] == ["budget=10.0", "budget=inf", "account=well"]
    kind = config.RunConfig
    assert config.with_infinities(kind, {"budget": None, "data": "x"})["budget"] == math.inf


@pytest.mark.parametrize(("file", "text"), [("result.json", "{"), ("config.json", "[]"),
                                            ("config.json", None)])  # fmt: skip
def test_a_damaged_run_is_moved_and_repeated(few, file, text):
    few.sweep()
    path = few.workdir / "runs" / names()[0] / file
    path.unlink() if text is None else path.write_text(text)
    few.sweep()
    assert few.tally().count(names()[0]) == 2 and len(few.tally()) == 10
    assert [each.name for each in (few.workdir / "earlier").iterdir()] == [f"{names()[0]}-1"]
