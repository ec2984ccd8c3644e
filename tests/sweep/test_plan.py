import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from sweeps import Few, cells, names

from jaxlabel.cli import main as cli
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.sweep import local, plan, slurm, worker


@pytest.fixture
def few(tmp_path: Path) -> Few:
    return Few(tmp_path)


def test_plan_of_a_small_experiment(few):
    made = plan.make(few.folder / "few.py", few.workdir, False, f"{few.folder}/data/")
    assert [run.name for run in made.runs] == names()
    assert [run.config["seed"] for run in made.runs] == [0, 1, 2] * 3
    assert [run.theirs for run in made.runs] == [0.1] * 3 + [None] * 6
    assert made.runs[3].cell == {"budget": 20.0} and made.runs[3].config["budget"] == 20.0
    assert made.runs[0].config["data"] == f"idx:{few.folder}/data/shapes"
    assert made.runs[0].config["store"] == f"sqlite:///{few.workdir}/labels.db"
    assert made.runs[0].recipe == "jaxlabel.config:RunConfig"
    quick = plan.make(few.folder / "few.py", few.workdir, True, f"{few.folder}/data")
    assert [run.name for run in quick.runs] == names()[::3]


def test_a_plan_is_made_anew_after_a_change_of_a_configuration_that_it_reads(few):
    folder = few.folder / "lab"
    for name in ("experiments", "configs"):
        (folder / name).mkdir(parents=True)
    text = (few.folder / "few.py").read_text().replace(
        "base = RunConfig(", "path = Path(__file__).parent.parent / 'configs' / 'base.py'\n"
        "    base = RunConfig(noise=float(path.read_text()), "
    )  # fmt: skip
    file = folder / "experiments" / "few.py"
    file.write_text(
        text.replace("from jaxlabel.config", "from pathlib import Path\nfrom jaxlabel.config")
    )
    for noise in (0.25, 0.5):
        (folder / "configs" / "base.py").write_text(f"{noise}")
        made = plan.read(file, few.workdir, False, f"{few.folder}/data/")
        assert {run.config["noise"] for run in made.runs} == {noise}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({'"budget"': '"budgt"'}, r"random labels: there is no setting budgt \(did you mean budge"),
        ({"20.0": "-1.0"}, "config.budget is -1.0: it takes a number at least 0"),
        ({"20.0": "True"}, "config.budget is True: it takes a number"),
        ({"[0.1, None]": "[0.1]"}, "2 rows, but 1 figures of theirs"),
        (
            {"strange": "random labels", '"account"': '"budget"', '"well"': "10.0"},
            "two runs are named",
        ),
        ({"shapes": "forms"}, "there is no .*forms: --data_root=DIR"),
        ({"Table(": "Tabel("}, "NameError.* at line 12 of few.py"),
        ({"def get_experiment": "def other"}, "defines no get_experiment"),
        ({"return Experiment(": "return list("}, "list expected at most 1"),
        (
            {"return Experiment(": "return print("},
            r"get_experiment\(quick\) returned None: it must",
        ),
        ({'"""jaxlabel sweep --experiment=few.py: a second."""': ""}, "has no docstring: begin"),
        ({"[10.0, 20.0]": "10.0"}, "its grid has budget=10.0: it takes a list of values"),
        ({'{"budget": [10.0, 20.0]}': '{"seed": [0, 1]}'}, "give the arm seeds= instead"),
        ({"range(1 if quick else 3)": "3"}, "seeds=3: it takes a list of whole numbers"),
        (
            {'[Table("S8: few labels", arms)]': 'Table("S8", arms)'},
            "must be a list of Table",
        ),
        ({'few labels", arms)': 'few labels", arms[0])'}, "arms must be a list of Arm"),
        ({'RunConfig(data="idx:DATA_ROOT/shapes")': "{}"}, "its base is {}, not a recipe's Config"),
    ],
)
def test_a_wrong_experiment_is_refused_with_one_line(few, changes, message):
    few.write(**changes)
    with pytest.raises(UsageError, match=message):
        few.sweep()
    assert not (few.folder / "tally").exists()


