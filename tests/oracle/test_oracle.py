"""Tests of the oracle: the labels that it returns, and what it charges."""

import subprocess
import sys

import numpy as np
import pytest
import sqlalchemy as sa

from jaxlabel.errors import BudgetExceeded, LabelsMissing, StoreError, UsageError
from jaxlabel.oracle import LabelStore, Oracle, schema

NUM_ITEMS, NUM_CLASSES = 200, 10
ITEMS = [f"item{i}" for i in range(NUM_ITEMS)]
LABELS = np.random.default_rng(0).integers(0, NUM_CLASSES, NUM_ITEMS)


def make_store(url="sqlite://", budget=20.0, items=ITEMS, labels=LABELS):
    store = LabelStore(url)
    store.define("set", "abcdefghij")
    store.add_labels("set", items, labels)
    store.open_account("run", "set", budget)
    return store


def make_oracle(store, items=ITEMS, **settings):
    return Oracle(store, "run", items, num_classes=NUM_CLASSES, **settings)


def test_ask_reveals_labels_in_the_order_of_the_indices():
    store = make_store()
    oracle = make_oracle(store, asked_by="ann")
    indices = np.array([5, 199, 5, 0])
    labels = oracle.ask(indices, purpose="medoids", round=2)
    assert labels.dtype == np.int32 and labels.tolist() == LABELS[indices].tolist()
    assert (oracle.spent, oracle.remaining) == (3, 17)
    assert [(r.item, r.purpose, r.round, r.asked_by) for r in store.ledger("run")] == [
        (f"item{i}", "medoids", 2, "ann") for i in (5, 199, 0)
    ]
    assert oracle.ask([]).tolist() == [] and oracle.ask([0, 5]).tolist() == LABELS[[0, 5]].tolist()
    assert oracle.spent == store.spent("run") == 3


def test_asked_by_is_user_and_machine_by_default():
    store = make_store()
    make_oracle(store).ask([1])
    user, _, machine = store.ledger("run")[0].asked_by.partition("@")
    assert user and machine


def test_beyond_the_budget_nothing_is_charged_and_nothing_counted():
    store = make_store()
    oracle = make_oracle(store)
    oracle.ask(range(15))
    with pytest.raises(BudgetExceeded):
        oracle.ask(range(10, 21))
    assert (oracle.spent, oracle.remaining, store.spent("run")) == (15, 5, 15)
    oracle.ask(range(10, 20))
    assert oracle.remaining == 0


def test_a_run_stays_within_its_budget_after_another_run_has_raised_that_of_its_account():
    store = make_store(budget=10)
    make_oracle(store, budget=10).ask(range(5))
    store.open_account("run", "set", 50)  # by another run
    again = make_oracle(store, budget=10)
    again.ask(range(5))
    assert (again.budget, again.spent, again.remaining) == (10, 5, 5)
    with pytest.raises(BudgetExceeded, match="only 5 left of the run's budget of 10"):
        again.ask(range(11))
    make_oracle(store, budget=50).ask(range(10, 40))
    with pytest.raises(BudgetExceeded, match=r"only 0 left of the run's .* another run has bought"):
        again.ask([5])
    assert again.ask([10]).tolist() == [LABELS[10]]  # the account has it
    assert (store.spent("run"), store.budget("run")) == (35, 50)
    unlimited = make_oracle(store)
    store.open_account("run", "set", 60)
    assert unlimited.budget == 50 and len(unlimited.ask(range(40, 60))) == 20


def test_missing_labels_are_not_counted():
    oracle = make_oracle(make_store(items=ITEMS[:100], labels=LABELS[:100]))
    with pytest.raises(LabelsMissing) as error:
        oracle.ask([1, 100, 101])
    assert error.value.items == ["item100", "item101"] and oracle.spent == 0


def test_errors_after_an_answer_say_as_much_as_before():
    store = make_store(budget=6, items=ITEMS[:5], labels=LABELS[:5])
    answered = []

    def answer_missing(items):
        answered.extend(items)
        if items != [ITEMS[9]]:  # nobody answers about this one
            store.add_labels("set", items, [3] * len(items))
            make_oracle(store).ask(range(5))  # another run spends the budget in the meantime

    oracle = make_oracle(store, answer_missing=answer_missing)
    assert make_oracle(store).recorded and not oracle.recorded
    with pytest.raises(LabelsMissing) as error:
        oracle.ask([9], purpose="certify")
    assert error.value.purpose == "certify"
    with pytest.raises(BudgetExceeded, match="another run has bought labels from this account"):
        oracle.ask([5, 6])
    assert answered == [ITEMS[9], *ITEMS[5:7]]


