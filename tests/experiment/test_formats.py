"""The files of a run have versions and fit their JSON Schemas; older files work, newer do not."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

import jaxlabel
from jaxlabel import files
from jaxlabel.cli import main as cli
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.experiment import predict
from jaxlabel.experiment import run as experiment
from jaxlabel.experiment.export import bundle
from jaxlabel.methods import active, representatives
from jaxlabel.oracle import LabelStore, schema
from jaxlabel.runlog import old_settings, open_workdir
from jaxlabel.semisupervised.settings import NAMES

sys.path.insert(0, str(Path(jaxlabel.__file__).parent.parent / "scripts"))
import schemas

SETTINGS = dict(budget=20.0, classifier="dense", steps=5, members=1)  # noqa: C408


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "run"
    experiment.run(representatives.Config(**SETTINGS), workdir)
    return workdir


@pytest.fixture(scope="module")
def written(finished, tmp_path_factory):
    """A function that returns the contents of one kind of file, as a list."""
    pytest.importorskip("safetensors")
    out = tmp_path_factory.mktemp("bundles") / "bundle"
    bundle.export(finished, out, "safetensors")
    with LabelStore(f"sqlite:///{finished / 'labels.db'}") as store, store.engine.connect() as c:
        people = schema.votes.insert().values(
            label_set_id=1, item="a", person="ann", class_name="", seconds=1.5,
            voted_time="2026-11-28T10:00:00+00:00",
        )  # fmt: skip
        c.execute(people)
        tables = {
            table.name: [dict(row) for row in c.execute(sa.select(table)).mappings()]
            for table in schema.metadata.sorted_tables
        }
    return {
        "config": [json.loads((finished / "config.json").read_text())],
        "metrics": files.read_lines(finished / "metrics.jsonl")[0],
        "result": [json.loads((p / "result.json").read_text()) for p in (finished, out)],
        "bundle": [json.loads((out / "config.json").read_text())],
        "store": [tables],
    }


def without_versions(workdir, target):
    """Copy a run's directory, with its files as a jaxlabel without versions wrote them."""
    shutil.copytree(workdir, target)
    config = json.loads((target / "config.json").read_text())
    del config["version"], config["sinks"]
    (target / "config.json").write_text(json.dumps(config))
    lines = files.read_lines(target / "metrics.jsonl")[0]
    kept = [{name: line[name] for name in line if name != "version"} for line in lines]
    (target / "metrics.jsonl").write_bytes(b"".join(map(files.json_line, kept)))
    result = json.loads((target / "result.json").read_text())
    del result["version"], result["config"]["sinks"]
    (target / "result.json").write_text(json.dumps(result))
    return target


# What makes each kind of file wrong: a place in it, and a value for it.
WRONG = {
    "config": [("version", 2), ("sede", 1), ("seed", -1), ("image_mode", "blue"), ("data", 3)],
    "metrics": [("version", 2), ("step", 1.5), ("phase", ""), ("loss", "low"), ("loss", [1])],
    "result": [("version", 2), ("test_accuracy", 98.4), ("image_shape", [8, 8]),
               ("ledger", [{"purpose": "train"}]), ("verdict", {"text": "good"}),
               ("config", {"data": "digits"}), ("commit", "yesterday")],
    "bundle": [("version", 2), ("gives", "words"), ("extra", 1), ("image", {"shape": [8, 8, 1]}),
               ("files", ["model.pt"])],
    "store": [("jaxlabel_store", [{"version": 3}]), ("jaxlabel_store", []), ("mine", []),
              ("jaxlabel_classes", [{"label_set_id": 1, "label": -1, "name": "a"}]),
              ("jaxlabel_label_sets", [{"id": 1}])],
}  # fmt: skip


@pytest.mark.parametrize("kind", list(WRONG))
def test_files_of_a_run_fit_their_schema_and_wrong_files_do_not(written, kind):
    jsonschema = pytest.importorskip("jsonschema")
    text = schemas.PATH.with_name(f"{kind}.schema.json").read_text()
    validator = jsonschema.Draft202012Validator(json.loads(text))
    validator.check_schema(validator.schema)
    assert written[kind]
    for value in written[kind]:
        assert [error.message for error in validator.iter_errors(value)] == []
        required = validator.schema["required"]
        assert all(not validator.is_valid({k: value[k] for k in value if k != r}) for r in required)
        for name, wrong in WRONG[kind]:
            assert not validator.is_valid(value | {name: wrong}), (name, wrong)


def test_the_schema_of_the_settings_is_current():
    assert schemas.PATH.read_text() == schemas.config_schema(), "python scripts/schemas.py"


