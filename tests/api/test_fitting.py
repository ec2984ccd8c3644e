"""`jaxlabel.fit`: the same labels and accuracy as the command line, and clear refusals."""

import contextlib
import logging
import shutil

import numpy as np
import pytest
from missing import NA

import jaxlabel
from jaxlabel import data
from jaxlabel.api.result import Certificate
from jaxlabel.cli import main as cli
from jaxlabel.errors import BudgetExceeded, DataError, JaxlabelError, UsageError
from jaxlabel.experiment import purchases
from jaxlabel.files import read_json
from jaxlabel.oracle import LabelStore

QUICK = {"classifier_steps": 40, "map": "none"}
DIGITS = data.load("digits")
LABELS = data.load_train_labels("digits")
TEST_LABELS = data.load_test_labels("digits")


def bought(workdir):
    """The items that a run bought, in the order in which it did, and their labels."""
    with contextlib.closing(LabelStore(f"sqlite:///{workdir}/labels.db")) as store:
        account = read_json(workdir / "run.json")["account"]
        return [(row.item, row.class_name, row.purpose) for row in store.ledger(account)]


@pytest.fixture(scope="module")
def command_line(tmp_path_factory):
    """The work directory of the command line's run: 64 labels of the digits."""
    workdir = tmp_path_factory.mktemp("cli") / "run"
    flags = [f"--config.{name}={value}" for name, value in QUICK.items()]
    config = "--config=configs/digits.py:pixels"
    assert cli.run(["train", config, *flags, f"--workdir={workdir}"]) == 0
    return workdir


@pytest.mark.parametrize("way", ["specification", "function", "array", "oracle"])
def test_digits_give_the_same_labels_and_accuracy_as_the_command_line(way, command_line, tmp_path):
    images, ask, more = DIGITS.train_images, None, {"budget": 64, "classes": range(10)}
    if way == "specification":
        images, more = "digits", {"budget": 64}
    elif way == "array":
        ask, more["workdir"] = LABELS, tmp_path / "run"
    elif way == "function":
        ask, more["workdir"] = lambda indices: LABELS[indices].tolist(), tmp_path / "run"
    else:
        store = LabelStore(f"sqlite:///{tmp_path}/own.db")
        store.define("mine", DIGITS.classes)
        store.add_labels("mine", DIGITS.train_items, LABELS)
        store.open_account("me", "mine", 64)
        ask, more = jaxlabel.Oracle(store, "me", DIGITS.train_items.tolist(), num_classes=10), {}
    result = jaxlabel.fit(images, ask, recipe="medoids:pixels", **QUICK, **more)
    expected = jaxlabel.load(command_line)
    assert result.ledger == expected.ledger
    assert result.labels_spent == 64
    assert np.array_equal(
        result.predict_proba(DIGITS.test_images), expected.predict_proba(DIGITS.test_images)
    )
    accuracy = np.mean(result.predict(DIGITS.test_images).astype(int) == TEST_LABELS)
    assert accuracy == expected.record["test_accuracy"] > 0.8
    if "workdir" in more:
        assert bought(tmp_path / "run") == bought(command_line)
    if way == "oracle":
        assert store.spent("me") == 64
        assert [row.item for row in store.ledger("me")] == [row[0] for row in bought(command_line)]
        store.close()


def test_floats_and_three_axes_are_the_same_images(tmp_path):
    few = DIGITS.train_images[:60]
    results = [
        jaxlabel.fit(images, LABELS[:60], budget=8, recipe="medoids:pixels", **QUICK)
        for images in (few, few[..., 0] / np.float32(255), np.repeat(few, 3, axis=-1).tolist())
    ]
    assert [type(result.classes[0]) for result in results] == [int, int, int]
    for result in results[1:]:
        assert np.array_equal(result.train_labels, results[0].train_labels)
    assert np.array_equal(results[0].predict(few / 255), results[0].predict(few))


