"""Tests of writing questions to a CSV file, and importing a person's answers."""

import csv
import os

import pytest

from jaxlabel.errors import DataError
from jaxlabel.oracle import LabelStore, import_answers, write_questions
from jaxlabel.oracle.named import store_labels


@pytest.fixture
def store():
    store = LabelStore("sqlite://")
    store.define("pets", ["cat", "dog"])
    return store


def read(path):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [tuple(row) for row in csv.reader(file)]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def buy_labels(store, items, label_set="pets"):
    store.open_account("test", label_set, 99)
    return store.buy("test", items, purpose="", round=0, asked_by="").labels.tolist()


def test_questions_have_a_line_for_each_image(tmp_path):
    path = tmp_path / "questions.csv"
    assert write_questions(path, ["a", "b"], ["x, 1.png", 'y "2".png']) == 2
    assert read(path) == [
        ("item", "file", "label"),
        ("a", "x, 1.png", ""),
        ("b", 'y "2".png', ""),
    ]
    assert write_questions(path, ["c"]) == 1
    assert read(path)[1:] == [("c", "", "")]
    assert [file.name for file in tmp_path.iterdir()] == ["questions.csv"]


def test_a_file_name_with_an_odd_line_separator_stays_one_line(store, tmp_path):
    path, names = tmp_path / "questions.csv", ["c\u2028d.png", "e\x0bf.png", "g\nh.png"]
    write_questions(path, ["a", "b", "c"], names)
    rows = read(path)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([rows[0], *((*row[:2], "cat") for row in rows[1:])])
    assert import_answers(store, "pets", path).added == 3
    write_questions(path, ["d"])
    assert [row[1] for row in read(path)] == ["file", "", *names]


def test_a_link_to_a_file_of_questions_stays(tmp_path):
    (tmp_path / "link.csv").symlink_to("there.csv")
    for items in (["a"], ["a", "b"]):
        assert write_questions(tmp_path / "link.csv", items) == len(items)
        assert (tmp_path / "link.csv").is_symlink()
    assert len((tmp_path / "there.csv").read_text().splitlines()) == 3


def test_answers_already_given_are_not_written_over(tmp_path):
    path = write(
        tmp_path / "questions.csv", "item,file,label\na,1.png,cat\nb,2.png,\nc,3.png,dog\n"
    )
    assert write_questions(path, ["a", "d"], ["1.png", "4.png"]) == 1
    assert read(path)[1:] == [("a", "1.png", "cat"), ("d", "4.png", ""), ("c", "3.png", "dog")]


