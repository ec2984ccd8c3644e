"""Prices of a `cost` column, and a budget in minutes of a person's time."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

from jaxlabel import data, files, query
from jaxlabel.config import minutes_of
from jaxlabel.errors import DataError, LabelsMissing, UsageError
from jaxlabel.experiment import person_time, questions
from jaxlabel.experiment import run as experiment
from jaxlabel.label.desk import Desk
from jaxlabel.label.project import begin
from jaxlabel.label.status import status
from jaxlabel.label.trainer import State
from jaxlabel.methods import active, representatives
from jaxlabel.oracle import LabelStore
from jaxlabel.oracle.named import store_labels
from jaxlabel.oracle.prices import set_prices, total_price
from jaxlabel.oracle.votes import NOT_SURE, Rule, vote

QUICK = {"classifier": "dense", "steps": 3, "image_size": 8}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Write 30 pictures of two kinds, top*.png and end*.png, and return their folder."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    for number in range(30):
        image = random.integers(0, 60, (8, 8), np.uint8)
        image[: 4 * (number % 2) or 8] += 150
        Image.fromarray(image).save(folder / f"{('end', 'top')[number % 2]}{number:02}.png")
    return folder


def table(pictures, costs, labels=True):
    """Write a CSV file of the pictures with these prices, and return its spec."""
    path = pictures / f"shop{len(list(pictures.glob('*.csv')))}.csv"
    rows = [
        [file.name, file.name[:3] if labels else "", cost]
        for file, cost in zip(sorted(pictures.glob("*.png")), costs, strict=True)
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label" if labels else "note", "Cost"], *rows])
    return f"csv:{path}"


def bought(workdir):
    store = LabelStore(f"sqlite:///{workdir}/labels.db")
    return [row for entry in store.accounts() for row in store.ledger(entry.name)]


def test_a_price_is_kept_until_there_is_a_label_and_charged_then(store_url):
    store = LabelStore(store_url)
    set_prices(store, "shop", ["a", "b", "b", "c"], np.array([0.5, 2, 9, 0]))
    set_prices(store, "shop", ["a", "d"], np.array([7.0, 4]))  # the first price is kept
    assert store.costs("shop", ["b", "a", "c", "d", "else"]).tolist() == [2, 0.5, 0, 4, 1]
    store_labels(store, "shop", ["a", "c"], ["cat", "dog"])
    vote(store, "shop", ["b"], "ann", "cat")
    vote(store, "shop", ["d"], "ann", NOT_SURE)
    store.define("shop", ["cat", "dog"])
    store.add_labels("shop", ["e", "f"], [0, 1], [3, 1])
    set_prices(store, "shop", ["e", "f"], np.array([8, 8]))  # a label keeps its price
    for costs in (store.costs, store.all_costs):
        assert costs("shop", list("abcdefz")).tolist() == [0.5, 2, 0, np.inf, 3, 1, 1]
    assert total_price(store, "shop", ["a", "b", "d", "d"]) == 6.5
    store.open_account("run", "shop", 2.5)
    reason = {"purpose": "train", "round": 0, "asked_by": "test"}
    with pytest.raises(LabelsMissing):  # the price of d would be too much: it is asked for alone
        store.open_account("rich", "shop", 4)
        store.buy("rich", ["d"], **reason)
    with pytest.raises(Exception, match="1 new label costs 4, but account run has only"):
        store.buy("run", ["d"], **reason)
    assert store.buy("run", ["b", "a", "c"], **reason).costs.tolist() == [2, 0.5, 0]
    assert store.spent("run") == 2.5


def test_a_run_pays_the_prices_of_a_csv_file_and_asks_nothing_unaffordable(pictures, tmp_path):
    costs = [50 if number % 3 == 0 else 2.5 for number in range(30)]
    config = representatives.Config(
        **QUICK, data=table(pictures, costs), budget=11, select="random"
    )
    result = experiment.run(config, tmp_path / "run")
    assert result["labels_spent"] == 4 and result["cost"] == 10
    said = experiment.summary(result, tmp_path)
    assert "4 labels bought, which cost 10 of a budget of 11, stopped by budget" in said
    without_limit = result | {"config": result["config"] | {"budget": None}}
    assert "4 labels bought, which cost 10, stopped" in experiment.summary(without_limit, tmp_path)
    assert [row.cost for row in bought(tmp_path / "run")] == [2.5] * 4
    dataset = data.load(config.data)
    assert dataset.costs is not None and dataset.costs.tolist() == costs
    assert data.load(f"folder:{pictures}").costs is None


def test_a_person_is_charged_the_price_and_the_page_counts_it(pictures, tmp_path):
    costs = [3 if number % 2 else "" for number in range(30)]
    settings = active.Config(
        data=table(pictures, costs, labels=False), image_size=8, budget=7, initial_labels=6,
    )  # fmt: skip
    project = begin(settings, tmp_path / "run")
    desk, price = Desk(project), project.prices()
    assert sorted(set(price.tolist())) == [1, 3] and 0 < price[project.first].sum() <= 7
    desk.answer([project.items[project.first[0]]], "me", "top", 2.0)
    dear = project.items[1]
    assert total_price(project.store, project.label_set, [dear]) == 3
    desk.answer([dear], "me", "end", 2.0)
    paid = len({project.items[project.first[0]], dear})
    assert (
        desk.money_left(desk.snapshot(fresh=True)) == 7 - 3 - (paid > 1) * price[project.first[0]]
    )


@pytest.mark.parametrize("cost", ["dear", "-1", "nan", "inf", "1e308", "2,5"])
def test_a_price_that_is_none_is_named_with_its_row(pictures, cost):
    spec = table(pictures, [1, cost] + [2] * 28)
    with pytest.raises(DataError, match=r"row 2: the cost '.*' is no price: write a number"):
        data.load(spec)


def test_minutes_are_written_as_people_do():
    texts = ["30m", "1h30m", "90s", "2h", "1h5s", "64", "", "m", "inf", "30 m", "1.5h"]
    assert [minutes_of(text) for text in texts] == [
        30, 90, 1.5, 120, 60 + 5 / 60, None, None, None, None, None, None
    ]  # fmt: skip
    assert person_time.labels_in(10, 0.0, 0) == 120  # 5 s each before the first answer
    assert person_time.labels_in(10, 200.0, 10) == 30
    assert person_time.counted([0.0, 3.0, 60.0, 61.0]) == [3.0, 60.0]


def test_minutes_are_refused_where_no_person_answers(pictures, tmp_path):
    config = representatives.Config(**QUICK, data="digits", minutes=30)
    with pytest.raises(UsageError, match="30 minutes is for a person who answers on the page"):
        experiment.run(config, tmp_path / "digits")
    config.data = table(pictures, [2] * 30, labels=False)
    with pytest.raises(UsageError, match="has prices"):
        experiment.run(config, tmp_path / "prices")


def buy_in_rounds(store_url, workdir, seconds, unsure=()):
    """Buy up to 8 labels a round; start again before each purchase, as a run with a person does.

    Return the numbers of labels that were affordable before each round, and the last oracle.
    """
    items = [f"item{number}" for number in range(60)]
    store, seen = LabelStore(store_url), []
    while True:
        oracle = person_time.TimedOracle(3, workdir, store, "run", items, num_classes=1)
        affordable = []
        for first in range(0, 60, 8):
            affordable.append(query.num_affordable(oracle, 60, np.arange(first)))
            wanted = np.arange(first, first + min(8, affordable[-1]))
            wanted = wanted[np.isfinite(oracle.cost(wanted))]
            if not len(wanted):
                assert affordable[: len(seen)] == seen
                return affordable, oracle
            try:
                oracle.ask(wanted)
            except LabelsMissing as missing:
                person_time.note_page(workdir, missing.items)
                for item in missing.items:
                    vote(store, "set", [item], "me", NOT_SURE if item in unsure else "x", seconds)
                break
        assert affordable[: len(seen)] == seen  # a run that starts again decides the same
        seen = affordable


@pytest.mark.parametrize(("seconds", "labels"), [(20.0, 9), (6.0, 30), (61.0, 36)])
def test_the_run_stops_asking_when_the_minutes_are_over(store_url, tmp_path, seconds, labels):
    store = LabelStore(store_url)
    store.define("set", "x")
    store.open_account("run", "set", np.inf)
    affordable, oracle = buy_in_rounds(store_url, tmp_path, seconds)
    assert affordable[0] == 36  # 3 minutes of 5 s each
    assert affordable[1] == labels - 8 and affordable[-1] == 0
    assert oracle.num_bought == labels == len(store.ledger("run")) and oracle.remaining == 0
    assert oracle.seconds == (0 if seconds > person_time.PAUSE else seconds * labels)


def test_the_time_of_not_sure_counts(tmp_path):
    url = f"sqlite:///{tmp_path}/labels.db"
    LabelStore(url).define("set", "x")
    LabelStore(url).open_account("run", "set", np.inf)
    affordable, oracle = buy_in_rounds(url, tmp_path, 10.0, unsure=("item1", "item2"))
    # 80 s for 6 labels: 3 minutes are 13.5 labels; then 150 s for 13 labels: they are 15.6
    assert affordable[1] == 7 and oracle.num_bought == 15 and oracle.seconds == 170.0


def test_answers_in_a_file_take_from_the_question_to_its_last_saving(pictures, tmp_path):
    config = representatives.Config(
        **QUICK, data=f"folder:{pictures}", budget=np.inf, minutes=1, select="random"
    )
    run = tmp_path / "run"
    with pytest.raises(LabelsMissing, match="12 images are to be labelled"):  # of 5 s each
        experiment.run(config, run)
    rows = list(csv.reader((run / "questions.csv").read_text("utf-8-sig").splitlines()))
    answers = [[item, file, os.path.basename(file)[:3]] for item, file, _ in rows[1:]]
    with (run / "questions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *answers])
    began = (run / "asked.json").stat().st_mtime
    os.utime(run / "questions.csv", (began, began + 48))
    questions.answer(run)
    result = experiment.run(config, run)
    assert result["labels_spent"] == 12 and result["answer_seconds"] == pytest.approx(48, abs=0.1)
    assert "the answers took 0.8 of 1 minutes" in experiment.summary(result, run)


def test_a_run_that_is_started_before_its_answers_are_imported_keeps_their_time(tmp_path):
    files.write_json(tmp_path / "config.json", {"minutes": 30.0})
    items = [f"item{number}" for number in range(20)]
    asked, path = tmp_path / "asked.json", tmp_path / "questions.csv"
    questions.write_questions(tmp_path, items, [""] * 20)
    os.utime(asked, (1000, 1000))
    path.write_text(path.read_text("utf-8-sig").replace(",,", ",,cat"))
    os.utime(path, (1180, 1180))
    assert questions.write_questions(tmp_path, items, [""] * 20) == path  # the same question again
    person_time.note_file(tmp_path, asked, path, items)
    times = files.read_json(tmp_path / person_time.FROM_FILES)
    assert times == dict.fromkeys(items, 9.0)  # 180 s for 20 labels
    # another question writes the file again: the time of the answers in it is unknown, not short
    (tmp_path / person_time.FROM_FILES).unlink()
    questions.write_questions(tmp_path, [*items[5:], "another"], [""] * 16)
    assert path.read_text("utf-8-sig").count(",cat") == 20
    person_time.note_file(tmp_path, asked, path, items)
    assert files.read_json(tmp_path / person_time.FROM_FILES) == {}
    os.utime(asked, (1000, 1000))
    questions.write_questions(tmp_path, ["another", *items[5:]], [""] * 16)
    assert asked.stat().st_mtime > 1000  # the same images, but the person sees another file


def test_the_page_shows_the_minutes_and_stops_asking_ahead(pictures, tmp_path):
    settings = active.Config(
        data=f"folder:{pictures}", image_size=8, budget=np.inf, minutes=0.5, initial_labels=20,
    )  # fmt: skip
    desk = Desk(begin(settings, tmp_path / "run"))
    assert len(desk.project.first) == 6  # 30 s at 5 s each
    for row in desk.project.first[:2]:
        desk.answer([desk.project.items[row]], "me", "top", 10.0)
    standing = desk.snapshot(fresh=True)
    assert desk.money_left(standing) == 1
    shown = status(desk, desk.records, State("asking"), "me")
    assert shown["time"] == {"minutes": 0.5, "used": pytest.approx(1 / 3)}
    assert shown["money"]["budget"] is None and shown["money"]["left"] is None
    # an earlier version did not record which answers were given on the page
    (tmp_path / "run" / person_time.ON_PAGE).unlink()
    again = Desk(begin(settings, tmp_path / "run"))
    again.answer([desk.project.items[desk.project.first[2]]], "me", "end", 5.0)
    assert again.money_left(again.snapshot(fresh=True)) == pytest.approx(30 / (25 / 3) - 3)


def test_the_answers_of_several_people_for_one_picture_are_one_label(pictures, tmp_path):
    settings = active.Config(
        data=f"folder:{pictures}", image_size=8, budget=np.inf, minutes=2, initial_labels=20,
    )  # fmt: skip
    desk = Desk(begin(settings, tmp_path / "run"), Rule(needed=3))
    project, items = desk.project, desk.project.items[:2]
    for person, name in (("ann", "top"), ("bob", "end"), ("cho", "top"), ("ann", "end")):
        desk.answer(items, person, name, 10.0)
    # 60 s for 2 labels: 2 minutes are 4 labels; ann's second answers replaced her first ones
    assert desk.money_left(desk.snapshot(fresh=True)) == 2
    oracle = person_time.TimedOracle(
        2, project.workdir, project.store, project.account, project.items, num_classes=2
    )
    oracle.ask(np.arange(2))
    assert oracle.remaining == 2 == desk.money_left(desk.snapshot(fresh=True))


def test_minutes_are_those_of_the_answers_for_this_run(pictures, tmp_path):
    settings = active.Config(
        data=f"folder:{pictures}", image_size=8, budget=np.inf, minutes=0.5, initial_labels=20,
        store=f"sqlite:///{tmp_path}/shared.db",
    )  # fmt: skip
    ours, theirs = (Desk(begin(settings, tmp_path / name)) for name in ("ours", "theirs"))
    items = [theirs.project.items[row] for row in theirs.project.first]
    for item, name in zip(items[:3], ("top", "end", NOT_SURE), strict=True):
        theirs.answer([item], "me", name, 10.0)
    assert theirs.money_left(theirs.snapshot(fresh=True)) == 0  # 30 s for 2 labels
    assert ours.money_left(ours.snapshot(fresh=True)) == 6  # 30 s at 5 s each
    ours.answer([items[3]], "me", "top", 10.0)
    assert ours.money_left(ours.snapshot(fresh=True)) == 2
    shown = status(ours, ours.records, State("asking"), "me")
    assert shown["time"]["used"] == pytest.approx(1 / 6)
    project = ours.project
    oracle = person_time.TimedOracle(
        0.5, project.workdir, project.store, project.account, items, num_classes=2
    )
    oracle.ask(np.array([0, 1, 3]))  # two labels that the other run's person gave
    assert oracle.seconds == 10 and oracle.remaining == 0
    assert ours.money_left(ours.snapshot(fresh=True)) == 0
