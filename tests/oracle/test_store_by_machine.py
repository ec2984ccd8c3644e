"""The label store against a dictionary: any sequence of calls gives what the dictionary says."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from postgres import temporary_url

from jaxlabel.errors import BudgetExceeded, LabelsMissing, StoreError
from jaxlabel.oracle import LabelStore, Oracle

ITEMS = [f"item{number}" for number in range(6)]
SETS, ACCOUNTS = ("s", "t"), ("a", "b", "c")
some_items = st.lists(st.sampled_from(ITEMS), max_size=5)
label_set, account = st.sampled_from(SETS), st.sampled_from(ACCOUNTS)


class Machine(RuleBasedStateMachine):
    """A store with two connections, used in turn, and the dictionaries that it has to equal."""

    url = ""  # set by `run`: an empty store for each sequence

    def __init__(self) -> None:
        super().__init__()
        self.places = contextlib.ExitStack()
        url = self.places.enter_context(self.fresh())
        self.stores = [LabelStore(url), LabelStore(url)]
        self.turn = 0
        self.classes: dict[str, list[str]] = {name: [] for name in SETS}
        self.labels: dict[str, dict[str, tuple[int, float]]] = {name: {} for name in SETS}
        self.accounts: dict[str, dict[str, Any]] = {}

    @staticmethod
    def fresh() -> Any:
        """Return a context that gives the URL of an empty store."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close both connections and remove the store."""
        for store in self.stores:
            store.close()
        self.places.close()

    @property
    def store(self) -> LabelStore:
        """Return the connection whose turn it is."""
        self.turn += 1
        return self.stores[self.turn % 2]

    def bought(self, name: str) -> set[str]:
        """Return the items of a label set that some account has bought."""
        found = [one["ledger"] for one in self.accounts.values() if one["set"] == name]
        return {item for ledger in found for item in ledger}

    @rule(name=label_set, classes=st.integers(0, 4), wrong=st.booleans())
    def define(self, name: str, classes: int, wrong: bool) -> None:
        """Define some classes, more than before or fewer, sometimes with another name."""
        names = [f"{name}{index}" for index in range(classes)]
        known = self.classes[name]
        if wrong and names:
            names[0] = "other"
        clashes = any(old != new for old, new in zip(known, names, strict=False))
        if clashes:
            with pytest.raises(StoreError):
                self.store.define(name, names)
        else:
            self.store.define(name, names)
            self.classes[name] = known + names[len(known) :]

    @rule(
        name=label_set,
        items=some_items,
        label=st.integers(-1, 4),
        cost=st.sampled_from([0.0, 0.5, 1.0, 2.5]),
    )
    def add(self, name: str, items: list[str], label: int, cost: float) -> None:
        """Add labels; the first one of an item stays."""
        if items and not 0 <= label < len(self.classes[name]):
            with pytest.raises(StoreError):
                self.store.add_labels(name, items, [label] * len(items), [cost] * len(items))
            return
        refused = self.store.add_labels(name, items, [label] * len(items), [cost] * len(items))
        wanted = []
        for item in items:
            kept, _ = self.labels[name].setdefault(item, (label, cost))
            wanted += [(item, kept, label)] if kept != label else []
        assert refused == wanted

    @rule(name=label_set, item=st.sampled_from(ITEMS), label=st.integers(0, 4))
    def correct(self, name: str, item: str, label: int) -> None:
        """Correct a label that nobody has bought; a class that becomes empty may go."""
        if label >= len(self.classes[name]):
            return
        known = self.labels[name].get(item)
        changes = known is not None and known[0] != label and item not in self.bought(name)
        assert self.store.correct(name, [item], [label]) == ([item] if changes else [])
        if not changes or known is None:
            return
        old, cost = known
        self.labels[name][item] = (label, cost)
        in_use = {used for used, _ in self.labels[name].values()}
        ledgers = [one["ledger"] for one in self.accounts.values() if one["set"] == name]
        paid = {answer for ledger in ledgers for answer, _ in ledger.values()}
        if old not in in_use and all(answer < old for answer in paid):
            del self.classes[name][old]
            self.labels[name] = {
                each: (used - (used > old), price)
                for each, (used, price) in self.labels[name].items()
            }

    @rule(who=account, name=label_set, budget=st.sampled_from([0.0, 1.0, 2.5, 6.0]))
    def open(self, who: str, name: str, budget: float) -> None:
        """Open an account, or raise its budget."""
        known = self.accounts.get(who)
        if known and known["set"] != name:
            with pytest.raises(StoreError):
                self.store.open_account(who, name, budget)
            return
        self.store.open_account(who, name, budget)
        if not known:
            self.accounts[who] = {"set": name, "budget": budget, "ledger": {}, "peeked": False}
        else:
            known["budget"] = max(known["budget"], budget)

    @rule(
        who=account,
        indices=st.lists(st.integers(0, len(ITEMS) - 1), max_size=5),
        noise=st.sampled_from([0.0, 1.0]),
    )
    def ask(self, who: str, indices: list[int], noise: float) -> None:
        """Ask an oracle, with noise or without; all labels are charged, or none."""
        one = self.accounts.get(who)
        if one is None:
            with pytest.raises(StoreError):
                self.store.account(who)
            return
        count, known = len(self.classes[one["set"]]), self.labels[one["set"]]
        if noise and count < 2:
            return
        oracle = Oracle(self.store, who, ITEMS, num_classes=max(1, count), noise=noise)
        items = [ITEMS[index] for index in indices]
        new = [item for item in dict.fromkeys(items) if item not in one["ledger"]]
        spent = sum(cost for _, cost in one["ledger"].values())
        price = sum(known[item][1] if item in known else 1.0 for item in new)
        if new and spent + price > one["budget"]:
            with pytest.raises(BudgetExceeded):
                oracle.ask(indices)
        elif any(item not in known for item in new):
            with pytest.raises(LabelsMissing) as missing:
                oracle.ask(indices)
            assert missing.value.items == [item for item in new if item not in known]
        else:
            answers = dict(zip(items, oracle.ask(indices).tolist(), strict=True))
            for item in new:
                if noise:
                    assert 0 <= answers[item] < count and answers[item] != known[item][0]
                else:
                    assert answers[item] == known[item][0]
                one["ledger"][item] = (answers[item], known[item][1])
            assert all(answers[item] == one["ledger"][item][0] for item in items)

    @rule(who=account)
    def peek(self, who: str) -> None:
        """Mark an account as one that has peeked."""
        if who in self.accounts:
            self.store.mark_peeked(who)
            self.accounts[who]["peeked"] = True

    @invariant()
    def equal(self) -> None:
        """Compare all that the store says with the dictionaries."""
        store = self.store
        for name in SETS:
            assert list(store.classes(name)) == self.classes[name]
            prices = [self.labels[name].get(item, (0, 1.0))[1] for item in ITEMS]
            assert store.costs(name, ITEMS).tolist() == prices
            assert store.all_costs(name, ITEMS).tolist() == prices
            assert set(store.bought(name, ITEMS)) == self.bought(name)
            assert store.num_labelled(name, ITEMS) == len(self.labels[name])
        assert {one.name for one in store.accounts()} == set(self.accounts)
        for who, one in self.accounts.items():
            found = store.account(who)
            ledger = {row.item: (row.label, row.cost) for row in store.ledger(who)}
            assert ledger == one["ledger"]
            assert found.spent == sum(cost for _, cost in ledger.values()) <= found.budget
            assert (found.budget, found.peeked) == (one["budget"], one["peeked"])


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_any_sequence_of_calls_gives_what_a_dictionary_gives(database, tmp_path):
    count = iter(range(10**9))

    @contextlib.contextmanager
    def fresh() -> Iterator[str]:
        if database == "postgresql":
            with temporary_url() as url:
                yield url
        else:
            path = tmp_path / f"{next(count)}.db"
            yield f"sqlite:///{path}"
            for file in tmp_path.glob(f"{path.name}*"):
                file.unlink()

    if database == "postgresql":
        with temporary_url():  # skips without a server
            pass
    machine = type("Machine", (Machine,), {"fresh": staticmethod(fresh)})
    profile = settings()
    quick = settings(profile, max_examples=min(profile.max_examples, 3000), stateful_step_count=20)
    if profile.max_examples < 1000:
        count_of = {"sqlite": 6, "postgresql": 2}[database]
        quick = settings(quick, max_examples=count_of, stateful_step_count=15)
    run_state_machine_as_test(machine, settings=quick)
