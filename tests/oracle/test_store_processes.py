"""Tests that the budget is never exceeded by concurrent processes, half of which are killed."""

import multiprocessing
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path

import pytest

from jaxlabel.errors import BudgetExceeded

NUM_ITEMS, BUDGET, NUM_PROCESSES, NUM_KILLED = 600, 150, 8, 4
ITEMS = [f"item{i}" for i in range(NUM_ITEMS)]
LABELS = [i * 7 % 10 for i in range(NUM_ITEMS)]
CONTEXT = multiprocessing.get_context("forkserver")


def buy_repeatedly(url: str, seed: int, answers: Path, start, front) -> None:
    """Buy items that other processes also buy at this moment, and write each answer to a file."""
    from jaxlabel.oracle import LabelStore

    draw, store = random.Random(seed), LabelStore(url)
    with answers.open("a", buffering=1) as file:
        start.wait()
        while True:
            wanted_by_all = ITEMS[front.value : front.value + 6]
            items = [*draw.sample(wanted_by_all, draw.randint(0, 3)), draw.choice(ITEMS)]
            try:
                bought = store.buy(
                    "run", items, purpose="train", round=seed, asked_by=f"process {seed}"
                )
            except BudgetExceeded:
                if len(items) == 1:  # the budget is spent completely
                    return
                continue
            front.value = min(front.value + len(items) - 1, NUM_ITEMS - 6)
            for item, label in zip(items, bought.labels, strict=True):
                file.write(f"{item} {label}\n")


def test_eight_processes_of_which_four_are_killed_never_overspend(store_url, tmp_path):
    from jaxlabel.oracle import LabelStore

    store = LabelStore(store_url)
    store.define("set", "abcdefghij")
    store.add_labels("set", ITEMS, LABELS)
    store.open_account("run", "set", BUDGET)
    CONTEXT.set_forkserver_preload(["jaxlabel.oracle.store"])
    start, front = (
        CONTEXT.Event(),
        CONTEXT.Value("i", 0, lock=False),
    )  # without a lock, because a process may be killed while it holds the lock
    notes = [tmp_path / f"answers{i}" for i in range(NUM_PROCESSES)]
    processes = [
        CONTEXT.Process(
            target=buy_repeatedly, args=(store_url, i, notes[i], start, front), daemon=True
        )
        for i in range(NUM_PROCESSES)
    ]
    for process in processes:
        process.start()
    while not all(note.exists() for note in notes):
        assert all(process.is_alive() for process in processes)
        time.sleep(0.01)
    start.set()
    for victim, quarter in zip(processes[:NUM_KILLED], (0.1, 0.25, 0.4, 0.6), strict=True):
        while store.spent("run") < BUDGET * quarter:  # wait until the processes are at work
            assert victim.is_alive()
            time.sleep(0.01)
        time.sleep(random.random() / 50)
        assert victim.is_alive()
        victim.kill()
    for process in processes:
        process.join(30)
    codes = [process.exitcode for process in processes]
    assert codes == [-9] * NUM_KILLED + [0] * (NUM_PROCESSES - NUM_KILLED)

    rows = store.ledger("run")
    assert store.spent("run") == sum(row.cost for row in rows) == BUDGET == len(rows)
    assert max(Counter(row.item for row in rows).values()) == 1
    truth = dict(zip(ITEMS, LABELS, strict=True))
    assert all(row.label == truth[row.item] for row in rows)
    answers_given = {
        tuple(line.split()) for note in notes for line in note.read_text().splitlines()
    }
    assert answers_given <= {(row.item, str(row.label)) for row in rows}
    assert len({row.asked_by for row in rows}) > 1


def open_and_buy(url: str, start, opened) -> None:
    """Create the store's tables and buy one label, at the same moment as other processes."""
    from jaxlabel.oracle import LabelStore

    opened.release()
    start.wait()
    store = LabelStore(url)
    store.define("set", "ab")
    store.add_labels("set", ["x", "y"], [0, 1])
    store.open_account("run", "set", 1)
    store.buy("run", ["x"], purpose="train", round=0, asked_by="test")


def test_processes_may_make_a_new_store_at_the_same_moment(store_url):
    from jaxlabel.oracle import LabelStore

    CONTEXT.set_forkserver_preload(["jaxlabel.oracle.store"])
    start, opened = CONTEXT.Event(), CONTEXT.Semaphore(0)
    processes = [
        CONTEXT.Process(target=open_and_buy, args=(store_url, start, opened), daemon=True)
        for _ in range(6)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        opened.acquire(timeout=30)
    start.set()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 6
    store = LabelStore(store_url)
    assert store.num_labelled("set", ["x", "y"]) == 2
    assert [row.item for row in store.ledger("run")] == ["x"] and store.spent("run") == 1


def test_an_answer_is_not_changed_while_it_is_bought(store_url):
    """The person's change waits, on SQLite because any write locks the whole database."""
    from jaxlabel.oracle import LabelStore, votes

    store, page = LabelStore(store_url), LabelStore(store_url)
    votes.vote(page, "pets", ["x"], "ann", "cat")
    votes.vote(page, "pets", ["y"], "ann", "dog")
    store.open_account("run", "pets", 5)
    pending = []

    def reveal(item, label):  # the label has been read, and the purchase is not committed yet
        pending.append(pool.submit(votes.withdraw, page, "pets", "ann", item=item))
        wait_for(pending, timeout=0.5)
        assert not pending[0].done()
        return label

    reason = {"purpose": "train", "round": 0, "asked_by": ""}
    with ThreadPoolExecutor(1) as pool:
        store.buy("run", ["y"], **reason, reveal=reveal)
        with pytest.raises(votes.Locked):
            pending[0].result()
    assert votes.known_labels(store, "pets", ["y"]) == {"y": "dog"}
    votes.vote(page, "pets", ["z"], "ann", "horse")
    assert [row.class_name for row in store.ledger("run")] == ["dog"]
