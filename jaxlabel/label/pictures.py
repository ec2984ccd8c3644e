"""Return the pictures of a run as files that a browser can show."""

import contextlib
import io
import mimetypes
from pathlib import Path

import numpy as np

from jaxlabel.data.folder import file_of
from jaxlabel.label.project import Project

# Picture formats that every browser shows; other formats are sent as PNG.
FOR_BROWSERS = (".png", ".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".bmp")


def picture(project: Project, item: str) -> tuple[bytes, str] | None:
    """Return the bytes and the media type of the picture of an item; None if there is no such item.

    A picture file of a format that browsers show is returned unchanged; any other picture is
    converted to PNG.
    """
    row = project.rows.get(item)
    if row is None:
        return None
    path = file_of(project.dataset.paths[row]) if project.dataset.paths else None
    if path is not None and path.suffix.lower() in FOR_BROWSERS:
        try:
            kind = mimetypes.guess_type(f"x{path.suffix.lower()}")[0] or "image/jpeg"
            return path.read_bytes(), kind
        except OSError:
            path = None
    return _png(project, row, path), "image/png"


def _png(project: Project, row: int, path: Path | None) -> bytes:
    """Return a picture as PNG: the file at `path` if it is readable, else the pixels in memory."""
    from PIL import Image

    from jaxlabel.data import intensity
    from jaxlabel.data.decoding import read_picture

    pixels = project.dataset.train_images[row]
    if path is not None:
        # Pillow may raise nearly any exception; then the pixels in memory are used.
        with contextlib.suppress(Exception):
            original = read_picture(path).pixels
            if original.dtype != np.uint8:
                original = intensity.scale(original, project.dataset.intensity)
            pixels = original
    content = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(content, "PNG")
    return content.getvalue()
