"""Answers of several clients survive kills of the page's process: none lost, doubled, overspent."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2 as httpx
import numpy as np
from PIL import Image

from jaxlabel.oracle import LabelStore, votes

CLIENTS = int(os.environ.get("JAXLABEL_TEST_CLIENTS", "3"))
ANSWERS = int(os.environ.get("JAXLABEL_TEST_ANSWERS", "40"))  # of all clients together
KILLS = int(os.environ.get("JAXLABEL_TEST_KILLS", "1"))


class Server:
    """The page's process on one port; its first batch is all pictures but one."""

    def __init__(self, folder: Path, workdir: Path):
        self.words = ["label", f"--data={folder}", f"--workdir={workdir}", "--no_browser",
                      f"--budget={ANSWERS}", f"--config.initial_labels={ANSWERS}",
                      "--config.preset=tiny", "--config.image_size=8"]  # fmt: skip
        self.port, self.token = 0, ""

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jaxlabel", *self.words, f"--port={self.port}"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in self.process.stdout:
            if found := re.search(r"http://127.0.0.1:(\d+)/\?token=(\S+)", line):
                self.port, self.token = int(found[1]), found[2]
                return
        raise AssertionError("the page has not started")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        self.process.stdout.close()


def work(server: Server, name: str, said: dict[str, str], over: threading.Event) -> None:
    """Answer until nothing is asked, and note what the page has confirmed."""
    url = f"http://127.0.0.1:{server.port}"
    with httpx.Client(base_url=url, headers={"origin": url}, timeout=20) as client:
        while not over.is_set():
            try:
                client.get(f"/?token={server.token}")
                state = client.get(f"/api/state?as={name}").json()
                for question in state["questions"][:3]:
                    body = {"items": [question["item"]], "class_name": f"kind {len(said) % 3}"}
                    answer = client.post(f"/api/answer?as={name}", json=body | {"sure": True})
                    if answer.status_code == 200:
                        said[question["item"]] = body["class_name"]
                if not state["questions"]:
                    time.sleep(0.1)
            except (httpx.TransportError, ValueError):
                time.sleep(0.1)  # the page is being started again


def stored_votes(place: Path) -> list[votes.Vote]:
    with LabelStore(f"sqlite:///{place / 'run' / 'labels.db'}") as store:
        return votes.all_votes(store, store.accounts()[0].label_set)


def test_kills_lose_and_double_nothing(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(ANSWERS + 1):
        pixels = random.integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    server = Server(tmp_path / "pictures", tmp_path / "run")
    server.start()
    over, said = threading.Event(), [dict[str, str]() for _ in range(CLIENTS)]
    threads = [
        threading.Thread(target=work, args=(server, f"p{n}", said[n], over))
        for n in range(CLIENTS)
    ]  # fmt: skip
    try:
        for thread in threads:
            thread.start()
        for kill in range(1, KILLS + 1):
            while sum(map(len, said)) < kill * ANSWERS // (KILLS + 1):
                time.sleep(0.01)
            server.kill()
            server.start()
        # An answer may be stored although a kill swallowed its confirmation: the store decides.
        end = time.monotonic() + 120
        while len(stored_votes(tmp_path)) < ANSWERS and time.monotonic() < end:
            time.sleep(0.2)
    finally:
        over.set()
        for thread in threads:
            thread.join()
        server.kill()
    store = LabelStore(f"sqlite:///{tmp_path / 'run' / 'labels.db'}")
    account = store.accounts()[0]
    found = stored_votes(tmp_path)
    stored = {(vote.person, vote.item): vote.class_name for vote in found}
    confirmed = {(f"p{n}", item): name for n in range(CLIENTS) for item, name in said[n].items()}
    assert confirmed.items() <= stored.items()  # nothing lost
    assert len({vote.item for vote in found}) == ANSWERS == len(found)  # nobody asked twice
    assert account.spent == len(store.ledger(account.name)) <= ANSWERS
