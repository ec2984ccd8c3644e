"""Spellings of class names: which are one class, and which a person must decide on."""

import re
import time

import pytest

from jaxlabel.errors import DataError
from jaxlabel.oracle import LabelStore, import_answers, names, write_questions


@pytest.fixture
def answer(tmp_path):
    """Import label texts for the items 0, 1, ... of a store, and return (store, counts)."""
    store = LabelStore("sqlite://")

    def imported(*labels, start=0, header="item,label"):
        path = tmp_path / f"{start}.csv"
        lines = [f"{start + number},{label}" for number, label in enumerate(labels)]
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return store, import_answers(store, "set", path)

    return imported


def stored(store, *items):
    store.open_account("test", "set", 99)
    labels = store.buy("test", list(map(str, items)), purpose="", round=0, asked_by="").labels
    return [store.classes("set")[label] for label in labels]


def test_a_number_is_a_name_also_beside_words(answer):
    answer("3", "7", "number_plate", "3")
    store, counts = answer("0", "1", "2", "0", start=4)
    assert counts.new_classes == ("0", "1", "2")
    expected = ["3", "7", "number_plate", "3", "0", "1", "2", "0"]
    assert stored(store, *range(8)) == expected


def test_a_grade_0_does_not_become_grade_1(answer):
    answer("1", "2", "ungradable")
    store, _ = answer("0", start=3)
    assert stored(store, 3) == ["0"]


def test_an_index_counts_only_in_its_own_column(answer):
    answer("b", "a")
    header = "item,label,class_index"
    store, counts = answer(",1", "b,", "a,0", ",nan", start=2, header=header)
    assert stored(store, 2, 3, 4) == ["b", "b", "a"] and counts.blank == 1
    for cell, message in ((",2", "'2' is none of 0 to 1"), ("a,1", "but class 1 is 'b'")):
        with pytest.raises(DataError, match=message):
            answer(cell, start=9, header=header)


@pytest.mark.parametrize("written", [
    "ka\u0308fer", "K\u00c4FER", " K\u00e4fer\u00a0", "K\u00e4\u200bfer", "\ufeffK\u00e4fer",
    "\uff2b\u00e4fer",
])  # fmt: skip
def test_what_a_person_takes_for_one_name_is_one_class(answer, written):
    answer("K\u00e4fer", "two words", "it's", "a-b")
    store, counts = answer(written, "two \u00a0 words", "it\u2019s", "a\u2011b", start=4)
    assert counts.new_classes == ()
    assert stored(store, 4, 5, 6, 7) == ["K\u00e4fer", "two words", "it's", "a-b"]
    assert ("it\u2019s", "it's") in counts.respelt  # it is said, not done in silence


def test_a_new_name_is_stored_composed_and_with_plain_spaces(answer):
    store, _ = answer("a\u0308  b\u00a0c")
    assert store.classes("set") == ("\u00e4 b c",)


@pytest.mark.parametrize("labels", [
    ("1", "01"), ("K\u00e4fer", "K\u00c3\u00a4fer"), ("K\u00c3\u00a4fer", "K\u00e4fer"),
    ("na\u00efve", "na\u221a\u00d8ve"),
])  # fmt: skip
def test_new_names_on_which_a_person_must_decide_are_refused(answer, labels):
    with pytest.raises(DataError, match=r"line [23]: .* (same number|character encoding)") as error:
        answer(*labels)
    assert "\n" not in str(error.value)


def test_new_names_in_several_spellings_are_one_class_with_the_first_of_them(answer):
    store, counts = answer("Bus", "bus", "1", "1.0", "BUS ")
    assert store.classes("set") == ("1", "Bus") and counts.new_classes == ("1", "Bus")
    assert stored(store, *range(5)) == ["Bus", "Bus", "1", "1", "Bus"]
    assert counts.respelt == (("1.0", "1"), ("BUS", "Bus"), ("bus", "Bus"))


def test_numbers_that_a_spreadsheet_changed(answer):
    answer("1", "02", "4006381333931")
    store, counts = answer("1.0", "1", start=3)
    assert stored(store, 3, 4) == ["1", "1"] and counts.respelt == (("1.0", "1"),)
    for label in ("01", "2", "2.0", "4.00638E+12"):
        with pytest.raises(DataError, match=re.escape(f"line 2: the label '{label}'")):
            answer(label, start=9)
    assert store.classes("set") == ("1", "02", "4006381333931")


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "n/a", "#N/A", "<NA>", "null", "NULL"])
def test_what_a_program_writes_into_a_blank_cell_is_blank(answer, word):
    store, counts = answer("cat", word)
    assert (counts.added, counts.blank, counts.blank_words) == (1, 1, (word,))
    assert store.classes("set") == ("cat",)


def test_a_cell_with_only_invisible_signs_is_blank(answer):
    _, counts = answer("cat", "\u200b\u00a0")
    assert (counts.added, counts.blank, counts.blank_words) == (1, 1, ())


def test_a_class_that_is_called_na_keeps_its_answers(answer):
    store, _ = answer("cat")
    store.define("set", ["cat", "NA"])
    assert answer("na", start=1)[1].added == 1


@pytest.mark.parametrize("written", [
    "K\u00c3\u00a4fer", "K\u251c\u00f1fer", "K\u221a\u00a7fer", "K\u2030fer", "K?fer", "K\ufffdfer",
    "K\u00c3\u0192\u00c2\u00a4fer",
])  # fmt: skip
def test_a_class_in_the_wrong_encoding_is_refused(answer, written):
    answer("K\u00e4fer")
    with pytest.raises(DataError, match="encoding"):
        answer(written, start=1)


def test_names_that_only_look_unusual_are_kept(answer):
    labels = ["S\u00e3o", "\u65e5\u672c", "\u00f5", "\u0151", "\u00fcber", "uber", "Mus\u00e9e",
              "Musee", "10", "100", "1.5", "-1", "none", "?", "\u043a\u043e\u0442"]  # fmt: skip
    store, counts = answer(*labels)
    assert sorted(counts.new_classes) == sorted(labels) and counts.respelt == ()
    assert stored(store, *range(len(labels))) == labels


def test_excel_sees_that_the_questions_are_utf_8(tmp_path):
    path = tmp_path / "questions.csv"
    write_questions(path, ["a"], ["K\u00e4fer.png"])
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert write_questions(path, ["b"]) == 1


def test_keys_ignore_what_nobody_sees():
    assert names.key("A\u200b B") == names.key("a  b") == "a b"
    assert names.clean("\u202ex\u202c") == "x"
    assert names.value("007,0") == "7" and names.value("1.5") is None and names.value("x") is None


def test_many_new_names_are_read_in_a_second(answer):
    start = time.process_time()
    _, counts = answer(*[f"class {number}" for number in range(3000)])
    assert counts.added == 3000 and time.process_time() - start < 20
