"""A run goes on by the page or by `train`, whoever began it, and both ask the same questions."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxlabel.errors import LabelsMissing
from jaxlabel.experiment import questions, run
from jaxlabel.label import child
from jaxlabel.label.desk import Desk
from jaxlabel.label.project import begin
from jaxlabel.methods import active
from jaxlabel.oracle import LabelStore


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    from sklearn.datasets import load_digits

    found, folder = load_digits(), tmp_path_factory.mktemp("digits")
    for number in range(300):
        pixels = (found.images[number] * 15.9).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}_{found.target[number] % 2}.png")
    return active.Config(
        data=f"folder:{folder}", image_size=8, network="dense", width=8, budget=16,
        initial_labels=8, steps=8, refinements=0,
        batch_size=16, mu=2,
    )  # fmt: skip


def answer_page(settings, workdir):
    """Answer the page's questions and train as the page does; return True at the end of the run."""
    desk = Desk(begin(settings, workdir))
    for question in desk.batch():
        path = desk.project.dataset.paths[desk.project.rows[question.item]]
        desk.answer([question.item], "me", f"kind {path[-5]}")
    order = {
        "method": "active", "settings": dataclasses.asdict(settings), "workdir": str(workdir),
        "chosen": desk.chosen(), "num_images": len(desk.project.items),
    }  # fmt: skip
    assert desk.ready()
    return child._train(order) == 0


def answer_file(settings, workdir):
    """Fill in questions.csv, import it, and train; return True at the end of the run."""
    path = workdir / questions.QUESTIONS
    if path.exists():
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row["label"] = f"kind {row['file'][-5]}"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        questions.answer(workdir)
    try:
        run.run(settings, workdir)
    except LabelsMissing:
        return False
    return True


def bought(workdir):
    store = LabelStore(f"sqlite:///{workdir / 'labels.db'}")
    rows = store.ledger(store.accounts()[0].name)
    return [(row.item, row.class_name, row.purpose, row.round) for row in rows]


@pytest.fixture(scope="module")
def begun_by_page(settings, tmp_path_factory):
    """A run that the page began, whose first 8 labels are bought and whose next 5 are asked for."""
    workdir = tmp_path_factory.mktemp("page") / "run"
    answer_page(settings, workdir)
    return workdir


@pytest.fixture(scope="module")
def begun_by_train(settings, tmp_path_factory):
    """The same by `jaxlabel train`."""
    workdir = tmp_path_factory.mktemp("train") / "run"
    for _ in range(2):
        answer_file(settings, workdir)
    return workdir


@pytest.mark.parametrize("begun", ["begun_by_page", "begun_by_train"])
def test_the_page_and_train_ask_the_same_questions_whoever_began(
    settings, tmp_path, request, begun
):
    first = request.getfixturevalue(begun)
    page, train = tmp_path / "page", tmp_path / "train"
    for workdir, go_on in ((page, answer_page), (train, answer_file)):
        shutil.copytree(first, workdir)
        assert [go_on(settings, workdir) for _ in range(2)] == [False, True]
    assert [number for *_, number in bought(page)] == [0] * 8 + [1] * 5 + [2] * 3
    assert bought(page) == bought(train) and bought(page)[:8] == bought(first)
    guessed = [np.load(each / "artifacts" / "pool.npz") for each in (page, train)]
    np.testing.assert_array_equal(*(each["probabilities"] for each in guessed))


def test_pictures_labelled_ahead_come_first_in_the_next_round(settings, tmp_path):
    settings, workdir = dataclasses.replace(settings, budget=24), tmp_path / "run"
    answer_page(settings, workdir)
    desk = Desk(begin(settings, workdir))
    batch = {question.item for question in desk.batch()}
    ahead = [q.item for q in desk.upcoming("me", 30) if q.source == "ahead"]
    assert len(ahead) == 3 and len(batch) == 5 and not batch & set(ahead)
    desk.answer(ahead, "me", "kind 0")
    assert not answer_page(settings, workdir)
    assert {item for item, *_, number in bought(workdir) if number == 1} == batch
    desk = Desk(begin(settings, workdir))
    asked = {question.item for question in desk.batch()}
    assert len(asked) == 5 and not asked & set(ahead)  # the round buys these eight
