"""Pictures without labels, and a run on them that the labelling page serves."""

import shutil

import numpy as np
import pytest
from PIL import Image

from jaxlabel.label.project import begin
from jaxlabel.methods import active


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(random.integers(0, 255, (8, 8), np.uint8)).save(folder / f"{number}.png")
    Image.open(folder / "3.png").save(folder / "copy.bmp")
    return folder


@pytest.fixture
def project(pictures, tmp_path):
    settings = active.Config(data=f"folder:{pictures}", image_size=8, budget=20, initial_labels=6)
    return begin(settings, tmp_path / "run")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    from sklearn.datasets import load_digits

    found, folder = load_digits(), tmp_path_factory.mktemp("digits")
    for number in range(300):
        pixels = (found.images[number] * 15.9).astype(np.uint8)
        kind = found.target[number] // 4  # three classes: 0 to 3, 4 to 7, 8 and 9
        Image.fromarray(pixels).save(folder / f"{number:03d}_{kind}.png")
    return folder


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("there is no Chromium: apt install chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()