def test_answers_by_index_and_further_columns_are_not_written_over(tmp_path):
    text = "item,file,label,Class_Index,Notes\na,,cat,,sharp\nb,,,1,\nc,,,,blurred\nd,,,,gone\n"
    path = write(tmp_path / "questions.csv", text)
    assert write_questions(path, ["c", "e"]) == 2
    assert read(path) == [
        ("item", "file", "label", "Class_Index", "Notes"), ("c", "", "", "", "blurred"),
        ("e", "", "", "", ""), ("a", "", "cat", "", "sharp"), ("b", "", "", "1", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("filled", [
    "item,file,label\na,1.png,cat\nb,2.png,\n",
    "item;file;label;Notes\na;1.png;cat;\nb;2.png;;\n;;;\n",
    "item,file,label,Notes\na,1.png,,sharp\nb,2.png,,\n", "item,file,label\na,1.png,\nb,2.png,\n",
])  # fmt: skip
def test_a_file_that_has_the_questions_already_is_not_written_again(tmp_path, filled):
    path = write(tmp_path / "questions.csv", filled)
    os.utime(path, (1000, 1000))
    assert write_questions(path, ["a", "b"], ["1.png", "2.png"]) == 2 - ("cat" in filled)
    assert path.read_text() == filled and path.stat().st_mtime == 1000
    for items, files in ((["b"], ["2.png"]), (["a", "b"], ["1.png", "3.png"])):
        write_questions(path, items, files)
        assert path.stat().st_mtime > 1000
        os.utime(path, (1000, 1000))


def test_answers_are_class_names(store, tmp_path):
    path = write(tmp_path / "a.csv", "item,label\na,dog\nb,cat\nc, Cat \nd,\n,\ne,dog\n")
    counts = import_answers(store, "pets", path)
    assert counts[:6] == (4, 0, 1, [], (), 0)
    assert buy_labels(store, ["a", "b", "c", "e"]) == [1, 0, 0, 1]
    assert store.num_labelled("pets", ["d"]) == 0
    assert import_answers(store, "pets", path)[:6] == (0, 4, 1, [], (), 0)


def test_new_names_become_classes_after_those_that_are_there(store, tmp_path):
    path = write(tmp_path / "a.csv", "item,label\na,fox\nb,eel\nc,dog\nd,fox\n")
    assert import_answers(store, "pets", path).new_classes == ("eel", "fox")
    assert store.classes("pets") == ("cat", "dog", "eel", "fox")
    assert buy_labels(store, ["a", "b", "c", "d"]) == [3, 2, 1, 3]


def test_numbers_are_names_in_the_order_of_their_values(tmp_path):
    store = LabelStore("sqlite://")
    path = write(tmp_path / "a.csv", "item,label\na,10\nb,9\nc,3\n")
    assert import_answers(store, "digits", path).new_classes == ("3", "9", "10")
    path = write(tmp_path / "b.csv", "item,label\nd,0\ne,9\n")
    assert import_answers(store, "digits", path).new_classes == ("0",)
    assert buy_labels(store, ["a", "d", "e"], "digits") == [2, 3, 1]


def test_a_second_answer_is_refused_and_reported(store, tmp_path):
    store.add_labels("pets", ["a", "b"], [0, 0])
    path = write(tmp_path / "a.csv", "item,label\na,dog\nb,cat\nc,dog\n")
    refused = [(2, "a", "cat", "dog")]
    assert import_answers(store, "pets", path)[:6] == (1, 1, 0, refused, (), 0)


def test_a_refused_answer_does_not_add_its_class(store, tmp_path):
    store.add_labels("pets", ["a", "b"], [0, 1])
    text = "item,label\na,eel\nb,fox\nc,gnu\nd,fox\ne,yak\n"
    counts = import_answers(store, "pets", write(tmp_path / "a.csv", text), None, {"b"})
    # the label of b is put right, by which "dog" has no label any more
    assert counts.refused == [(2, "a", "cat", "eel")] and counts.corrected == 1
    assert counts.new_classes == ("fox", "gnu", "yak")
    assert store.classes("pets") == ("cat", "fox", "gnu", "yak")
    assert buy_labels(store, list("abcde")) == [0, 1, 2, 1, 3]
    assert store_labels(store, "pets", ["a", "c"], ["hen", "ibex"]) == (False, ["a", "c"])
    assert store_labels(store, "pets", ["a", "f"], ["hen", "ibex"]) == (True, ["a"])
    assert store.classes("pets") == ("cat", "fox", "gnu", "yak", "ibex")


def test_an_answer_is_put_right_until_it_is_paid_for(store, tmp_path):
    path = write(tmp_path / "a.csv", "item,label\na,dgo\nb,eel\nc,cat\n")
    mine = {"a", "b", "c"}
    assert import_answers(store, "pets", path, None, mine).new_classes == ("dgo", "eel")
    path = write(tmp_path / "a.csv", "item,label\na,dog\nb,eel\nc,cat\n")
    counts = import_answers(store, "pets", path, None, mine)
    assert (counts.known, counts.corrected, counts.refused) == (2, 1, [])
    assert store.classes("pets") == ("cat", "dog", "eel")  # the misspelt class is removed
    assert buy_labels(store, ["a", "b"]) == [1, 2]
    path = write(tmp_path / "a.csv", "item,label\na,cat\nb,fox\nc,dog\nd,gnu\n")
    counts = import_answers(store, "pets", path, None, mine)
    assert (counts.added, counts.corrected) == (1, 1)
    assert counts.refused == [(2, "a", "dog", "cat"), (3, "b", "eel", "fox")]
    assert counts.new_classes == ("gnu",)  # a refused answer does not add a class
    assert store.classes("pets") == ("cat", "dog", "eel", "gnu")
    assert buy_labels(store, ["a", "b", "c", "d"]) == [1, 2, 1, 3]


def test_a_class_stays_where_a_paid_label_would_change_its_number(store, tmp_path):
    path = write(tmp_path / "a.csv", "item,label\na,eel\nb,fox\n")
    import_answers(store, "pets", path, None, {"a"})
    assert buy_labels(store, ["b"]) == [3]
    path = write(tmp_path / "a.csv", "item,label\na,cat\n")
    assert import_answers(store, "pets", path, None, {"a"}).corrected == 1
    assert store.classes("pets") == ("cat", "dog", "eel", "fox") and buy_labels(store, ["a"]) == [0]


@pytest.mark.parametrize(
    "text",
    ["\ufeffitem;file;label\r\na;1.png;dog\r\n", "Item\tLabel\na\tdog", "sep=;\nitem;label\na;dog"],
)
def test_what_spreadsheets_write_is_read(store, tmp_path, text):
    assert import_answers(store, "pets", write(tmp_path / "a.csv", text)).added == 1
    assert buy_labels(store, ["a"]) == [1]


def test_unicode_text_of_a_spreadsheet_is_read(store, tmp_path):
    (tmp_path / "a.csv").write_text("item\tlabel\na\tK\u00e4fer\n", encoding="utf-16")
    assert import_answers(store, "pets", tmp_path / "a.csv").new_classes == ("K\u00e4fer",)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "a column called item and one called label"),
        ("item,answer\na,dog\n", "a column called item and one called label"),
        ("item,label,label\na,dog,cat\n", "a column called item and one called label"),
        ('item,label\na,"dog\nb,cat\n', "is not CSV: unexpected end of data; is a quote missing?"),
        ('item,label\na,"dog\nb,cat"\n', "is not a class name"),
        (f"item,label\na,{'dog' * 100}\n", "line 2 is not a class name"),
        ("item,label\na,dog\n,cat\n", "line 3 has a label but no item"),
        ("item,label\na,dog\nb,dog\na,cat\n", "lines 2 and 4 label the same item 'dog' and 'cat'"),
        ("item,label\na,1\nb,01\n", "line 3: the label '01' is not stored: it is the same number"),
        ("item,label\nz,dog\n", "line 2: there is no item 'z'"),
    ],
)
def test_wrong_files_are_refused_as_a_whole_in_one_line(store, tmp_path, text, message):
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(DataError) as error:
        import_answers(store, "pets", path, known_items=["a", "b"])
    assert message in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert store.num_labelled("pets", ["a", "b", "z"]) == 0
    assert store.classes("pets") == ("cat", "dog")


