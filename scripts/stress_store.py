"""Ask a label store from many processes that are killed, and count what went wrong.

    python scripts/stress_store.py --asks=100000 --processes=8 --kills=100
    python scripts/stress_store.py --asks=20000 --processes=64 --kills=10 --restarts=2 --store=URL
    python scripts/stress_store.py --asks=10000 --kills=0 --budget=inf     # how fast is a store?
    python scripts/stress_store.py --full_disk=16      # as root: a tmpfs of 16 MB fills up

Each process asks for labels, one to five at a time, until it has asked for its share. At random
moments a process is killed and another takes its place. With --restarts, the throw-away PostgreSQL
server of .ci/postgres.sh is stopped at once and started again in between. At the end the ledger is
compared with the notes of every process: an answer that a process was given must be in the ledger
(else it is lost), once (else it is doubled), and the account must not be overspent.
"""

import argparse
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

NUM_CLASSES = 10
NUM_ACCOUNTS = 4


def worker(url: str, seed: int, asks: int, items: int, note: str, stop: Any) -> None:
    """Ask for labels until `asks` items were asked for, and write each answer to a file."""
    from jaxlabel.errors import BudgetExceeded, StoreError
    from jaxlabel.oracle import LabelStore

    draw = random.Random(seed)
    store = None
    with Path(note).open("a", buffering=1) as file:
        done = calls = 0
        while done < asks and not stop.value:
            account = f"account{draw.randrange(NUM_ACCOUNTS)}"
            wanted = [f"item{draw.randrange(items)}" for _ in range(draw.randint(1, 5))]
            try:
                store = store or LabelStore(url)
                bought = store.buy(account, wanted, purpose="stress", round=seed, asked_by=note)
            except BudgetExceeded:
                answers: list[tuple[str, int]] = []
            except StoreError as error:  # the server restarts, or the disk is full
                file.write(f"! {error}\n")
                store, answers = None, []
                time.sleep(0.05)
                continue
            else:
                answers = list(zip(wanted, bought.labels.tolist(), strict=True))
            done, calls = done + len(wanted), calls + 1
            file.writelines(f"{account} {item} {label}\n" for item, label in answers)
        file.write(f"# {done} {calls} {time.process_time()}\n")


def prepare(url: str, items: int, budget: float) -> Any:
    """Fill a store with labels and accounts, and return it."""
    from jaxlabel.oracle import LabelStore

    store = LabelStore(url)
    store.define("set", [f"class{label}" for label in range(NUM_CLASSES)])
    names = [f"item{number}" for number in range(items)]
    store.add_labels("set", names, [number * 7 % NUM_CLASSES for number in range(items)])
    for number in range(NUM_ACCOUNTS):
        store.open_account(f"account{number}", "set", budget)
    return store