def test_a_misspelled_experiment_is_refused_with_one_line(few, capsys, monkeypatch):
    monkeypatch.chdir(few.folder)
    (few.folder / "experiments").mkdir()
    (few.folder / "few.py").rename("experiments/few.py")
    assert cli.run(["sweep", "--experiment=experiments/fwe.py", "--workdir=w"]) == 2
    error = capsys.readouterr().err
    assert "no experiment file experiments/fwe.py (did you mean experiments/few.py?)" in error
    assert error.count("\n") == 1 and not Path("w").exists()
    assert plan.find("few") == few.folder / "experiments" / "few.py"
    assert cli.run(["sweep", "--experiment=few", "--workdir=w"]) == 2
    assert "say where with --data_root=DIR" in capsys.readouterr().err
    assert cli.run(["sweep", "--experiment=few", "--jobs=-1"]) == 2
    assert cli.run(["sweep"]) == 2


def test_sources_experiment_has_the_expected_rows(tmp_path):
    file = Path(__file__).parents[2] / "experiments" / "sources.py"
    for name in ("mnist", "fashion_mnist", "overhead_mnist"):
        (tmp_path / name).mkdir()
    whole, quick = (plan.make(file, tmp_path, q, str(tmp_path)) for q in (False, True))
    theirs = {(r.row, r.cell.get("budget")): r.theirs for r in whole.runs if "S3: " in r.table
              and "Fashion" in r.table}  # fmt: skip
    assert theirs["NN, representatives", 2000.0] == 0.8024
    assert theirs["LR, random", 500.0] == 0.7852 and theirs["LR, nearest 25%", 500.0] is None
    seeds = {(r.table, r.row, str(r.cell)): 0 for r in whole.runs}
    for run in whole.runs:
        seeds[run.table, run.row, str(run.cell)] += 1
    assert {n for (table, _, _), n in seeds.items() if table.startswith("S4")} == {20}
    assert len(quick.tables) == len(whole.tables)
    assert len(quick.runs) < len(whole.runs) / 5 and {r.config["seed"] for r in quick.runs} == {0}


def test_slurm_with_a_fake_submitit(few, monkeypatch, capsys):
    seen = {}

    class Handle:
        job_id = "17_4"

        def __init__(self, function, told):
            self.function, self.told, self.looks = function, told, 0

        def done(self):
            self.looks += 1
            return self.looks > 1

        def results(self):
            if "strange" in self.told["workdir"] and self.told["config"]["seed"] == 2:
                raise RuntimeError("long story\nout of memory")
            return [run_here(self.told), ""]

    class AutoExecutor:
        def __init__(self, folder):
            seen["folder"] = folder

        def update_parameters(self, **parameters):
            if "wrong" in parameters:
                raise NameError("unknown parameter wrong")
            seen.update(parameters)

        def map_array(self, function, told):
            seen["function"] = f"{function.__module__}.{function.__name__}"
            seen["environment"], seen["hosts"] = told[0]["environment"], told[0]["hosts"]
            return [Handle(function, one) for one in told]

    def run_here(told):
        command = [sys.executable, str(few.folder / "fake_worker.py"), ""]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as process:  # fmt: skip
            return local._execute_job(process, told)

    fake = ModuleType("submitit")
    fake.AutoExecutor = AutoExecutor
    monkeypatch.setitem(sys.modules, "submitit", fake)
    monkeypatch.setattr(slurm.time, "sleep", lambda seconds: None)
    with pytest.raises(UsageError, match="--slurm_options: unknown parameter wrong"):
        few.sweep(slurm="wrong=1")
    with pytest.raises(JaxlabelError, match="1 of 9 runs failed"):
        few.sweep(jobs=4, slurm="timeout_min=60,slurm_partition=cpu", devices_per_run=4,
                  hosts_per_run=2)  # fmt: skip
    assert "Slurm job 17_4: out of memory" in capsys.readouterr().out
    assert seen["function"] == "jaxlabel.sweep.worker.remote"
    assert (seen["timeout_min"], seen["slurm_partition"]) == (60, "cpu")
    assert seen["slurm_array_parallelism"] == 4
    assert (seen["nodes"], seen["tasks_per_node"], seen["gpus_per_node"]) == (2, 1, 4)
    assert seen["hosts"] == 2
    assert seen["environment"]["JAXLABEL_CACHE"] == str(few.workdir / "cache")
    assert [row[-3] for row in cells(few.workdir / "table.md")] == ["3", "3", "2"]