def test_files_that_cannot_be_read_or_written_are_named(store, tmp_path):
    with pytest.raises(DataError, match=r"none\.csv cannot be read: No such file"):
        import_answers(store, "pets", tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("item,label\na,K\xe4fer\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        import_answers(store, "pets", tmp_path / "latin.csv")
    with pytest.raises(DataError, match="cannot be written: No such file"):
        write_questions(tmp_path / "missing" / "questions.csv", ["a"])


def test_a_class_that_another_process_adds_in_between_moves_no_label(store, tmp_path, monkeypatch):
    path, read = write(tmp_path / "a.csv", "item,label\na,fox\nb,eel\nc,dog\n"), store.classes

    def classes(label_set):
        """Return the classes as they are, and let another process add one just afterwards."""
        before = read(label_set)
        store.define(label_set, [*before, f"new{len(before)}"])
        return before

    monkeypatch.setattr(store, "classes", classes)
    assert import_answers(store, "pets", path).new_classes == ("eel", "fox")
    assert store_labels(store, "pets", ["d", "a"], ["ant", "cat"]) == (True, ["a"])
    monkeypatch.undo()
    labels = buy_labels(store, ["a", "b", "c", "d"])
    assert [store.classes("pets")[label] for label in labels] == ["fox", "eel", "dog", "ant"]