def test_versions_agree_with_the_schemas(written):
    for kind in WRONG:
        properties = json.loads(schemas.PATH.with_name(f"{kind}.schema.json").read_text())
        version = properties["properties"].get("version", {}).get("const", schema.VERSION)
        name = {"metrics": "metrics.jsonl", "bundle": files.BUNDLE}.get(kind, f"{kind}.json")
        assert files.VERSIONS.get(name, schema.VERSION) == version
    tables = json.loads(schemas.PATH.with_name("store.schema.json").read_text())["properties"]
    versions = tables["jaxlabel_store"]["items"]["properties"]["version"]
    assert versions["maximum"] == schema.VERSION


def test_a_finished_run_without_versions_reports_predicts_and_is_read(finished, tmp_path):
    old = without_versions(finished, tmp_path / "old")
    old_result = (old / "result.json").read_bytes()
    assert cli.run(["report", f"--workdir={old}"]) == 0
    assert cli.run(["predict", f"--workdir={old}", "--data=digits",
                    f"--out={tmp_path / 'a.csv'}"]) == 0  # fmt: skip
    assert cli.run(["predict", f"--workdir={finished}", "--data=digits",
                    f"--out={tmp_path / 'b.csv'}"]) == 0  # fmt: skip
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    result = experiment.run(representatives.Config(**SETTINGS), old)
    assert result["labels_spent"] == 20 and (old / "result.json").read_bytes() == old_result
    assert "version" not in (old / "report.html").read_text().partition("Settings")[2]


def test_an_unfinished_run_without_versions_goes_on_and_buys_nothing_twice(finished, tmp_path):
    old = without_versions(finished, tmp_path / "old")
    (old / "result.json").unlink()
    config = representatives.Config(**SETTINGS, sinks="")
    result = experiment.run(config, old)
    wanted = json.loads((finished / "result.json").read_text())
    same = ("version", "labels_spent", "ledger", "test_accuracy", "train_label_accuracy")
    assert {k: result[k] for k in same} == {k: wanted[k] for k in same}


def test_settings_that_were_renamed_are_recognised(tmp_path):
    config = {"data": "digits", "graph_targets": 0.5, "alignment": "labelled", "seed": 1}
    old = {"data": "digits", "guide": 0.5, "alignment": "paid"}
    (tmp_path / "config.json").write_text(json.dumps(old))
    (tmp_path / "run.json").write_text("{}")
    open_workdir(tmp_path, config, defaults={"seed": 1}).close()
    assert json.loads((tmp_path / "config.json").read_text()) == old


# flagships that buy more labels than sequential queries do, and fewer
MANY = {"refinements": 5, "budget": 1000.0}
FEW = {"refinements": 5, "budget": 30.0}


@pytest.mark.parametrize(("same", "other", "message"), [
    ({"members": 1}, {"members": 3}, "members is 3 there and not set here .one network is trained"),
    ({"distil_steps": 9}, {"space": "graph"}, "space is .graph. there"),
    ({"typical_until": 0, "budget": 30, "target": 0.9, "confidence": 0.0},
     {"typical_until": 0, "budget": 30, "target": 0.9}, "typical_until is 0 there"),
    ({"initial_query": "medoids", "query": "margin", "budget": 20},
     {"initial_query": "medoids", "query": "random", "budget": 20}, "initial_query is .medoids."),
    ({"initial_query": "random", "query": "random", "budget": 20},
     {"initial_query": "random", "query": "diverse", "budget": 20}, "initial_query is .random."),
    ({"graph_targets_until": 0, "graph_targets": 1.0, "budget": 20},
     {"graph_targets_until": 0, "graph_targets": 1.0, "budget": 500}, "graph_targets_until is 0"),
    ({"refine_steps": 30, "refinements": 5}, {"refine_steps": 50, "refinements": 5},
     "a refinement has config.steps / 15 steps"),
    ({"refine_until": 9, "refinements": 0}, {"refine_until": 9, "refinements": 1}, "refine_until"),
    ({"weight_decay": 0.3, "network": "fine_gradient_conv"}, {"weight_decay": 0.3},
     "weight_decay is 0.3 there"),
    ({"map": "pca", "student": "same"}, {"student": "conv"}, "student is .conv. there"),
    ({"population": True}, {"population": True, "target": 0.9}, "population is true there"),
    ({"round_steps": 2000, "steps": 6000}, {"round_steps": 200, "steps": 6000},
     "round_steps is 200 there"),
    ({"ema": 0.999, "steps": 20000}, {"ema": 0.999, "steps": 3000}, "ema is 0.999 there"),
    ({"growth": 1.6}, {"growth": 2.0}, "growth is 2.0 there"),
    (MANY | {"sequential_until": 100}, MANY | {"sequential_until": 40}, "until is 40 there"),
    (FEW | {"sequential_until": 40}, FEW | {"sequential_until": 0}, "sequential_until is 0 there"),
    ({"sequential_until": 0}, {"sequential_until": 100, "budget": 64}, "until is 100 there"),
    (MANY | {"sequential_batch": 1}, MANY | {"sequential_batch": 20}, "batch is 20 there"),
    (MANY | {"sequential_batch": 20, "data": "folder:a"},
     MANY | {"sequential_batch": 20, "data": "folder:a", "folder_labels": True}, "is 20 there"),
    ({"audit_share": 0.4, "target": 0.9}, {"audit_share": 0.36, "target": 0.9}, "0.36 there"),
])  # fmt: skip
def test_a_run_with_a_removed_setting_goes_on_if_it_did_what_runs_do_today(
    same, other, message, tmp_path
):
    removed = old_settings.REMOVED
    for number, old in enumerate((same, other)):
        workdir = tmp_path / str(number)
        workdir.mkdir()
        recorded = {"data": "digits", "steps": 30} | old
        (workdir / "config.json").write_text(json.dumps(recorded))
        (workdir / "run.json").write_text("{}")
        config = {name: value for name, value in recorded.items() if name not in removed}
        if old is same:
            open_workdir(workdir, config).close()
            continue
        with pytest.raises(UsageError, match=message) as error:
            open_workdir(workdir, config)
        assert "\n" not in str(error.value)