def test_reordered_images_are_not_paid_for_again(tmp_path):
    url = f"sqlite:///{tmp_path}/labels.db"
    make_oracle(make_store(url)).ask(range(20))
    order = np.random.default_rng(1).permutation(NUM_ITEMS)
    store = LabelStore(url)
    oracle = make_oracle(store, [ITEMS[i] for i in order])
    indices = np.flatnonzero(order < 20)
    assert oracle.ask(indices).tolist() == LABELS[order[indices]].tolist()
    assert store.spent("run") == 20 == len(store.ledger("run"))


def test_copies_of_an_image_are_one_item():
    store = make_store()
    oracle = make_oracle(store, [*ITEMS, "item7"])
    assert len(set(oracle.ask([7, NUM_ITEMS]).tolist())) == 1
    assert oracle.spent == store.spent("run") == 1
    assert oracle.first_copies([7, 3, NUM_ITEMS, 3]).tolist() == [0, 1, 0, 1]
    assert oracle.cost([7, NUM_ITEMS, 3]).tolist() == [0, 0, 1]


def test_a_repeated_run_gets_the_same_answers_as_the_killed_run(tmp_path):
    url = f"sqlite:///{tmp_path}/labels.db"

    def history(oracle, num_rounds):
        seen = []
        for number in range(num_rounds):
            seen.append((oracle.spent, oracle.remaining))
            seen.append(oracle.ask(range(number, 3 * number + 2), round=number).tolist())
        return seen

    first = history(make_oracle(make_store(url, 100)), 6)
    spent = LabelStore(url).spent("run")
    again = make_oracle(make_store(url, 100))
    assert history(again, 6) == first
    assert again.spent == LabelStore(url).spent("run") == spent == 17


def test_prices_are_read_once_but_purchases_use_current_prices():
    store = make_store(budget=9, items=ITEMS[:1], labels=LABELS[:1])
    oracle = make_oracle(store)
    assert oracle.prices[1] == 1.0
    store.add_labels("set", ITEMS[1:2], LABELS[1:2], costs=[3])
    assert oracle.prices[1] == 1.0 and oracle.cost([1]).tolist() == [3.0]
    oracle.ask([1])
    assert oracle.spent == 3.0


def test_cost_is_free_to_read_and_fractions_add_up():
    store = make_store(budget=0.6, items=ITEMS[:2], labels=LABELS[:2])
    store.add_labels("set", ITEMS[2:], LABELS[2:], costs=[0.1] * 198)
    oracle = make_oracle(store)
    assert oracle.cost([0, 2, 2]).tolist() == [1.0, 0.1, 0.1] and oracle.spent == 0
    assert oracle.prices.tolist() == [1.0, 1.0] + [0.1] * 198 and oracle.spent == 0
    oracle.ask([2, 3, 4])
    assert (oracle.spent, oracle.remaining) == (0.3, 0.3)
    oracle.ask([5, 6, 7])
    assert (oracle.spent, oracle.remaining) == (0.6, 0.0)
    with pytest.raises(BudgetExceeded):
        oracle.ask([8])


def test_noise_has_its_rate_spares_no_class_and_is_kept():
    items = [f"image{i}" for i in range(6_000)]
    store = make_store(budget=1e9, items=items, labels=[3] * 6_000)
    answers = make_oracle(store, items, noise=0.3, seed=1).ask(range(6_000))
    counts = np.bincount(answers, minlength=NUM_CLASSES)
    assert abs(counts[3] / 6_000 - 0.7) < 4 * np.sqrt(0.3 * 0.7 / 6_000)
    expected = 6_000 * 0.3 / 9
    others = np.delete(counts, 3)
    assert np.sum((others - expected) ** 2 / expected) < 26.1  # chi-squared, 8 d.f., p = .001
    again = make_oracle(store, items, noise=0.9, seed=5).ask(range(6_000))
    assert (again == answers).all()  # the ledger keeps the answers


def test_noise_depends_on_the_seed_and_the_item_alone():
    def answers(seed, items, order):
        oracle = make_oracle(make_store(budget=1e9), items, noise=0.5, seed=seed)
        return dict(zip(np.array(items)[order], oracle.ask(order).tolist(), strict=True))

    forward, backward = np.arange(NUM_ITEMS), np.arange(NUM_ITEMS)[::-1]
    first = answers(0, ITEMS, forward)
    assert first == answers(0, ITEMS, backward) == answers(0, ITEMS[::-1], forward)
    assert first != answers(1, ITEMS, forward)


def test_noise_of_one_changes_every_label():
    noisy = make_oracle(make_store(budget=1e9), noise=1.0).ask(range(NUM_ITEMS))
    assert (noisy != LABELS).all() and noisy.min() >= 0 and noisy.max() < NUM_CLASSES
    with pytest.raises(UsageError, match="noise needs at least two classes"):
        Oracle(make_store(), "run", ITEMS, num_classes=1, noise=0.1)


