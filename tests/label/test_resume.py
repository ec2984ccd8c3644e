"""A run goes on by the page or by `train`, whoever began it, and both ask the same questions."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxlabel.errors import LabelsMissing
from jaxlabel.experiment import account, run
from jaxlabel.label import child
from jaxlabel.label.desk import Desk
from jaxlabel.label.project import begin
from jaxlabel.methods import active
from jaxlabel.oracle import LabelStore

ROUNDS = 4  # 8, 12, 18 and 20 labels


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    from sklearn.datasets import load_digits

    found, folder = load_digits(), tmp_path_factory.mktemp("digits")
    for number in range(300):
        pixels = (found.images[number] * 15.9).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}_{found.target[number] % 2}.png")
    return active.Config(
        data=f"folder:{folder}", image_size=8, map="none", network="dense", width=8, budget=20,
        initial_labels=8, growth=1.5, round_steps=6, steps=8, refinements=0, graph_targets=0,
        batch_size=16, mu=2, distil_steps=0,
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
    path = workdir / account.QUESTIONS
    if path.exists():
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row["label"] = f"kind {row['file'][-5]}"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        account.answer(workdir)
    try:
        run.run(settings, workdir)
    except LabelsMissing:
        return False
    return True


def bought(workdir):
    store = LabelStore(f"sqlite:///{workdir / 'labels.db'}")
    rows = store.ledger(store.accounts()[0].name)
    return [(row.item, row.class_name, row.purpose, row.round) for row in rows]


@pytest.mark.parametrize("first", [answer_page, answer_file])
def test_the_page_and_train_ask_the_same_questions_whoever_began(settings, tmp_path, first):
    while not (tmp_path / "page").exists() or not bought(tmp_path / "page"):
        first(settings, tmp_path / "page")
    shutil.copytree(tmp_path / "page", tmp_path / "train")
    begun = bought(tmp_path / "page")
    assert len(begun) == 8
    for go_on, name in ((answer_page, "page"), (answer_file, "train")):
        times = 1
        while not go_on(settings, tmp_path / name):
            times += 1
        assert times == ROUNDS - 1
    assert bought(tmp_path / "page") == bought(tmp_path / "train")
    assert len(bought(tmp_path / "page")) == 20 and bought(tmp_path / "page")[:8] == begun
    guessed = [np.load(tmp_path / name / "artifacts" / "pool.npz") for name in ("page", "train")]
    np.testing.assert_array_equal(*(each["probabilities"] for each in guessed))


def test_pictures_labelled_ahead_come_first_in_the_next_round(settings, tmp_path):
    while not answer_page(settings, tmp_path) and len(bought(tmp_path)) < 8:
        pass
    desk = Desk(begin(settings, tmp_path))
    batch = {question.item for question in desk.batch()}
    ahead = [q.item for q in desk.upcoming("me", 30) if q.source == "ahead"][:2]
    assert len(ahead) == 2 and not batch & set(ahead)
    desk.answer(ahead, "me", "kind 0")
    answer_page(settings, tmp_path)
    assert {item for item, *_, number in bought(tmp_path) if number == 1} == batch
    answer_page(settings, tmp_path)
    assert [item for item, *_, number in bought(tmp_path) if number == 2][:2] == ahead