def test_the_old_values_of_the_flagship_on_fashion_mnist_hold_today():
    fashion = {
        "members": 1, "distil_steps": 0, "weight": -1.0, "ramp": 0.1, "temperature": 0.5,
        "radius": 2.0, "threshold": 0.95, "propagation": "poisson", "neighbours": 10,
        "components": 64, "given": "gradients", "pool": 20000, "space": "pca", "start": "scratch",
        "code_steps": 1000, "graph_targets": 1.0, "graph_targets_until": 150,
        "graph_targets_share": 0.6, "graph_until": 40, "typical_until": 15,
        "initial_query": "medoids", "refine_steps": 400, "refine_until": 150,
        "weight_decay": 0.3, "population": False, "audit_share": 0.36,
        "ema": 0.995, "growth": 1.6, "round_steps": 1000,
        "sequential_until": 100, "sequential_batch": 1,
    }  # fmt: skip
    of_scan = {
        "pretext_decay": 1e-4, "strength": 1.0, "partners": 0, "partner_share": 0.5,
        "student": "same", "student_width": 0, "map": "tsne",
    }  # fmt: skip
    of_gan = {"unlabelled_weight": 1.0, "entropy_weight": 0.0}
    assert (fashion | of_scan | of_gan).keys() == old_settings.REMOVED.keys()
    assert old_settings.without_removed(of_gan | {"entropy_weight": 0.1}, {}) == {
        "entropy_weight": 0.1
    }
    assert old_settings.without_removed(of_scan | {"partners": 2}, {}) == {"partners": 2}
    others = {"steps": 3000, "refinements": 5, "budget": 10, "network": "fine_gradient_conv",
              "data": "idx:fashion_mnist", "initial_labels": 5}  # fmt: skip
    assert old_settings.without_removed(fashion | others, others) == others
    # old_settings may not import the recipe, so the rule stands there too
    for settings in ({}, {"refinements": 2}, {"contrast_steps": 9}, {"objective": "graph"},
                     {"refinements": 2, "query": "random"},
                     *({"refinements": 2, "objective": name} for name in NAMES)):  # fmt: skip
        today = old_settings._sequential_until_today({"budget": 1000.0} | settings)
        assert today == active.Config(**settings).sequential_until
    for steps in (20, 300, 3000, 20_000):
        config = active.Config(steps=steps)
        rules = {"steps": steps, "round_steps": config.round_steps, "ema": config.ema,
                 "refine_steps": config.refine_steps, "refinements": 5}  # fmt: skip
        kept = {"steps": steps, "refinements": 5}
        assert old_settings.without_removed(rules, kept) == kept