def test_labels_that_were_not_asked_for_make_no_difference():
    store, scrambled = make_store(), make_store()
    asked = np.arange(0, 40, 2)
    hidden = [item for i, item in enumerate(ITEMS) if i not in asked]
    with scrambled.engine.begin() as connection:
        wrong = sa.update(schema.labels).where(schema.labels.c.item.in_(hidden))
        connection.execute(wrong.values(label=(schema.labels.c.label + 1) % NUM_CLASSES))
    for each in (store, scrambled):
        oracle = make_oracle(each)
        assert oracle.ask(asked).tolist() == LABELS[asked].tolist()
        assert oracle.remaining == 0


def test_peeking_is_refused_unless_allowed_and_then_recorded():
    store = make_store()
    guess = LABELS.copy()
    guess[:50] = (guess[:50] + 1) % NUM_CLASSES
    with pytest.raises(UsageError, match="only a run with stop=peek"):
        make_oracle(store).peek_accuracy(guess)
    assert not store.account("run").peeked
    oracle = make_oracle(store, allow_peek=True)
    assert not store.account("run").peeked
    assert oracle.peek_accuracy(guess) == 0.75
    assert store.account("run").peeked and oracle.spent == store.spent("run") == 0
    store.open_account("run", "set", 30)
    assert store.account("run").peeked
    with pytest.raises(ValueError, match="shape"):
        oracle.peek_accuracy(guess[:-1])
    with pytest.raises(LabelsMissing, match="all the labels"):
        make_oracle(store, [*ITEMS[:-1], "new"], allow_peek=True).peek_accuracy(guess)


def test_a_class_that_the_run_does_not_know_is_refused_before_it_is_paid_for():
    store = make_store()
    oracle = Oracle(store, "run", ITEMS, num_classes=int(LABELS.max()))
    with pytest.raises(StoreError, match="has class 9 of set, but this run began with 9 classes"):
        oracle.ask([int(LABELS.argmax())])
    assert store.spent("run") == 0


@pytest.mark.parametrize("indices", [[-1], [NUM_ITEMS]])
def test_indices_outside_are_refused(indices):
    with pytest.raises(IndexError, match="from 0 to 199"):
        make_oracle(make_store()).ask(indices)


@pytest.mark.parametrize("indices", [[0.5], np.ones(NUM_ITEMS, bool), [[0, 1]], 3])
def test_masks_and_floats_are_refused_as_indices(indices):
    with pytest.raises(TypeError, match="list of integers"):
        make_oracle(make_store()).ask(indices)


def test_an_account_must_be_open():
    with pytest.raises(StoreError, match="no account is called 'mine'"):
        Oracle(make_store(), "mine", ITEMS, num_classes=2)


def test_the_oracle_is_imported_without_jax_and_without_the_database():
    code = (
        "import sys, jaxlabel.oracle as oracle\n"
        "assert not {'jax', 'flax', 'sqlalchemy'} & set(sys.modules)\n"
        "oracle.LabelStore('sqlite://').define('set', 'ab')\n"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_labels_bought_before_the_run_are_free_and_no_part_of_its_budget():
    store = make_store(budget=9)
    make_oracle(store).ask(range(4))
    store.open_account("run", "set", 12)

    def begin():
        oracle = make_oracle(store)
        assert oracle.prices[0] == 1
        oracle.start_after(4)
        return oracle

    oracle = begin()
    assert (oracle.spent, oracle.remaining) == (0, 8)
    assert oracle.cost([3, 4]).tolist() == oracle.prices[3:5].tolist() == [0, 1]
    states = []
    for indices in ([2, 3, 50], [51, 52]):
        oracle.ask(indices)
        states.append((oracle.spent, oracle.remaining, oracle.num_bought, oracle.num_free))
    assert states == [(1, 7, 3, 2), (3, 5, 5, 2)]
    again = begin()  # the run was killed and is started again
    again.ask([2, 3, 50])
    assert (again.spent, again.remaining, again.num_bought, again.num_free) == states[0]

    make_oracle(store).ask(range(100, 103))  # another run at the same time
    with pytest.raises(BudgetExceeded) as error:
        oracle.ask(range(60, 65))
    assert str(error.value) == (
        "5 new labels cost 5, but account run has only 2 left of its budget of 12, so nothing was "
        "bought. Either another run has bought labels from this account since this run began, or "
        "this run chose other images before it was started again. Start a run in another workdir "
        "with this account and a larger budget: all labels bought so far are free for it"
    )
    with pytest.raises(BudgetExceeded) as error:
        make_oracle(make_store()).ask(range(21))
    assert "another run" not in str(error.value)
    assert store.spent("run") == 10
