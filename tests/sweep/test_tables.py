"""The tables and charts of a sweep's results, from lines made by hand."""

from pathlib import Path

import pytest

from jaxlabel.report import figures
from jaxlabel.sweep import page, tables
from jaxlabel.sweep.places import in_other_folder
from jaxlabel.sweep.types import Plan


def test_tables_and_charts_of_several_measures():
    base = {"table": "T", "dataset": "d", "cell": {"k": 4}, "labels_spent": 0, "seconds": 1.0,
            "device": "x", "measures": ["inertia", "accuracy"], "over": "k", "theirs": 10.0,
            "config": {"k": 4}, "row": "r"}  # fmt: skip
    lines = [base | {"inertia": 12.0, "accuracy": 1.0}, base | {"inertia": 12.5, "accuracy": 0.98}]
    found = tables.text_cells(tables.rows(lines))
    assert found[0][3:8] == ["labels", "inertia", "accuracy", "theirs", "difference"]
    # half of 12.25's interval: 12.7062 * 0.3535534 / sqrt(2) = 3.17655
    assert found[1][3:8] == [
        "0", "12.25 (9.0734 to 15.427)", "99.00 (86.29 to 100.00)", "10", "+2.25",
    ]  # fmt: skip
    assert page.charts(lines)["table1"].legend == ["r"]
    assert "r: 12.25 at 4" in page.charts(lines)["table1"].picture
    assert page.charts([one | {"over": "device"} for one in lines]) == {}
    assert len(page.COLOURS) == figures.COLOURS


def test_a_row_says_if_several_versions_of_jaxlabel_made_its_runs():
    base = {"table": "T", "dataset": "d", "cell": {}, "labels_spent": 20, "seconds": 1.0,
            "device": "x", "measures": [], "over": "k", "theirs": None, "row": "r"}  # fmt: skip
    lines = [base | {"commit": "abc"}, base | {"commit": "abd"}, base | {"commit": "abc"}]
    assert tables.text_cells(tables.rows(lines))[1][-3] == "3 (2 commits)"
    assert tables.text_cells(tables.rows(lines[::2]))[1][-3] == "2"
    lines = [base | {"commit": "", "versions": {"jaxlabel": f"0.{n}.0"}} for n in (1, 2)]
    assert tables.text_cells(tables.rows(lines))[1][-3] == "2 (2 commits)"


def test_labels_that_were_bought_before_a_run_are_counted_as_used():
    base = {"table": "T", "dataset": "d", "cell": {}, "labels_spent": 20, "seconds": 1.0,
            "device": "x", "measures": ["accuracy"], "over": "labels_spent", "theirs": None,
            "config": {}, "row": "r", "accuracy": 0.5}  # fmt: skip
    lines = [base | {"labels_spent": 0, "labels_bought_earlier": 100}, base]
    assert tables.text_cells(tables.rows(lines))[1][3] == "60 (20 to 100)"
    head, row = (line.split(",") for line in tables.csv_text(lines).splitlines())
    numbers = dict(zip(head, row, strict=True))
    assert (numbers["labels_spent"], numbers["labels_used"]) == ("10.0", "60.0")
    assert "r: 0.5 at 60" in page.charts(lines)["table1"].picture
    assert tables.one_line(lines[0] | {"test_accuracy": 0.5}) == "50.00% with 100 labels, 1.0 s"