def test_a_result_is_saved_loaded_and_reported(command_line, tmp_path):
    result = jaxlabel.load(command_line)
    assert result.classes == DIGITS.classes
    assert (
        np.mean(result.train_labels == LABELS.astype(str))
        == (result.record["train_label_accuracy"])
    )
    assert result.certificate is None
    assert result.accuracy_estimate == result.record["estimate"]
    assert sum(entry.labels for entry in result.ledger) == 64
    again = jaxlabel.load(result.save(tmp_path / "deep" / "saved"))
    assert result.save(tmp_path / "deep" / "saved") == tmp_path / "deep" / "saved"  # once more
    assert not (again.directory / "labels.db").exists()
    assert np.array_equal(again.predict_proba("digits"), result.predict_proba("digits"))
    # The directory of the result may be read-only: the report is written to its target alone.
    (again.directory / "report.html").unlink()
    assert "64" in again.report(tmp_path / "report.html").read_text()
    assert not (again.directory / "report.html").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        result.save(tmp_path / "other")
    with pytest.raises(UsageError, match="8x6 pixels, the model was trained on 8x8"):
        again.predict(np.zeros((2, 6, 8), np.uint8))
    assert again.predict_proba(np.zeros((0, 8, 8), np.uint8)).shape == (0, 10)


