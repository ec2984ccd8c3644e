"""The whole way in a browser: questions, keys, a kill, rounds, the results; accessibility."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from browsers import (
    LEFT,
    Page,
    classes,
    drag,
    eventually,
    label,
    labels,
    pressed,
    served,
    shown,
    swipe,
    truth,
)

from jaxlabel.cli import main as cli
from jaxlabel.oracle import LabelStore
from jaxlabel.oracle.votes import Rule

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core")
SHOWS = "item => document.querySelector('#picture').dataset.item === item"
UNDO = """item => fetch('/api/undo', {method: 'POST', body: JSON.stringify({item}),
  headers: {'content-type': 'application/json'}})"""


@pytest.fixture(scope="module")
def page(digits, tmp_path_factory):
    made = Page(digits, tmp_path_factory.mktemp("work") / "run")
    made.start()
    yield made
    made.end()


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


def name_a_class(view):
    """Label a picture if no class has a name yet: tests of this file may run in two processes."""
    shown(view)
    if not classes(view):
        label(view, truth(view)[shown(view)])


def test_keys_label_undo_and_name_classes(page, tab):
    known = truth(tab)
    for _ in range(4):
        label(tab, known[shown(tab)])
    # undo shows the same picture again
    last = label(tab, known[shown(tab)])
    tab.keyboard.press("Backspace")
    tab.wait_for_function(SHOWS, arg=last)
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
    tab.wait_for_function(LEFT, arg=unsure)
    tab.wait_for_function("() => document.querySelector('.side').innerText.includes('Not sure')")
    # a hint comes only after a key press
    assert not tab.is_visible("#hints")
    tab.keyboard.press("s")
    tab.wait_for_selector("#hints", state="visible")
    tab.wait_for_load_state("networkidle")


def test_a_misspelt_class_is_renamed(digits, browser, tmp_path):
    with served(digits, tmp_path / "run", Rule()) as (url, desk):
        context = browser.new_context(viewport={"width": 360, "height": 740})
        context.request.get(f"{url}/?token=token")  # sets the cookie
        view = context.new_page()
        view.goto(url)
        shown(view)
        assert view.is_disabled("#rename-open")  # there is no class yet
        first, second = label(view, "knid 0"), label(view, "kind 1")
        view.keyboard.press("r")
        view.select_option("#rename-class", "knid 0")
        assert view.input_value("#rename-name") == "knid 0"
        view.fill("#rename-name", "Kind 1")
        view.keyboard.press("Enter")
        view.wait_for_selector("#rename-problem:has-text('there is a class')")
        assert not axe.Axe().run(view).response["violations"]
        assert view.evaluate("document.documentElement.scrollWidth") <= 360
        view.fill("#rename-name", "kind 0")
        view.keyboard.press("Enter")
        view.wait_for_selector("#rename", state="hidden")
        eventually(view, lambda: classes(view) == ["kind 0", "kind 1"])
        assert desk.snapshot().labels == {first: "kind 0", second: "kind 1"}
        assert label(view, "kind 0") not in (first, second)  # its key works again
        context.close()


def test_a_finger_swipes_for_another_picture_and_for_undo(page, browser):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    view = context.new_page()
    view.goto(page.url)
    name_a_class(view)
    first = shown(view)
    swipe(context, view, -150, until=lambda: shown(view) != first)
    second, before = shown(view), labels(view)
    swipe(context, view, -20)  # too short
    view.wait_for_timeout(300)
    assert shown(view) == second
    view.tap("#classes button")
    view.wait_for_function(LEFT, arg=second)
    eventually(view, lambda: labels(view) == before + 1)
    swipe(context, view, 150, until=lambda: shown(view) == second)
    eventually(view, lambda: labels(view) == before)
    context.close()


def test_tiles_are_chosen_by_range_by_drag_and_all_but_some(page, tab):
    name_a_class(tab)
    view = tab.context.new_page()
    view.goto(f"{page.url.split('/?')[0]}/grid")
    view.click("#groups button")
    tiles = view.locator("#picker .tiles button")
    tiles.first.wait_for()
    total = tiles.count()
    tiles.nth(1).click()
    tiles.nth(4).click(modifiers=["Shift"])
    assert pressed(view) == [1, 2, 3, 4]
    drag(view, tiles.nth(6), tiles.nth(8))
    assert pressed(view) == [1, 2, 3, 4, 6, 7, 8]
    drag(view, tiles.nth(8), tiles.nth(7))  # a drag that begins on a chosen tile unchooses
    assert pressed(view) == [1, 2, 3, 4, 6]
    view.click("text=All others")
    assert pressed(view) == sorted(set(range(total)) - {1, 2, 3, 4, 6})
    # one key labels what is chosen, and the answers can be taken back
    view.click("text=None")
    tiles.nth(0).click()
    tiles.nth(2).click()
    assert view.inner_text(".dock p").startswith("2 chosen")
    chosen = [tiles.nth(n).get_attribute("data-item") for n in (0, 2)]
    before = labels(view)
    view.keyboard.press("1")
    eventually(view, lambda: labels(view) == before + 2)
    eventually(view, lambda: tiles.count() == total - 2)  # after the server's reply
    for item in chosen:
        view.evaluate(UNDO, item)
    assert labels(view) == before
    view.close()


def test_two_people_label_and_a_third_decides(digits, browser, tmp_path):
    with served(digits, tmp_path / "run", Rule(needed=2)) as (url, desk):
        context = browser.new_context()
        context.request.get(f"{url}/?token=token")  # sets the cookie
        ann, bob, chief = (context.new_page() for _ in range(3))
        ann.goto(f"{url}/?as=ann")
        first = shown(ann)  # eight of the nine pictures are reserved for ann now
        with ann.expect_request(lambda request: f"shown={first}" in request.url):
            pass  # the timer's requests, which renew no reservation
        bob.goto(f"{url}/?as=bob")
        item, other = label(ann, "kind 0"), label(bob, "kind 1")
        assert item != other and desk.snapshot().labels == {}  # one vote makes no label
        bob.reload()
        bob.wait_for_function(SHOWS, arg=item)
        label(bob, "kind 1")
        ann.reload()
        while label(ann, "kind 1") != other:
            pass
        eventually(ann, lambda: desk.snapshot().labels == {other: "kind 1"})  # the other differs
        chief.goto(f"{url}/people?as=chief")
        chief.wait_for_selector("#differ li img")
        assert "ann: kind 0, bob: kind 1" in chief.inner_text("#differ")
        # they agree on one of two; by chance on (1/2 of ann's, all of bob's) kind 1: one of two
        assert "0.00 (Cohen's kappa" in chief.inner_text("#people")
        chief.click("#differ button:has-text('kind 0')")
        eventually(chief, lambda: desk.snapshot().labels.get(item) == "kind 0")
        assert [v.person for v in desk.snapshot().votes if v.item == item] == [
            "ann",
            "bob",
            "chief",
        ]
        context.close()


def serves_other_commands(page, digits, tab, tmp_path):
    """Check that what the page made can be exported, and that `jaxlabel predict` reads it."""
    assert ",bought," in tab.evaluate("fetch('/export/labels.csv').then((f) => f.text())")
    out = tmp_path / "labels.csv"
    words = ["predict", f"--workdir={page.workdir}", f"--data=folder:{digits}", f"--out={out}"]
    assert cli.run(words) == 0
    assert out.read_text().count("\n") == 301


def test_a_kill_the_rounds_the_audit_and_the_end(page, tab, digits, tmp_path):
    known = truth(tab)
    while known[shown(tab)] not in classes(tab):  # the server must reply to a new class
        label(tab, known[shown(tab)])
    # the page is killed while answers are given; what was answered is there, and the tab goes on
    before = labels(tab)
    page.end(signal.SIGKILL)
    label(tab, known[shown(tab)])  # is sent again until the page is there
    page.start()
    tab.wait_for_selector("#alert", state="hidden", timeout=30_000)
    eventually(tab, lambda: labels(tab) == before + 1)
    tab.reload()
    # the process that trains is killed, and starts again by itself
    tab.wait_for_function("() => document.querySelector('#run').textContent.includes('It is')")
    tab.wait_for_timeout(2500)
    for child in Path(f"/proc/{page.process.pid}/task").glob("*/children"):
        for number in child.read_text().split():
            os.kill(int(number), signal.SIGKILL)
    # the rounds, the audit and the end; nobody can tell what the audit's first picture shows
    end, unsure = time.monotonic() + 600, ""
    while tab.evaluate("fetch('/api/state').then((f) => f.json())")["status"]["trainer"][
        "name"
    ] not in ("done", "failed"):
        assert time.monotonic() < end, (page.workdir / "page.log").read_text()[-600:]
        if tab.get_attribute("#picture", "data-item"):
            audit = tab.is_visible("#purpose") and "certificate" in tab.inner_text("#purpose")
            if audit:
                assert tab.is_disabled("#hint") and tab.is_disabled("#alike")
            if audit and not unsure:
                unsure = shown(tab)
                tab.keyboard.press("Space")
                tab.wait_for_function(LEFT, arg=unsure)
            else:
                label(tab, known[shown(tab)])
        else:
            tab.wait_for_timeout(200)
    assert (page.workdir / "result.json").exists(), (page.workdir / "page.log").read_text()[-600:]
    tab.wait_for_function("() => document.querySelector('#run').textContent.includes('finished')")
    status = tab.evaluate("fetch('/api/state').then((f) => f.json())")["status"]
    assert status["money"]["spent"] <= 34
    # the audit counts that picture as wrong, and nobody pays for it
    lines = [json.loads(line) for line in (page.workdir / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((page.workdir / "result.json").read_text())
    audited = sum(line["labels"] for line in lines if line["phase"] == "audit")
    assert unsure and audited == result["labels_to_certify"] + 1
    store = LabelStore(f"sqlite:///{page.workdir / 'labels.db'}")
    assert unsure not in {row.item for row in store.ledger(store.accounts()[0].name)}
    assert tab.faults == [] and tab.elsewhere == []
    serves_other_commands(page, digits, tab, tmp_path)


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