def test_the_batch_script_asks_slurm_for_machines_and_gpus(few, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    for name, script in {
        "sbatch": f"cp $1 {tmp_path}/batch.sh; echo Submitted batch job 17",
        "srun": "exit 0",
        "sacct": "echo 'JobID|State'; for n in 0 1 2 3 4 5 6 7 8; do echo 17_$n'|FAILED'; done",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("submitit.slurm.slurm.SlurmJob._results_timeout_s", 0)
    with pytest.raises(JaxlabelError, match="9 of 9 runs failed"):
        few.sweep(slurm="timeout_min=60", devices_per_run=4, hosts_per_run=2)
    lines = (tmp_path / "batch.sh").read_text().splitlines()
    wanted = ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=4", "--time=60"]
    assert {f"#SBATCH {flag}" for flag in wanted} <= set(lines)
    (command,) = (line for line in lines if line.startswith("srun "))
    assert "submitit.core._submit" in command


@pytest.mark.parametrize(
    "key", ["nodes", "slurm_nodes", "tasks_per_node", "slurm_ntasks_per_node", "gpus_per_node"]
)
def test_slurm_options_must_not_contradict_the_flags(key):
    with pytest.raises(UsageError, match=f"leave out {key}, which --hosts_per_run"):
        slurm.options(f"{key}=3", devices_per_run=2, hosts_per_run=2)
    assert slurm.options("gpus_per_node=3")["gpus_per_node"] == 3


def test_slurm_options_need_slurm(few, capsys):
    words = ["sweep", f"--experiment={few.folder / 'few.py'}", "--slurm_options=timeout_min=5"]
    assert cli.run(words) == 2
    assert "--slurm_options needs --slurm" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [{"devices_per_run": 2}, {"hosts_per_run": 2}])
def test_devices_and_hosts_per_run_need_slurm(few, flag):
    with pytest.raises(UsageError, match="need --slurm: on this machine, start several sweeps"):
        few.sweep(**flag)


@pytest.mark.parametrize("number", ["0", "1"])
def test_the_processes_of_a_slurm_job_compute_a_run_together(number, tmp_path, monkeypatch):
    def together(settings, workdir, coordinator):
        os.write(1, f"seed {settings.seed} in {workdir.name} by {coordinator}".encode())
        return ""

    monkeypatch.setattr("jaxlabel.experiment.processes.execute", together)
    monkeypatch.setenv("SLURM_PROCID", number)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    job = {
        "recipe": "jaxlabel.methods.semisup:Config", "config": {"seed": 5},
        "workdir": str(tmp_path), "log": str(tmp_path / "run.log"), "command": ["x"],
        "environment": {}, "hosts": 2,
    }  # fmt: skip
    assert worker.remote(job) == ""
    log = tmp_path / {"0": "run.log", "1": "run.1.log"}[number]
    assert log.read_text() == f"seed 5 in {tmp_path.name} by auto"


def test_slurm_without_submitit_is_refused_with_one_line(few, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"pip install 'jaxlabel\[slurm\]'"):
        few.sweep(slurm="")
