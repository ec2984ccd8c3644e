"""Time the labelling page: start to first question, and key to next picture while a round trains.

    python scripts/bench_page.py --idx=DIR --count=20000 --keys=200

Writes `count` of the training images of an IDX folder as PNG files to a temporary folder, starts
`jaxlabel label` on them with empty caches, then the same command again, and opens the page in
Chromium (Debian's package `chromium`; playwright is in the extra `dev`). A simulated person answers
with the true labels. Seconds to the first question run from the start of the process to the first
picture in the browser. Milliseconds of a key run from the key press to the moment when the next
picture has been decoded. The machine should be quiet. Prints each figure, then all as JSON.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from simulate_person import address, true_classes, write_pictures

from jaxlabel import data

KEYS = "1234567890"
WAIT = """async () => {
  const picture = document.querySelector('#picture'), began = performance.now();
  const before = picture.dataset.item;
  document.body.dispatchEvent(new KeyboardEvent('keydown', {key: KEY, bubbles: true}));
  while (picture.dataset.item === before || !picture.complete || !picture.dataset.item)
    await new Promise((go) => requestAnimationFrame(go));
  await picture.decode();
  return performance.now() - began;
}"""


def main() -> None:
    """Make the pictures, time both starts and the keys, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", required=True, help="a folder of IDX files with 28x28 images")
    parser.add_argument("--count", type=int, default=20000, help="number of pictures")
    parser.add_argument("--keys", type=int, default=200, help="number of key presses to time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        spec = f"idx:{given.idx}"
        images, labels = data.load(spec).train_images, data.load_train_labels(spec)
        write_pictures(folder, images, labels, range(min(given.count, len(images))))
        print(json.dumps({"pictures": given.count} | measured(folder, Path(place), given.keys)))


def measured(folder: Path, place: Path, num_keys: int) -> dict[str, float]:
    """Return the seconds of the first and the second start, and the milliseconds of the keys.

    Args:
      folder: the folder of pictures, whose names end with the class.
      place: a directory for the caches and the work directories.
      num_keys: the number of key presses to time.
    """
    figures: dict[str, float] = {}
    environment = os.environ | {"HOME": str(place), "JAXLABEL_CACHE": str(place / "cache")}
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for start in ("first", "second"):
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "jaxlabel", "label", f"--data={folder}", "--no_browser",
                 "--budget=1000", f"--workdir={place / 'run'}"],
                stdout=subprocess.PIPE, text=True, env=environment,
            )  # fmt: skip
            try:
                tab = browser.new_page()
                tab.goto(address(process))
                tab.wait_for_selector("#picture[data-item]", timeout=300_000)
                tab.evaluate("document.querySelector('#picture').decode()")
                figures[f"{start} start, seconds"] = round(time.perf_counter() - began, 1)
                print(f"{start} start: {figures[f'{start} start, seconds']} s", flush=True)
                if start == "second" and num_keys:
                    figures |= timed_keys(tab, num_keys)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
    return figures


def timed_keys(tab: Any, num_keys: int) -> dict[str, float]:
    """Answer questions by key presses, and return the median and the 95th percentile of the times.

    The first ten answers name the classes and are not timed.
    """
    times: list[float] = []
    table = tab.evaluate("fetch('/export/labels.csv').then((found) => found.text())")
    classes = true_classes(table)
    while len(times) < num_keys:
        tab.wait_for_selector("#picture[data-item]", timeout=300_000)
        found = classes[tab.get_attribute("#picture", "data-item")]
        names = tab.eval_on_selector_all("#classes button", "all => all.map(b => b.dataset.name)")
        if found in names:
            key = json.dumps(KEYS[names.index(found)])
            times.append(tab.evaluate(WAIT.replace("KEY", key)))
            continue
        before = tab.get_attribute("#picture", "data-item")
        tab.keyboard.press("n")
        tab.fill("#new-name", found)
        tab.keyboard.press("Enter")
        tab.wait_for_function(
            "b => document.querySelector('#picture').dataset.item !== b", arg=before
        )
    state = tab.evaluate("fetch('/api/state').then((found) => found.json())")
    print(f"after {num_keys} keys the page says: {state['status']}", flush=True)
    figures = {
        "key, median ms": round(statistics.median(times), 1),
        "key, 95th percentile ms": round(statistics.quantiles(times, n=20)[-1], 1),
    }
    print(figures, flush=True)
    return figures


if __name__ == "__main__":
    main()
