"""Metrics, pictures and settings reach the real packages, offline; a failing sink ends no run."""

import json
import struct

import numpy as np
import pytest

from jaxlabel.errors import UsageError
from jaxlabel.runlog import open_workdir, sinks

CONFIG = {"data": "digits", "seed": 3, "budget": 64.0}
SHEETS = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)


def log_two_sessions(workdir, name):
    """Write metrics, a picture and a result in two sessions of one run."""
    config = CONFIG | {"sinks": name}
    with open_workdir(workdir, config) as log:
        log.scalars("train", 100, {"loss": 0.5, "gone": float("nan")})
        log.images("medoids", 3, SHEETS)
    with open_workdir(workdir, config) as log:
        log.scalars("train", 100, {"loss": 9.0})  # a step that is repeated is written once
        log.scalars("train", 200, {"loss": 0.25})
        log.scalars("rounds", 1, {"labels_spent": 16})
        log.finish({"test_accuracy": 0.875, "classes": ["a", "b"]})
    return json.loads((workdir / "session.json").read_text())["sinks"]


class Failing:
    """A sink that cannot be opened, or whose second write fails."""

    run_id = "7"

    def __init__(self, workdir, config, run_id):
        self.count = 0
        if run_id == "closed":
            raise ConnectionError

    def scalars(self, phase, step, values):
        self.count += 1
        if self.count == 2:
            raise OSError("no\nnetwork")

    def close(self):
        raise OSError("still no network")


FAILED = "mlflow failed and gets nothing more from this run, which goes on without it: "


@pytest.mark.parametrize(
    ("kept", "reason"), [({}, "no network"), ({"mlflow": "closed"}, "ConnectionError")]
)
def test_a_sink_that_fails_is_named_once_and_the_run_goes_on(
    tmp_path, capsys, monkeypatch, kept, reason
):
    monkeypatch.setitem(sinks.TRACKERS, "mlflow", Failing)
    monkeypatch.setattr(sinks, "parse", lambda names: names.split(","))
    (tmp_path / "session.json").write_text(json.dumps({"sinks": kept}))
    with open_workdir(tmp_path, CONFIG | {"sinks": "mlflow,tensorboard"}) as log:
        for step in range(4):
            log.scalars("train", step, {"loss": 1.0})
    assert capsys.readouterr().err.splitlines() == [FAILED + reason]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_a_failure_at_the_end_is_reported_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sinks.TRACKERS, "mlflow", Failing)
    monkeypatch.setattr(sinks, "parse", lambda names: names.split(","))
    with open_workdir(tmp_path, CONFIG | {"sinks": "mlflow"}) as log:
        log.scalars("train", 0, {"loss": 1.0})
    assert capsys.readouterr().err.endswith("without it: still no network\n")
    assert json.loads((tmp_path / "session.json").read_text())["sinks"] == {"mlflow": "7"}


def test_a_folder_that_cannot_be_written_ends_no_run(tmp_path, capsys):
    with open_workdir(tmp_path, CONFIG) as log:
        (tmp_path / "tensorboard").write_text("a file in the place of the folder")
        log.scalars("train", 1, {"loss": 1.0})
        log.scalars("train", 2, {"loss": 1.0})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tensorboard failed") and "File exists" in line
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_names_of_sinks_are_checked(monkeypatch, tmp_path):
    assert sinks.parse("") == [] and sinks.parse("tensorboard, ") == ["tensorboard"]
    with pytest.raises(UsageError, match=r"no sink wandbb \(did you mean wandb\?\); it takes"):
        sinks.parse("wandbb")
    monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs the package mlflow: pip install .jaxlabel\[mlfl"):
        open_workdir(tmp_path / "run", {"sinks": "tensorboard,mlflow"})
    assert not (tmp_path / "run").exists()


def test_the_sinks_of_a_run_may_change(tmp_path):
    for names in ("tensorboard", ""):
        with open_workdir(tmp_path, CONFIG | {"sinks": names}) as log:
            log.scalars("train", len(names), {"loss": 1.0})
        (tmp_path / "run.json").write_text("{}")
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


# --- the real packages


def wandb_records(path):
    """Yield the content of each record in a .wandb file, which has the format of LevelDB's logs."""
    content, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:  # no record's header crosses the end of a block
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


@pytest.mark.filterwarnings("ignore")
def test_wandb_reads_everything_back(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    ids = log_two_sessions(tmp_path / "run", "wandb")
    found: dict[str, list] = {}
    files = sorted((tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{ids['wandb']}.wandb"))
    assert len(files) == 2  # a file for each session, with the same id
    for record in map(Record.FromString, (r for file in files for r in wandb_records(file))):
        for item in [*record.history.item, *record.summary.update, *record.run.config.update]:
            name = item.key or "/".join(item.nested_key)
            found.setdefault(name, []).append(json.loads(item.value_json))
    assert (found["train/loss"][0], found["train/step"][0]) == (0.5, 100)
    assert 0.25 in found["train/loss"] and 9.0 not in found["train/loss"]
    assert "train/gone" not in found and found["rounds/labels_spent"][0] == 16
    assert found["seed"][0] == 3 and found["test_accuracy"][0] == 0.875
    assert found["medoids/width"][0] == 28


@pytest.mark.filterwarnings("ignore")  # the warnings of MLflow are not ours
def test_mlflow_reads_everything_back(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    ids = log_two_sessions(tmp_path / "run", "mlflow")
    client = mlflow.MlflowClient()
    run = client.get_run(ids["mlflow"])
    experiment = client.get_experiment_by_name("jaxlabel")
    assert run.info.experiment_id == experiment.experiment_id
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    points = client.get_metric_history(ids["mlflow"], "train/loss")
    assert [(point.step, point.value) for point in points] == [(100, 0.5), (200, 0.25)]
    assert run.data.metrics["test_accuracy"] == 0.875 and "train/gone" not in run.data.metrics
    assert run.data.params["seed"] == "3"
    (picture,) = client.list_artifacts(ids["mlflow"], "medoids")
    assert picture.path == "medoids/3.png" and picture.file_size > 0
    assert len(client.search_runs([experiment.experiment_id])) == 1