@pytest.mark.parametrize(("old", "objective"), [
    ({"objective": "auto", "budget": 40}, "graph"),
    ({"objective": "auto", "budget": 41}, "freematch"),
    ({"objective": "auto", "budget": 66, "target": 0.9}, "graph"),  # 39 of them to train on
    ({"objective": "auto", "budget": 70, "target": 0.9}, "freematch"),  # 42
    ({"objective": "freematch", "budget": 40, "population": False}, "graph"),
    ({"objective": "freematch", "budget": 40, "population": False, "graph_until": 0}, "freematch"),
    ({"objective": "freematch", "budget": 40}, "freematch"),  # chosen by the user
    ({"objective": "vat", "budget": 40, "population": False}, "vat"),
])  # fmt: skip
def test_an_earlier_flagship_with_few_labels_had_the_objective_graph(old, objective):
    assert old_settings.with_current_names(old)["objective"] == objective


def test_a_model_whose_networks_were_removed_is_refused_in_one_line(tmp_path):
    result = {"method": "active", "image_shape": [8, 8, 1], "classes": ["a", "b"]}
    settings = {"members": 3, "distil_steps": 0, "steps": 9}
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "result.json").write_text(json.dumps(result | {"config": settings}))
    with pytest.raises(UsageError, match=r"holds a model with config\.members=3, which"):
        predict.load(tmp_path)
    student = {"method": "scan", "image_shape": [8, 8, 1], "config": {"student": "conv"}}
    (tmp_path / "result.json").write_text(json.dumps(student | {"classes": ["a", "b"]}))
    with pytest.raises(UsageError, match=r"holds a model with config\.student=conv, which"):
        predict.load(tmp_path)
    removed = {"method": "sgan", "image_shape": [8, 8, 1], "config": {"network": "gradients"}}
    (tmp_path / "result.json").write_text(json.dumps(removed | {"classes": ["a", "b"]}))
    with pytest.raises(UsageError, match=r"holds a model with config\.network=gradients, which"):
        predict.load(tmp_path)
    # several networks that were distilled to one, and one network: only the checkpoint is missing
    for other in ({"distil_steps": 9}, {"members": 1}):
        (tmp_path / "result.json").write_text(json.dumps(result | {"config": settings | other}))
        with pytest.raises(JaxlabelError, match="holds no model"):
            predict.load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "result.json"])
def test_files_of_a_newer_version_are_refused_in_one_line(finished, tmp_path, capsys, name):
    new, recipe = tmp_path / "new", tmp_path / "recipe.py"
    shutil.copytree(finished, new)
    text = (new / name).read_text()
    (new / name).write_text(text.replace('"version": 1', '"version": 2', 1))
    assert (new / name).read_text() != text
    recipe.write_text("from jaxlabel.methods.representatives import Config\n"
                      f"get_config = lambda: Config(**{SETTINGS})\n")  # fmt: skip
    commands = {
        "report": [],
        "train": [f"--config={recipe}"],
        "predict": ["--data=digits", f"--out={tmp_path / 'labels.csv'}"],
    }
    for command, flags in commands.items():
        if (command, name) == ("predict", "metrics.jsonl"):
            continue  # it does not read this file
        assert cli.run([command, f"--workdir={new}", *flags]) == 2, command
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error == (
            f"jaxlabel: {new / name} has version 2, and this jaxlabel reads versions up to 1: "
            "update jaxlabel, or use the one that wrote the file"
        )


def test_a_newer_store_and_a_newer_bundle_are_refused(finished, written, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "bundle")
    newer = json.dumps(written["bundle"][0] | {"version": 2})
    (tmp_path / "bundle" / "config.json").write_text(newer)
    arguments = ["predict", f"--workdir={tmp_path / 'bundle'}", "--data=digits"]
    assert cli.run([*arguments, f"--out={tmp_path / 'labels.csv'}"]) == 2
    assert "has version 2, and this jaxlabel" in capsys.readouterr().err
    with LabelStore(f"sqlite:///{tmp_path / 'labels.db'}") as store, store.engine.begin() as c:
        c.execute(sa.insert(schema.versions).values(version=3))
    with pytest.raises(jaxlabel.errors.StoreError, match=r"has version 3.*: install a newer jax"):
        LabelStore(f"sqlite:///{tmp_path / 'labels.db'}")


def test_a_version_that_is_no_number_is_damage(tmp_path):
    (tmp_path / "result.json").write_text('{"version": "one"}')
    with pytest.raises(jaxlabel.errors.JaxlabelError, match="is damaged: its version is 'one'"):
        files.read_json(tmp_path / "result.json")
    (tmp_path / "other.json").write_text('{"version": "one"}')
    assert files.read_json(tmp_path / "other.json") == {"version": "one"}
    assert np.array_equal(list(files.VERSIONS.values()), [1, 1, 1, 1])
