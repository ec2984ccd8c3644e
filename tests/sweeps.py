"""A fake worker and an experiment for tests of sweeps: the fake runs take no time.

A run's accuracy is (budget + seed) / 100. The setting `account` makes a run fail, kill its own
process, or wait until a file `go` exists in the experiment's folder.
"""

import sys
from pathlib import Path

from jaxlabel.sweep import engine

EXPERIMENT = '''"""jaxlabel sweep --experiment=few.py: a second."""
from jaxlabel.config import RunConfig
from jaxlabel.sweep import Arm, Experiment, Table

def get_experiment(quick=False):
    base = RunConfig(data="idx:DATA_ROOT/shapes")
    seeds = range(1 if quick else 3)
    arms = [
        Arm("random labels", base, {"budget": [10.0, 20.0]}, seeds, theirs=[0.1, None]),
        Arm("strange", base, {"account": ["ACCOUNT"]}, seeds),
    ]
    return Experiment("What do labels buy?", [Table("S8: few labels", arms)])
'''

WORKER = """
import os, sys, time
from pathlib import Path
from jaxlabel import files
from jaxlabel.errors import DataError
from jaxlabel.runlog import own_code
from jaxlabel.sweep import worker

HERE = Path(__file__).parent

def run(job):
    config, folder = job["config"], Path(job["workdir"])
    print("working on", folder.name)
    with (HERE / "tally").open("a") as file:
        file.write(f"{folder.name} {os.getpid()}\\n")
    if config["account"] == "fail" and config["seed"] == 1:
        raise DataError("no such\\n picture")
    if config["account"] == "bug":
        raise ZeroDivisionError("by zero")
    if config["account"] == "die" and config["seed"] == 1:
        os.kill(os.getpid(), 9)
    while config["account"] == "wait" and not (HERE / "go").exists():
        time.sleep(0.05)
    own_code.note(folder, config, is_started=False)
    files.write_json(folder / "config.json", config)
    (folder / "report.html").touch()
    files.write_json(folder / "result.json", {
        "method": "fake", "dataset": "shapes", "seed": config["seed"], "seconds": 2.0,
        "labels_spent": int(config["budget"]), "labels_by_purpose": {}, "ledger": ["long"],
        "train_label_accuracy": None, "test_accuracy_interval": [0, 1], "versions": {},
        "test_accuracy": (config["budget"] + config["seed"]) / 100, "device": "none",
        "seconds_shared": 0.5, "commit": "abc",
        "config": config | ({"kind": "unknown"} if config["kind"] == "auto" else {}),
        "own_code": own_code.recorded(folder),
    })

worker.main(sys.argv[1], run)
"""

NAMES = [
    *(
        f"s8-shapes-random-labels-budget={budget}-s{seed}"
        for budget in (10.0, 20.0)
        for seed in range(3)
    ),
    *(f"s8-shapes-strange-account={{}}-s{seed}" for seed in range(3)),
]


class Few:
    """A small experiment for tests: its file, its data, and the directory of its runs.

    All of them are in `folder`: few.py, data/ and sweep/.
    """

    def __init__(self, folder: Path):
        self.folder, self.workdir = folder, folder / "sweep"
        (folder / "data" / "shapes").mkdir(parents=True)
        (folder / "fake_worker.py").write_text(WORKER)
        self.write()

    def write(self, account: str = "well", **changes: str) -> None:
        """Write the experiment's file few.py.

        Args:
          account: the setting that makes runs fail or wait; "well" lets them succeed.
          changes: texts to replace in the file, by the text that each replaces.
        """
        text = EXPERIMENT.replace("ACCOUNT", account)
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        (self.folder / "few.py").write_text(text)

    def sweep(self, jobs: int = 2, workdir: Path | None = None, **options) -> Path:
        """Execute the experiment's runs and return the path of the table of results.

        Args:
          jobs: the number of runs at a time.
          workdir: the directory of the runs; None stands for the folder sweep/.
          options: `quick`, `data_root`, and fields of `engine.Options`.
        """
        quick = options.pop("quick", False)
        data_root = options.pop("data_root", str(self.folder / "data"))
        worker = (sys.executable, str(self.folder / "fake_worker.py"))
        return engine.sweep(
            str(self.folder / "few.py"), workdir or self.workdir, quick=quick,
            data_root=data_root,
            options=engine.Options(jobs, worker=worker, **options),
        )  # fmt: skip

    def tally(self) -> list[str]:
        """Return the sorted names of all runs that were started, once for each start."""
        path = self.folder / "tally"
        return sorted(line.split()[0] for line in path.read_text().splitlines())

    def pids(self) -> set[int]:
        """Return the ids of the processes that started runs."""
        return {int(line.split()[1]) for line in (self.folder / "tally").read_text().splitlines()}


def names(account: str = "well") -> list[str]:
    """Return the names of all runs of the experiment, in the order of the plan."""
    return [name.format(account) for name in NAMES]


def cells(table: Path) -> list[list[str]]:
    """Return the cells of the only table in a Markdown file, without the table's header."""
    rows = [line for line in table.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
