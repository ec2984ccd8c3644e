"""The whole way in a browser: questions, keys, a kill, rounds, the results; accessibility."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium: apt install chromium")

KEYS = "1234567890"
FLAGS = ("--no_browser", "--config.preset=tiny", "--config.image_size=8", "--budget=34",
         "--config.initial_labels=14", "--config.growth=2", "--target=0.15",
         "--config.confidence=0.5", "--config.audit_share=0.3", "--config.round_steps=4",
         "--config.steps=8", "--config.refine_steps=4", "--config.refinements=0",
         "--config.graph_targets=0")  # fmt: skip


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    from sklearn.datasets import load_digits

    found, folder = load_digits(), tmp_path_factory.mktemp("digits")
    for number in range(300):
        pixels = (found.images[number] * 15.9).astype(np.uint8)
        kind = found.target[number] // 4  # three classes: 0 to 3, 4 to 7, 8 and 9
        Image.fromarray(pixels).save(folder / f"{number:03d}_{kind}.png")
    return folder


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


@pytest.fixture(scope="module")
def page(digits, tmp_path_factory):
    made = Page(digits, tmp_path_factory.mktemp("work") / "run")
    made.start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def tab(page, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.faults, opened.elsewhere = [], []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("request", lambda request: opened.elsewhere.append(request.url)
              if not request.url.startswith("http://127.0.0.1:") else None)  # fmt: skip
    opened.goto(page.url)
    opened.wait_for_selector("#picture[data-item]")
    yield opened
    context.close()


def truth(tab):
    table = tab.evaluate("fetch('/export/labels.csv').then((found) => found.text())")
    rows = [line.split(",") for line in table.splitlines()[1:]]
    return {row[0]: f"kind {row[1][-5]}" for row in rows}


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
    tab.wait_for_function("b => document.querySelector('#picture').dataset.item !== b", arg=before)
    return before


def labels(tab):
    """The number of labels that the store holds."""
    found = tab.evaluate("fetch('/api/state').then((found) => found.json())")
    return found["status"]["labels"]


def test_the_whole_way(page, tab, capfd):
    known = truth(tab)
    for _ in range(4):
        label(tab, known[shown(tab)])
    # undo shows the same picture again
    last = label(tab, known[shown(tab)])
    tab.keyboard.press("Backspace")
    tab.wait_for_function("b => document.querySelector('#picture').dataset.item === b", arg=last)
    # a name that is nearly the same is offered as the one that is there
    existing = known[last]
    if existing in classes(tab):
        tab.keyboard.press("n")
        tab.fill("#new-name", existing.upper().replace(" ", "_"))
        tab.keyboard.press("Enter")
        tab.click(f"#similar button:has-text('Use {existing}')")
        assert len(classes(tab)) == len(set(classes(tab)))
    # not sure is stored, and never a class
    unsure = shown(tab)
    tab.keyboard.press("Space")
    tab.wait_for_function("b => document.querySelector('#picture').dataset.item !== b", arg=unsure)
    tab.wait_for_function("() => document.querySelector('.side').innerText.includes('Not sure')")
    # a hint comes only after a key press
    assert not tab.is_visible("#hints")
    tab.keyboard.press("s")
    tab.wait_for_selector("#hints", state="visible")
    # the page is killed while answers are given; what was answered is there, and the tab goes on
    tab.wait_for_load_state("networkidle")
    before = labels(tab)
    page.end(signal.SIGKILL)
    label(tab, known[shown(tab)])  # is sent again until the page is there
    page.start()
    tab.wait_for_selector("#alert", state="hidden", timeout=30_000)
    tab.wait_for_timeout(500)
    assert labels(tab) == before + 1
    tab.reload()
    # the process that trains is killed, and starts again by itself
    tab.wait_for_function("() => document.querySelector('#run').textContent.includes('It is')")
    tab.wait_for_timeout(2500)
    for child in Path(f"/proc/{page.process.pid}/task").glob("*/children"):
        for number in child.read_text().split():
            os.kill(int(number), signal.SIGKILL)
    # the rounds, the audit and the end
    end = time.monotonic() + 200
    while tab.evaluate("fetch('/api/state').then((f) => f.json())")["status"]["trainer"][
        "name"
    ] not in ("done", "failed"):
        assert time.monotonic() < end, (page.workdir / "page.log").read_text()[-600:]
        if tab.get_attribute("#picture", "data-item"):
            if tab.is_visible("#purpose") and "certificate" in tab.inner_text("#purpose"):
                assert tab.is_disabled("#hint") and tab.is_disabled("#alike")
            label(tab, known[shown(tab)])
        else:
            tab.wait_for_timeout(200)
    assert (page.workdir / "result.json").exists(), (page.workdir / "page.log").read_text()[-600:]
    tab.wait_for_function("() => document.querySelector('#run').textContent.includes('finished')")
    status = tab.evaluate("fetch('/api/state').then((f) => f.json())")["status"]
    assert status["money"]["spent"] <= 34
    assert tab.faults == [] and tab.elsewhere == []


def test_every_view_is_accessible_and_fits(page, browser, tab):
    for width, scheme in ((1280, "light"), (360, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)
        view = context.new_page()
        view.goto(page.url)
        view.wait_for_selector("header")
        for name in ("", "grid", "review", "map", "people", "export"):
            view.goto(f"{page.url.split('/?')[0]}/{name}")
            view.wait_for_load_state("networkidle")
            if name == "grid":
                view.click("#groups button")
                view.wait_for_selector("#picker .tiles button")
                view.click("#picker .tiles button")
            found = axe.Axe().run(view)
            assert found.violations_count == 0, (name, width, found.generate_report())
            assert view.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            small = view.evaluate(
                "[...document.querySelectorAll('button, .button, nav a, input')].filter((e) =>"
                " e.offsetParent && Math.min(e.offsetHeight, e.offsetWidth) < 44).length"
            )
            assert small == 0, name
        context.close()


def test_what_the_page_made_serves_the_other_commands(page, digits, tab, tmp_path):
    assert "person" in tab.evaluate("fetch('/export/labels.csv').then((f) => f.text())")
    out = tmp_path / "labels.csv"
    words = ["predict", f"--workdir={page.workdir}", f"--data=folder:{digits}", f"--out={out}"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    made = subprocess.run(
        [sys.executable, "-m", "jaxlabel", *words], capture_output=True, text=True, timeout=100,
        env=environment,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert out.read_text().count("\n") == 301