def test_a_saved_result_holds_no_answers_and_no_pictures_and_can_be_saved_again(
    command_line, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(command_line, run)
    for name in ("questions.csv", "asked.json", ".lock", "answer_times.json"):
        (run / name).write_text("{}")
    for name in ("questions", "labelled", "page"):
        (run / name).mkdir()
        (run / name / "secret.png").write_bytes(b"")
    result = jaxlabel.load(run)
    for _ in range(2):
        saved = result.save(tmp_path / "saved")
    assert {path.name for path in saved.iterdir()} <= {
        "config.json", "result.json", "metrics.jsonl", "session.json", "images.json",
        "report.html", "artifacts", "checkpoints", "tensorboard",
    }  # fmt: skip
    assert [path.name for path in (saved / "checkpoints").iterdir()] == ["predictor"]
    (saved / "artifacts" / "train_labels.npz").write_bytes(b"PK half")
    with pytest.raises(JaxlabelError, match=r"train_labels\.npz is damaged"):
        _ = jaxlabel.load(saved).train_labels
    with pytest.raises(UsageError, match="is a copy of a run without its database"):
        purchases.ledger(saved)
    for name, call in (("directory", result.save), ("path", result.report)):
        with pytest.raises(UsageError, match=f"{name} is None: it takes the path"):
            call(None)
    with pytest.raises(UsageError, match="cannot be read: Not a directory"):
        jaxlabel.load(run / "result.json")
    with pytest.raises(JaxlabelError, match="the images differ in size"):
        result.predict([np.zeros((8, 8), np.uint8), np.zeros((5, 8), np.uint8)])


def test_a_saved_result_replaces_only_a_saved_result(command_line, tmp_path):
    result = jaxlabel.load(command_line)
    for folder, name in (("photos", "config.json"), ("run", "labels.db"), ("outside", "run.json"),
                         ("open", ".lock"), ("asked", "questions.csv")):  # fmt: skip
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text("{}")
        (tmp_path / folder / name).write_text("{}")
        for path in (folder, f"new/../{folder}"):
            with pytest.raises(UsageError, match="name another directory"):
                result.save(tmp_path / path)
        assert (tmp_path / folder / name).exists()
    with pytest.raises(UsageError, match="is a run's work directory"):
        jaxlabel.load(result.save(tmp_path / "saved")).save(command_line)


def test_a_certificate_is_what_the_run_recorded(command_line, tmp_path):
    result = jaxlabel.load(command_line)
    result.record |= {
        "certified": 1.0, "certified_low": 0.91, "certified_high": 0.99, "certified_of": "the pool",
        "certified_estimate": 0.95, "labels_to_certify": 40,
    }  # fmt: skip
    result.record["config"] = result.record["config"] | {"target": 0.9, "confidence": 0.95}
    assert result.certificate == Certificate(0.91, 0.99, 0.95, 0.9, 0.95, "the pool", 40)
    assert result.accuracy_estimate == 0.95


def test_names_become_classes_and_copies_are_asked_once():
    images = np.concatenate([DIGITS.train_images[:40]] * 2)
    names = np.array(["even", "odd"])[np.concatenate([LABELS[:40]] * 2) % 2]
    asked = []

    def ask(indices):
        asked.extend(indices.tolist())
        return names[indices]

    result = jaxlabel.fit(images, ask, budget=12, recipe="medoids:pixels", **QUICK)
    assert set(result.classes) == {"even", "odd"}
    assert result.labels_spent == len(asked) == len(set(asked)) <= 12
    assert max(asked) < 40  # of two copies, the first
    assert result.train_labels[asked].tolist() == names[asked].tolist()
    assert result.train_labels.dtype.kind == "U"


def test_of_an_array_only_the_classes_of_bought_labels_become_known(caplog):
    images = np.concatenate([DIGITS.train_images[:40]] * 2)
    labels, asked = np.concatenate([LABELS[:40]] * 2), []

    def fit(ask):
        return jaxlabel.fit(images, ask, budget=5, recipe="medoids:pixels", **QUICK)

    by_function = fit(lambda indices: (asked.extend(indices.tolist()), labels[indices])[1])
    labels[43] = 77  # a copy of image 3, whose label counts
    by_array = fit(labels)
    assert by_array.classes == by_function.classes and set(by_array.classes) == set(labels[asked])
    probabilities = [result.predict_proba(images[:40]) for result in (by_array, by_function)]
    assert np.array_equal(*probabilities)
    differ = "1 labels differ from the label in the store or of an earlier equal image, which"
    assert differ in caplog.text
    assert "the first is that of image 43" in caplog.text


def test_images_do_not_get_the_classes_of_others_in_a_shared_store(tmp_path):
    url, images = f"sqlite:///{tmp_path}/s.db", DIGITS.train_images[:40]
    with LabelStore(url) as store:
        store.define("images", ["cat", "dog"])

    def fit(workdir, **more):
        def ask(indices):
            raise RuntimeError("asked")

        return jaxlabel.fit(images, ask, budget=9, recipe="medoids:pixels", store=url,
                            workdir=tmp_path / workdir, **QUICK, **more)  # fmt: skip

    with pytest.raises(RuntimeError, match="asked"):  # somebody has defined these classes for it
        fit("first")
    with LabelStore(url) as store:
        store.add_labels("images", ["another image"], [0])
    with pytest.raises(UsageError, match=r"s\.db has labels under the name images, but of none of "
                                         r"these images; its classes are cat, dog\. "
                                         "Name another store"):  # fmt: skip
        fit("second")
    for workdir, more in (("first", {}), ("third", {"classes": ["cat", "dog", "emu"]})):
        with pytest.raises(RuntimeError, match="asked"):
            fit(workdir, **more)
    with LabelStore(url) as store:
        store.add_labels("images", DIGITS.train_items[3:4], [1])
    with pytest.raises(RuntimeError, match="asked"):
        fit("fourth")


def test_labels_that_differ_from_those_in_a_shared_store_are_counted(caplog, tmp_path):
    images, labels = DIGITS.train_images[:40], LABELS[:40].copy()

    def fit(workdir):
        return jaxlabel.fit(
            images, labels, budget=40, recipe="medoids:pixels", store=f"sqlite:///{tmp_path}/s.db",
            classes=range(10), workdir=tmp_path / workdir, **QUICK,
        )  # fmt: skip

    first = fit("a")
    assert "differ" not in caplog.text
    labels[[7, 9]] = (labels[[7, 9]] + 1) % 10
    second = fit("b")
    assert "2 labels differ from the label in the store" in caplog.text
    assert "the first is that of image 7" in caplog.text
    assert np.array_equal(second.train_labels, first.train_labels)


def test_a_finished_or_stopped_run_goes_on_with_the_same_call(tmp_path):
    calls = []

    def ask(indices):
        calls.append(len(indices))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return LABELS[indices]

    def fit():
        return jaxlabel.fit(
            DIGITS.train_images[:80], ask, budget=12, recipe="medoids:pixels", classes=range(10),
            workdir=tmp_path / "run", **QUICK,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        fit()
    told = sum(calls[:2])
    result = fit()
    assert sum(calls) - calls[2] == result.labels_spent == 12
    assert told > 0
    before = len(calls)
    assert np.array_equal(fit().train_labels, result.train_labels)
    assert len(calls) == before


def test_a_run_is_continued_with_the_oracle_of_its_account(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with LabelStore("sqlite:///own.db") as store:
        store.define("mine", DIGITS.classes)
        store.add_labels("mine", DIGITS.train_items, LABELS)
        oracles = {}
        for name in ("first", "second"):
            store.open_account(name, "mine", 64)
            items = DIGITS.train_items.tolist()
            oracles[name] = jaxlabel.Oracle(store, name, items, num_classes=10)

        def fit(name, **more):
            return jaxlabel.fit(DIGITS.train_images, oracles[name], workdir=tmp_path / "run",
                                recipe="medoids:pixels", **QUICK, **more)  # fmt: skip

        with pytest.raises(UsageError, match="the oracle's label store names the classes"):
            fit("first", classes=range(10))
        fit("first")
        with pytest.raises(UsageError, match=r"begun with the account first, .* charges second"):
            fit("second")
        with pytest.raises(UsageError, match="begun with an Oracle: give it again as `ask`"):
            jaxlabel.fit(DIGITS.train_images, LABELS, workdir=tmp_path / "run", budget=64,
                         recipe="medoids:pixels", **QUICK)  # fmt: skip
        assert store.spent("second") == 0
    recorded = read_json(tmp_path / "run" / "run.json")
    assert recorded["store"] == f"sqlite:///{tmp_path / 'own.db'}"


def test_without_a_variant_it_is_the_data_sets_or_that_of_a_folder():
    from jaxlabel.api.recipes import configuration
    from jaxlabel.data import arrays

    spec = arrays.hold(DIGITS.train_images[:20])
    try:
        unknown = configuration("flagship", spec, {"budget": np.int64(7)})
        assert (unknown.alignment, unknown.image_size, unknown.budget) == ("none", 0, 7)
        assert unknown.kind == "auto"
        assert data.load(spec).kind == "unknown"
        assert configuration("flagship:mnist", spec, {}).kind == "digits"
    finally:
        arrays.release(spec)
    assert configuration("flagship", "digits", {}).initial_labels == 20
    assert configuration("medoids", "digits", {}).code_steps == 1000
    with pytest.raises(DataError, match="another process"):
        data.load(spec)


def answers(value):
    return lambda indices: value


REFUSED = {
    "a misspelt setting": ({"stepz": 3}, UsageError, r"stepz \(did you mean steps\?\)"),
    "a misspelt recipe": ({"recipe": "flagshib"}, UsageError, "did you mean flagship"),
    "an unknown variant": ({"recipe": "semisup:mars"}, UsageError, "variant 'mars'"),
    "a value out of range": ({"target": 2, "recipe": "flagship"}, UsageError, "config.target is 2"),
    "a target without use": ({"target": 0.9}, UsageError, "semisup has no target"),
    "data as a setting": ({"data": "digits"}, UsageError, "first argument"),
    "no ask": ({"ask": None}, UsageError, "ask is missing"),
    "two axes": ({"images": np.zeros((9, 64))}, DataError, "reshape"),
    "two channels": ({"images": np.zeros((9, 8, 8, 2), np.uint8)}, DataError, r"\(9, 8, 8, 2\)"),
    "NaN": ({"images": np.full((9, 8, 8), np.nan)}, DataError, "NaN"),
    "floats to 255": ({"images": np.full((9, 8, 8), 255.0)}, DataError, "divide"),
    "pixels 0 and 1": ({"images": np.eye(9, dtype=int)[None].repeat(30, 0)}, DataError,
                       "multiply the pixels by 255"),
    "integers to 300": ({"images": np.full((9, 8, 8), 300)}, DataError, "from 0 to 255"),
    "no images": ({"images": np.zeros((0, 8, 8), np.uint8)}, DataError, "no pixels"),
    "texts": ({"images": np.full((9, 8, 8), "a")}, DataError, "<U1"),
    "an unknown place": ({"images": "moon:x"}, DataError, "unknown data set"),
    "labels of another length": ({"ask": LABELS[:3]}, UsageError, "3 labels for 30 images"),
    "one-hot labels": ({"ask": np.eye(30)}, UsageError, r"\(30, 30\)"),
    "a missing label": ({"ask": ["a"] * 29 + [None]}, DataError, r"ask\[29\] is None"),
    "a missing label of pandas": ({"ask": ["a"] * 29 + [NA]}, DataError, r"ask\[29\] is <NA>: "),
    "names and numbers": ({"ask": ["a"] * 29 + [1]}, DataError, "all integers or all strings"),
    "too few answers": ({"ask": answers([1])}, UsageError, "1 labels for"),
    "a text for labels": ({"ask": answers("cat")}, UsageError, "list or an array"),
    "a float for a label": ({"ask": answers([1.5] * 10)}, DataError, "class name or an integer$"),
    "whole numbers as floats": ({"ask": np.arange(30.0)}, DataError, r"is 0\.0: .*astype\(int\)"),
    "booleans": ({"ask": np.arange(30) > 3}, DataError, r"is False: .*with \.astype\(int\)$"),
    "minutes": ({"budget": "30m"}, UsageError, "budget is '30m': from Python it is a number of"),
    "no class": ({"ask": ["cta"] * 30, "classes": ["cat", "dog"]}, DataError, "did you mean cat"),
    "no position": ({"ask": [2] * 30, "classes": ["cat", "dog"]}, DataError, "0 to 1 or one of"),
    "a name or a position": ({"ask": [0, 1, 2] * 10, "classes": ["0", "2", "1"]}, DataError,
                             r"ask\[1\] is 1: the class '1', or that at position 1, '2'\?"),
    "a number of classes": ({"classes": 10}, UsageError, r"classes is 10: .*range\(10\)"),
    "a text of classes": ({"classes": "cat"}, UsageError, "classes is 'cat': it takes the names"),
    "no recipe": ({"recipe": None}, UsageError, "recipe is None: .*flagship"),
    "a number for a directory": ({"workdir": 3}, UsageError, "workdir is 3"),
    "a list of one-hot labels": ({"ask": list(np.eye(30))}, DataError,
                                 r"ask\[0\] has the type ndarray"),
    "a class twice": ({"classes": ["cat", "cat"]}, UsageError, "more than once"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_what_does_not_fit_is_one_clear_line(fault, tmp_path):
    changes, error, message = REFUSED[fault]
    arguments = {"images": DIGITS.train_images[:30], "ask": LABELS[:30], "recipe": "semisup",
                 "preset": "tiny", "budget": 10, "query": "random"}  # fmt: skip
    with pytest.raises(error, match=message) as raised:
        jaxlabel.fit(**arguments | changes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("directory", [3, None])
def test_what_is_no_directory_is_one_clear_line(directory):
    with pytest.raises(UsageError, match=f"directory is {directory}: it takes the path"):
        jaxlabel.load(directory)


def test_a_specification_with_labels_takes_none_and_an_empty_budget_buys_none():
    with pytest.raises(UsageError, match="brings its own labels"):
        jaxlabel.fit("digits", LABELS)
    with pytest.raises(UsageError, match="the data set digits names the classes"):
        jaxlabel.fit("digits", classes=range(10))
    with pytest.raises((UsageError, BudgetExceeded), match="budget"):
        jaxlabel.fit(DIGITS.train_images[:30], LABELS[:30], budget=0, recipe="semisup:digits",
                     preset="tiny")  # fmt: skip


def test_nothing_is_printed_and_progress_is_logged(capsys, caplog):
    with caplog.at_level(logging.INFO, "jaxlabel"):
        jaxlabel.fit(DIGITS.train_images[:30], LABELS[:30], budget=4, recipe="semisup:digits",
                     preset="tiny", steps=3)  # fmt: skip
    assert capsys.readouterr().err == ""
    assert any("semisup 3/3" in record.message for record in caplog.records)
