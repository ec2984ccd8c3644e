"""Return the pictures of a run as files that a browser can show."""

import contextlib
import io
import mimetypes
from pathlib import Path

import numpy as np

from jaxlabel.data.folder import file_of
from jaxlabel.label.project import Project, file_state

# Picture formats that every browser shows; other formats are sent as PNG.
FOR_BROWSERS = (".png", ".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".bmp")


def picture(project: Project, item: str) -> tuple[bytes, str] | None:
    """Return the bytes and the media type of the picture of an item; None if there is no such item.

    A picture file that browsers show as the run reads it is returned unchanged. Any other picture
    is converted to PNG as the run reads it. If the file was changed after the start of the page,
    the pixels in memory are returned, because the label will be that of the old picture.
    """
    row = project.rows.get(item)
    if row is None:
        return None
    name = project.dataset.paths[row] if project.dataset.paths else ""
    is_same = bool(name) and file_state(name) == tuple(project.file_states[row])
    path = file_of(name) if is_same else None
    if path is not None and path.suffix.lower() in FOR_BROWSERS:
        # Pillow may raise nearly any exception; then `_png` uses the pixels in memory.
        with contextlib.suppress(Exception):
            if _needs_no_conversion(path):
                kind = mimetypes.guess_type(f"x{path.suffix.lower()}")[0] or "image/jpeg"
                return path.read_bytes(), kind
    return _png(project, row, path), "image/png"


def _needs_no_conversion(path: Path) -> bool:
    """Return True if a browser shows the picture in a file as the run reads it.

    Such pictures have no transparency, and are in colour or grey with at most 8 bits. Any other
    kind, such as CMYK, is converted to be safe.

    Raises:
      Exception: the exception that Pillow raises for a file that it cannot read.
    """
    from PIL import Image

    from jaxlabel.data.decoding import without_size_warnings

    with without_size_warnings(), Image.open(path) as image:
        if image.mode == "RGBA":  # many screenshots have an opaque alpha channel
            return image.getchannel("A").getextrema() == (255, 255)
        # Colours of 16 bits are "RGB" too: the run and browsers show their upper 8 bits alike.
        return image.mode in ("1", "L", "P", "RGB") and not image.has_transparency_data


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
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(content, "PNG", compress_level=1)  # three times as fast as the default level
    return content.getvalue()
