"""Label pictures as a person would who knows every answer, and say how accurate the page's run is.

    python scripts/simulate_person.py --idx=DIR --count=2500 --budget=100 [-- --config.seed=500]

The script writes `count` random training images of an IDX folder as PNG files to a temporary
folder, starts `jaxlabel label` on them, and answers each question over HTTP with the true class
until the run has ended. Arguments after `--` go to `jaxlabel label`. It prints each new state of
the run and, at the end, as JSON: the seconds from the start of the process to the end of the run,
the number of labels bought, and the share of all pictures whose class is right (the class of
a labelled picture is its label). The person answers at once, so the seconds are those of the
machine.
"""

import argparse
import csv
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from PIL import Image

from jaxlabel import data


def main() -> None:
    """Write the pictures, run the page on them, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", required=True, help="a folder of IDX files")
    parser.add_argument("--count", type=int, default=2500, help="number of pictures")
    parser.add_argument("--budget", type=int, default=100, help="number of labels")
    parser.add_argument("extra", nargs="*", help="arguments of jaxlabel label, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        spec = f"idx:{given.idx}"
        images = data.load(spec).train_images
        rows = np.random.default_rng(0).permutation(len(images))[: given.count]
        write_pictures(folder, images, data.load_train_labels(spec), rows)
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxlabel", "label", f"--data={folder}", "--no_browser",
             f"--budget={given.budget}", f"--workdir={place}/run", *given.extra],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            url, _, token = address(process).partition("/?token=")
            result = label_all(url, token, began)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    print(json.dumps({"pictures": given.count} | result))


def write_pictures(
    folder: Path, images: np.ndarray, labels: np.ndarray, rows: Iterable[int]
) -> None:
    """Write the images at `rows` as PNG files whose names end with the class number."""
    folder.mkdir()
    for row in rows:
        Image.fromarray(images[row].squeeze()).save(folder / f"{row:06d}_{labels[row]}.png")


def address(process: "subprocess.Popen[str]") -> str:
    """Return the page's address with its token, which the process prints when it is ready."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://\S+token=\S+", line):
            return found[0]
    raise SystemExit("the page has not started")


def true_classes(table: str) -> dict[str, str]:
    """Return the class of every picture by its id, from the end of its file's name.

    Args:
      table: the content of the page's labels.csv.
    """
    rows = csv.DictReader(table.splitlines())
    return {row["item"]: f"class {Path(row['file']).stem[-1]}" for row in rows}


def label_all(url: str, token: str, began: float) -> dict[str, Any]:
    """Answer every question of the page until its run has ended, and return the result.

    Args:
      url: the address of the page.
      token: the token that lets the client in.
      began: the clock (`time.perf_counter`) at the start of the page's process.
    """
    with httpx.Client(base_url=url, headers={"origin": url}, timeout=120) as client:
        client.get("/", params={"token": token})
        classes = true_classes(client.get("/export/labels.csv").text)
        said = ""
        while True:
            state = client.get("/api/state").json()
            status = state["status"]
            if state["questions"]:
                item = state["questions"][0]["item"]
                answer = {
                    "items": [item], "class_name": classes[item], "seconds": 1.5, "sure": True
                }  # fmt: skip
                client.post("/api/answer", json=answer).raise_for_status()
                continue
            trainer = status["trainer"]
            if (now := f"{trainer['phase']}, {status['money']['spent']:g} labels bought") != said:
                print(f"{time.perf_counter() - began:5.0f} s: {now}", flush=True)
                said = now
            if trainer["name"] in ("done", "failed"):
                break
            time.sleep(1)
        seconds = round(time.perf_counter() - began)
        found = [json.loads(line) for line in client.get("/export/labels.jsonl").text.splitlines()]
    right = sum(row["label"] == classes[row["item"]] for row in found)
    return {
        "ended": trainer["name"],
        "seconds": seconds,
        "labels": status["money"]["spent"],
        "right, share of all pictures": round(right / len(found), 4),
    }


if __name__ == "__main__":
    main()