def test_a_line_of_a_chart_differs_from_others_in_more_than_the_axis():
    def lines(queries, sets, arms=("graph",)):
        return [
            {"table": "T", "row": arm, "dataset": name, "labels_spent": labels, "seconds": 1.0,
             "cell": {"query": query, "budget": labels, "data": name}, "device": "x",
             "measures": ["accuracy"], "over": "labels_spent", "theirs": None, "config": {},
             "accuracy": 0.5 + number / 100 + labels / 1000}
            for arm in arms for number, query in enumerate(queries) for name in sets
            for labels in (40, 100)
        ]  # fmt: skip

    drawn = page.charts(lines(["random", "medoids"], ["mnist", "digits"]))
    assert drawn["table1"].legend == [
        "random, mnist", "random, digits", "medoids, mnist", "medoids, digits"
    ]  # fmt: skip
    picture = drawn["table1"].picture
    assert "medoids, mnist: 0.55 at 40" in picture and "random, mnist: 0.6 at 100" in picture
    assert page.charts(lines(["random", "medoids"], ["mnist"]))["table1"].legend == [
        "random", "medoids"
    ]  # fmt: skip
    plain = [one | {"row": "all", "cell": {}} for one in lines(["random"], ["mnist"])[:1]]
    both = page.charts([*lines(["random", "margin"], ["mnist"]), *plain])
    assert both["table1"].legend == ["graph, random", "graph, margin", "all"]
    guided = [
        one | {"row": "g", "cell": one["cell"] | {"graph_targets": graph_targets}}
        for graph_targets in (0.0, 0.5) for one in lines(["random"], ["mnist"])
    ]  # fmt: skip
    assert page.charts(guided)["table1"].legend == ["graph_targets=0.0", "graph_targets=0.5"]
    many = page.charts(lines([f"q{i}" for i in range(9)], ["mnist", "digits"]))
    assert list(many) == ["table1_mnist", "table1_digits"]
    assert many["table1_digits"].title == "T, digits"
    assert many["table1_digits"].legend == ["q0", "the line that a chart is named after"]
    picture = str(many["table1_digits"].picture)
    assert [picture.count(f'<text class="name" x="52" y="{y}">') for y in (20, 256, 492)] == [1] * 3
    assert [picture.count(f">q{i}</text>") for i in range(9)] == [0] + [1] * 8
    assert picture.count("q0: 0.54 at 40") == 8 and picture.count("q8: 0.62 at 40") == 1
    plan = Plan("", "e", "about", "why?", False, "", [], [])
    drawn = [one | {"run": "r", "seed": 0} for one in lines(list("abcdef"), ["mnist", "digits"])]
    html = page.render(plan, Path(), drawn, [], page.charts(drawn))
    assert html.count('<svg viewBox="0 0 1020') == 2 and "T, mnist" in html and "T, digits" in html


def test_published_settings_name_no_path_and_no_database_of_this_machine():
    plan = Plan("", "few", "", "", False, "/mine/data/", [], [])
    config = {"data": "idx:/mine/data/mnist", "data_dir": "/mine", "seed": 1,
              "store": "sqlite:////mine/a.db", "labels": "postgresql://me@host/d?table=t",
              "account": "me"}  # fmt: skip
    assert tables.without_local_paths(plan, config) == {
        "data": "idx:DATA_ROOT/mnist", "data_dir": "", "seed": 1, "store": "", "labels": "",
        "account": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("root", "data", "published"),
    [
        ("data", "webdataset:data/x-{0..9}.tar", "webdataset:DATA_ROOT/x-{0..9}.tar"),
        ("data", "csv:mydata/list.csv", "csv:mydata/list.csv"),
        ("data", "csv:data2/list.csv", "csv:data2/list.csv"),
        ("data/", "csv:data/data/list.csv", "csv:DATA_ROOT/data/list.csv"),
        ("/a", "folder:/a", "folder:DATA_ROOT"),
        ("/a", "folder:/b/a/c", "folder:/b/a/c"),
        ("/", "idx:/mnist", "idx:DATA_ROOT/mnist"),
        ("digits", "digits", "digits"),
    ],
)
def test_only_the_directory_of_data_sets_itself_is_replaced_in_published_settings(
    root, data, published
):
    made = Plan("", "few", "", "", False, root, [], [])
    assert tables.without_local_paths(made, {"data": data})["data"] == published
    # --go_on compares published settings with planned ones: the root is put back in one place too
    assert in_other_folder(published, "DATA_ROOT", root) == data
    assert in_other_folder("csv:MY_DATA_ROOT/a.csv", "DATA_ROOT", root) == (
        "csv:MY_DATA_ROOT/a.csv"
    )


def test_a_row_says_how_many_runs_have_a_measure_and_which_data_it_has():
    base = {"table": "T", "dataset": "shop", "labels_spent": 9, "seconds": 1.0, "device": "x",
            "measures": ["accuracy", "score"], "over": "labels_spent", "theirs": None,
            "config": {}, "row": "r", "score": 2.0}  # fmt: skip
    one, other = ({"cell": {"data": f"npz:{folder}/shop.npz"}} for folder in "ab")
    lines = [base | one | {"accuracy": 0.5}, base | one | {"accuracy": None},
             base | other | {"accuracy": 0.75}]  # fmt: skip
    _, *cells = tables.text_cells(tables.rows(lines))
    assert [row[2:7] for row in cells] == [
        ["data=npz:a/shop.npz", "9", "50.00, n=1", "2 (2 to 2)", "2"],
        ["data=npz:b/shop.npz", "9", "75.00", "2", "1"],
    ]
    assert tables.text_cells(tables.rows(lines[:2]))[1][2] == ""
