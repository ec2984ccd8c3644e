"""Pictures without labels, and a run on them that the labelling page serves."""

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
    settings = active.Config(
        data=f"folder:{pictures}", image_size=8, budget=20, initial_labels=6, map="none"
    )
    return begin(settings, tmp_path / "run")
