import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.report.run import check_result
from jaxlabel.runlog import results

RESULT = {
    "method": "medoids", "dataset": "digits", "seed": 0, "labels_spent": 64,
    "labels_by_purpose": {"train": 64}, "train_label_accuracy": 0.9, "test_accuracy": 0.95,
    "test_accuracy_interval": [0.93, 0.97], "seconds": 12.0, "device": "cpu", "versions": {},
    "commit": "abc", "config": {"budget": 64.0, "seed": 0},
}  # fmt: skip


def seeded(seed, **changes):
    config = {**RESULT["config"], "seed": seed, **changes.pop("config", {})}
    return {**RESULT, "seed": seed, "config": config, **changes}


def test_append_keeps_each_result_once(tmp_path):
    path = tmp_path / "new" / "digits.jsonl"
    for result in (RESULT, seeded(1), RESULT):
        results.append(path, result)
    assert [json.loads(line)["seed"] for line in path.read_text().splitlines()] == [0, 1]


def test_append_cuts_off_a_half_written_line(tmp_path):
    path = tmp_path / "digits.jsonl"
    results.append(path, RESULT)
    with path.open("a") as file:
        file.write('{"method": "med')
    results.append(path, seeded(1))
    assert [r["seed"] for r in results.read(path)] == [0, 1]


def test_concurrent_appends_lose_nothing(tmp_path):
    path = tmp_path / "digits.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: results.append(path, seeded(seed)), range(40)))
    assert sorted(r["seed"] for r in results.read(path)) == list(range(40))


def test_append_refuses_a_result_without_a_required_key(tmp_path):
    with pytest.raises(ValueError, match="missing: seed, commit"):
        partial = {k: v for k, v in RESULT.items() if k not in ("seed", "commit")}
        results.append(tmp_path / "a.jsonl", partial)


def test_the_table_counts_labels_that_were_bought_before_the_run(tmp_path):
    results.append(tmp_path / "a.jsonl", {**RESULT, "labels_bought_earlier": 36})
    assert "| 100 |" in results.table(tmp_path / "a.jsonl").splitlines()[2]


def test_mean_interval_by_hand():
    # 1 2 3 4 5: mean 3, deviation sqrt(2.5), t(4, .975) = 2.776445
    half = 2.776445 * np.sqrt(2.5) / np.sqrt(5)
    interval = results.mean_interval([5, 1, 2, 4, 3])
    np.testing.assert_allclose(interval, [3, 3 - half, 3 + half], rtol=1e-6)
    assert results.mean_interval([7.0]) == (7.0, None, None)


def test_table_averages_over_seeds_and_counts_a_repeated_run_once(tmp_path):
    path = tmp_path / "digits.jsonl"
    for result in (
        seeded(0, test_accuracy=0.1),
        seeded(1, test_accuracy=0.96, labels_spent=60),
        seeded(0, test_accuracy=0.94, commit="newer"),
        seeded(0, config={"budget": 32.0}, test_accuracy=None, peeked=True),
    ):
        results.append(path, result)
    lines = results.table(path).splitlines()
    # two seeds: 95 ± 12.7062 * sqrt(2) / sqrt(2), and no accuracy is above 100%
    assert lines[2:] == [
        "| digits | medoids | budget=64.0 | 62 (60 to 64) | 90.00% (90.00 to 90.00) | "
        "95.00% (82.29 to 100.00) | 2 (2 commits) | 12.0 | cpu |",
        "| digits | medoids (peeked) | budget=32.0 | 64 | 90.00% |  | 1 | 12.0 | cpu |",
    ]
    assert {line.count("|") for line in lines} == {len(results.HEADINGS) + 1}


def test_a_removed_setting_is_shown_only_if_its_value_is_not_today_s(tmp_path):
    path = tmp_path / "a.jsonl"
    for number, more in enumerate(({}, {"round_steps": 100}, {"round_steps": 50})):
        results.append(path, seeded(0, config={"steps": 300, "budget": float(number)} | more))
        shown = results.table(path)
        assert ("round_steps=50" in shown) == ("round_steps" in shown) == (number == 2)


def test_each_device_has_its_own_row(tmp_path):
    path = tmp_path / "a.jsonl"
    results.append(path, RESULT)
    results.append(path, seeded(0, device="gpu"))
    assert [line.split(" | ")[-1] for line in results.table(path).splitlines()[2:]] == [
        "cpu |", "gpu |",
    ]  # fmt: skip


def test_a_document_gets_its_table_between_the_markers(tmp_path):
    results.append(tmp_path / "r" / "a.jsonl", RESULT)
    page = "# Top\n<!-- results: r/a.jsonl -->\nold\n<!-- end of results -->\nrest\n"
    (tmp_path / "README.md").write_text(page)
    results.main([str(tmp_path / "README.md")])
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Top\n<!-- results: r/a.jsonl -->\n\n| data set |")
    assert text.endswith("|\n\n<!-- end of results -->\nrest\n") and "old" not in text
    assert results.with_tables(text, tmp_path) == text


def test_the_error_names_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match="there is no results file"):
        results.table(tmp_path / "none.jsonl")


def test_a_mean_of_fewer_runs_says_of_how_many(tmp_path):
    accuracies = [0.8, None, 0.8]
    for seed, value in enumerate(accuracies):
        results.append(tmp_path / "r.jsonl", seeded(seed, test_accuracy=value))
    row = results.table(tmp_path / "r.jsonl").splitlines()[2].split(" | ")
    assert row[4:7] == ["90.00% (90.00 to 90.00)", "80.00% (80.00 to 80.00), n=2", "3"]


@pytest.mark.parametrize(("changes", "fault"), [
    ({"labels_spent": "64"}, "has '64' as labels_spent"),
    ({"classes": None}, "has None as classes"),
    ({"config": None}, "has None as config"),
    ({"test_accuracy": "95"}, "has '95' as test_accuracy"),
])  # fmt: skip
def test_a_damaged_result_is_named(changes, fault, tmp_path):
    check_result(RESULT, tmp_path, results.KEYS)
    with pytest.raises(JaxlabelError, match=f"result.json is broken, it {fault}"):
        check_result(RESULT | changes, tmp_path, ())
    with pytest.raises(JaxlabelError, match="it lacks method"):
        check_result({}, tmp_path, results.KEYS)
