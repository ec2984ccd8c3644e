"""The pictures that the labelling page shows are those that the run reads, at full size."""

import io
import os

import numpy as np
from PIL import Image

from jaxlabel.data import intensity
from jaxlabel.data.decoding import read_picture
from jaxlabel.data.folder import file_of
from jaxlabel.label.pictures import picture
from jaxlabel.label.project import begin
from jaxlabel.methods import active

RNG = np.random.default_rng(3)


def begun(folder, workdir):
    """Return the project of a run that resizes the pictures in a folder to 8 x 8 pixels."""
    settings = active.Config(data=f"folder:{folder}", image_size=8, budget=2, initial_labels=1)
    return begin(settings, workdir)


def sent(project, path):
    """Return what the page sends for a picture file: its bytes, and its pixels in grey."""
    content, _ = picture(project, project.items[project.dataset.paths.index(str(path))])
    return content, np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def test_deep_and_transparent_pictures_are_shown_as_the_run_reads_them(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    deep = RNG.integers(100, 900, (12, 12)).astype(np.uint16)
    drawing = np.full((12, 12, 4), 255, np.uint8)
    drawing[3:, :, 3] = 0  # white on a transparent ground
    opaque = RNG.integers(0, 256, (12, 12, 4), np.uint8)
    opaque[..., 3] = 255
    for name, pixels in (("deep", deep), ("drawing", drawing), ("opaque", opaque)):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    Image.fromarray(opaque[..., 0]).save(folder / "grey.png", transparency=int(opaque[0, 0, 0]))
    Image.fromarray(opaque[..., :3]).save(folder / "photo.jpg")
    project = begun(folder, tmp_path / "run")

    scaled = intensity.scale(deep, project.dataset.intensity)
    np.testing.assert_array_equal(sent(project, folder / "deep.png")[1], scaled)
    np.testing.assert_array_equal(sent(project, folder / "drawing.png")[1], drawing[..., 3])
    content, pixels = sent(project, folder / "grey.png")
    np.testing.assert_array_equal(pixels, read_picture(folder / "grey.png").pixels[..., 0])
    assert not Image.open(io.BytesIO(content)).has_transparency_data
    for name in ("opaque.png", "photo.jpg"):
        assert sent(project, folder / name)[0] == (folder / name).read_bytes()


def test_a_file_that_was_changed_is_shown_as_the_picture_that_is_labelled(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = [folder / name for name in ("a.png", "b.png", os.fsdecode(b"\xe9.png"))]
    old, new = RNG.integers(0, 256, (2, 3, 8, 8), np.uint8)
    for name, pixels in zip(names, old, strict=True):
        Image.fromarray(pixels).save(name)
    project = begun(folder, tmp_path / "run")
    for path in project.dataset.paths:
        assert sent(project, path)[0] == file_of(path).read_bytes()
    for name, pixels in zip(names[1:], new[1:], strict=True):
        Image.fromarray(pixels).save(name)
    assert sent(project, names[0])[0] == names[0].read_bytes()
    for row, path in enumerate(project.dataset.paths):
        pixels = project.dataset.train_images[row, ..., 0]
        np.testing.assert_array_equal(sent(project, path)[1], pixels)