def stress(given: argparse.Namespace, url: str, notes: Path) -> dict[str, int]:
    """Run the processes and kill some of them; return the numbers of kills and of restarts."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jaxlabel.oracle.store"])
    # No lock: a killed process could take it along.
    stop, draw = context.Value("b", 0, lock=False), random.Random(given.seed)
    share, started, kills, restarts = given.asks // given.processes, 0, 0, 0

    def start() -> Any:
        nonlocal started
        started += 1
        note = str(notes / f"{started}.txt")
        arguments = (url, given.seed + started, share, given.items, note, stop)
        process = context.Process(target=worker, args=arguments, daemon=True)
        process.start()
        return process

    processes = [start() for _ in range(given.processes)]
    deadline = time.monotonic() + 60 * given.minutes
    while any(process.is_alive() for process in processes):
        time.sleep(draw.uniform(0.02, 2 * given.pause))
        if time.monotonic() > deadline:
            stop.value = 1
            deadline = float("inf")
        victims = [index for index, process in enumerate(processes) if process.is_alive()]
        if victims and kills < given.kills and not stop.value:
            victim = draw.choice(victims)
            processes[victim].kill()
            processes[victim].join()
            kills += 1
            processes[victim] = start()
        due = (restarts + 1) * given.kills / (given.restarts + 1)
        if restarts < given.restarts and kills >= due:
            restart_server()
            restarts += 1
    return {"kills": kills, "server restarts": restarts}


def restart_server() -> None:
    """Stop the throw-away PostgreSQL server at once, and start it again."""
    data = subprocess.run(
        ["sh", "-c", "ls -d ${JAXLABEL_POSTGRES_DIR:-/tmp/jaxlabel-postgres-$(id -u)}/data"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    pid = Path(data, "postmaster.pid").read_text().split()[0]
    subprocess.run(["kill", "-QUIT", pid], check=True)  # an immediate stop, as of a lost machine
    time.sleep(1)
    subprocess.run([".ci/postgres.sh"], capture_output=True, check=True)


def judge(store: Any, notes: Path, budget: float) -> dict[str, int]:
    """Count asks, ledger rows, and everything that must not happen."""
    found = Counter[str]()
    rows = {}
    for number in range(NUM_ACCOUNTS):
        account = store.account(f"account{number}")
        ledger = store.ledger(account.name)
        found["rows"] += len(ledger)
        found["spent"] += int(account.spent)
        found["overspent"] += account.spent > budget
        found["spent differs from the ledger"] += account.spent != sum(row.cost for row in ledger)
        found["doubled"] += len(ledger) - len({row.item for row in ledger})
        for row in ledger:
            rows[account.name, row.item] = row.label
            found["wrong"] += row.label != int(row.item[4:]) * 7 % NUM_CLASSES
    for note in notes.glob("*.txt"):
        for line in note.read_text().splitlines():
            if line.startswith("!"):
                found["refused asks"] += 1
                found[f"refused: {line[2:].partition(': ')[2][:90]}"] += 1
            elif line.startswith("#"):
                done, calls, seconds = line[2:].split()
                found["asks by processes that ended"] += int(done)
                found["calls by processes that ended"] += int(calls)
                found["milliseconds of processor time"] += round(1000 * float(seconds))
            elif len(parts := line.split()) == 3:  # a kill may cut a line
                found["answers noted"] += 1
                known = rows.get((parts[0], parts[1]))
                found["lost"] += known is None
                found["told otherwise"] += known is not None and str(known) != parts[2]
    return dict(found)


def full_disk(megabytes: int) -> None:
    """Fill a small tmpfs with a label store, and see that what was bought is kept."""
    from jaxlabel.errors import StoreError

    with tempfile.TemporaryDirectory() as place:
        size = f"size={megabytes}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", place], check=True)
        try:
            items, batch = 10**6, 200
            store, bought, reason = prepare(f"sqlite:///{place}/labels.db", 1, 10**9), 0, ""
            while not reason and bought < items:
                names = [f"item{number}" for number in range(bought, bought + batch)]
                try:
                    store.add_labels("set", names, [int(n[4:]) * 7 % NUM_CLASSES for n in names])
                    store.buy("account0", names, purpose="fill", round=0, asked_by="fill")
                    bought += batch
                except StoreError as error:
                    reason = str(error)
            print(f"full disk: {reason.replace(place, 'PLACE')}")
            counts = judge(store, Path(place), 10**9)
            print(f"full disk: bought {bought}, rows {counts['rows']}, spent {counts['spent']}, "
                  f"doubled {counts['doubled']}, lost {bought - counts['rows']}")  # fmt: skip
            store.close()
        finally:
            subprocess.run(["umount", place], check=True)


def main() -> None:
    """Read the flags, run, and print the counts; the exit code is 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="", help="the store's URL; empty: a new SQLite file")
    parser.add_argument("--asks", type=int, default=100_000, help="labels asked for in all")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--budget", type=float, default=4_000.0, help="of each of four accounts")
    parser.add_argument("--pause", type=float, default=0.3, help="mean seconds between two kills")
    parser.add_argument("--minutes", type=float, default=30.0, help="stop asking after so long")
    parser.add_argument("--restarts", type=int, default=0, help="of .ci/postgres.sh's server")
    parser.add_argument("--full_disk", type=int, default=0, help="megabytes of a tmpfs to fill")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.full_disk:
        full_disk(given.full_disk)
        return
    with tempfile.TemporaryDirectory() as place:
        url = given.store or f"sqlite:///{place}/labels.db"
        store, notes = prepare(url, given.items, given.budget), Path(place) / "notes"
        notes.mkdir()
        start = time.monotonic()
        counts: dict[str, float] = {**stress(given, url, notes)}
        seconds = time.monotonic() - start
        counts |= judge(store, notes, given.budget)
        counts["seconds"] = round(seconds, 1)
        for name in ("asks", "calls"):
            done = counts[f"{name} by processes that ended"]
            counts[f"{name} per second"] = round(done / seconds, 1)
        store.close()
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    print(f"{store.engine.dialect.name}, {given.processes} processes, budget {given.budget:g} in "
          f"each of {NUM_ACCOUNTS} accounts: {shown}")  # fmt: skip
    faults = ("overspent", "doubled", "lost", "wrong", "told otherwise",
              "spent differs from the ledger")  # fmt: skip
    sys.exit(any(counts.get(name) for name in faults))


if __name__ == "__main__":
    main()
