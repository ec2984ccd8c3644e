"""The labelling page in a browser, for tests: its process, and what a person does in a tab."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import uvicorn

from jaxlabel.label.desk import Desk
from jaxlabel.label.guard import Guard, Keys
from jaxlabel.label.project import begin
from jaxlabel.label.server import make_app
from jaxlabel.label.trainer import Trainer
from jaxlabel.methods import active

KEYS = "1234567890"
FLAGS = ("--no_browser", "--config.preset=tiny", "--config.image_size=8", "--budget=34",
         "--config.initial_labels=14", "--target=0.15",
         "--config.confidence=0.5", "--config.steps=8", "--config.refinements=0")  # fmt: skip
LEFT = "item => document.querySelector('#picture').dataset.item !== item"


class Page:
    """The page's process on one port, which can be killed and started again."""

    def __init__(self, folder: Path, workdir: Path):
        self._folder, self.workdir, self._port, self.url = folder, workdir, 0, ""

    def start(self):
        words = ["label", f"--data={self._folder}", f"--workdir={self.workdir}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jaxlabel", *words, f"--port={self._port}", *FLAGS],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in self.process.stdout:
            if found := re.search(r"http://127.0.0.1:(\d+)/\?token=\S+", line):
                self.url, self._port = found[0], int(found[1])
                return
        raise AssertionError("the page has not started")

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(20)
        self.process.stdout.close()


def truth(tab):
    table = tab.evaluate("fetch('/export/labels.csv').then((found) => found.text())")
    rows = [line.split(",") for line in table.splitlines()[1:]]
    return {item: f"kind {file[-5]}" for file, item, *_ in rows}


def shown(tab, timeout=60_000):
    tab.wait_for_selector("#picture[data-item]", timeout=timeout)
    return tab.get_attribute("#picture", "data-item")


def classes(tab):
    return tab.eval_on_selector_all("#classes button", "all => all.map((b) => b.dataset.name)")


def label(tab, name):
    before = shown(tab)
    if name in classes(tab):
        tab.keyboard.press(KEYS[classes(tab).index(name)])
    else:
        tab.keyboard.press("n")
        tab.fill("#new-name", name)
        tab.keyboard.press("Enter")
    tab.wait_for_function(LEFT, arg=before)
    return before


def labels(tab):
    """The number of labels that the store holds."""
    found = tab.evaluate("fetch('/api/state').then((found) => found.json())")
    return found["status"]["labels"]


@contextlib.contextmanager
def served(folder, workdir, rule, password="", **more):
    """Serve the page from this process, without training; give its address and its desk.

    `more` are further settings, or others in place of those given here.
    """
    settings = {"data": f"folder:{folder}", "image_size": 8, "budget": 20, "initial_labels": 9}
    project = begin(active.Config(**(settings | more)), workdir)
    desk = Desk(project, rule)
    app = make_app(desk, Trainer(project, desk.ready, desk.chosen))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        guard = Guard(app, Keys("token", "cookie"), "127.0.0.1", port, password)
        server = uvicorn.Server(uvicorn.Config(guard, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}", desk
        finally:
            server.should_exit = True
            thread.join()


def eventually(view, holds):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, view.inner_text("#alert")
        view.wait_for_timeout(30)


def swipe(context, view, across, until=lambda: True):
    """Move a finger over the picture by `across` pixels to the right (or left), and again if lost.

    Chromium drops a touch that a busy page handles too late, so a person swipes again until
    something happens: until the function `until` returns True.
    """
    session, ends = context.new_cdp_session(view), time.monotonic() + 20
    while True:
        _touch(view, session, across)
        waits = time.monotonic() + 3
        while not (happened := until()) and time.monotonic() < waits:
            view.wait_for_timeout(30)
        if happened:
            return
        assert time.monotonic() < ends, view.inner_text("#alert")


def _touch(view, session, across):
    box = view.locator("#frame").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    points = [("touchStart", x), ("touchMove", x + across / 2), ("touchMove", x + across)]
    for kind, place in points:
        touch = {"type": kind, "touchPoints": [{"x": place, "y": y}]}
        session.send("Input.dispatchTouchEvent", touch)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def drag(view, first, last):
    first.hover()
    view.mouse.down()
    box = last.bounding_box()
    view.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=10)
    view.mouse.up()
    view.wait_for_timeout(20)


def pressed(view):
    """The numbers of the chosen tiles."""
    return view.eval_on_selector_all(
        "#picker .tiles button",
        "all => all.flatMap((b, n) => b.getAttribute('aria-pressed') === 'true' ? [n] : [])",
    )
