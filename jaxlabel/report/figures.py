"""Pictures: sheets of images, charts as SVG that take their colours from the page, data URIs.

SVG and plain pixels rather than matplotlib, whose import alone takes longer than a whole report.
"""

import base64
import io
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from markupsafe import Markup

GREEN, RED = (46, 139, 87), (200, 62, 44)
LARGE, SMALL = (480, 270), (340, 210)
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 12, 42
PANELS, CAPTION, NAME = 3, 26, 36  # small charts side by side; room for a name, in letters
COLOURS = 10  # classes s0 ... s9 of a chart's lines; a page defines as many as it needs


class Series(NamedTuple):
    """A line of a chart, with a band around it where `low` and `high` are given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dashed: bool = False


def sheet(images: UInt8[np.ndarray, "n h w c"], columns: int = 0) -> UInt8[np.ndarray, "H W c"]:
    """The images side by side, two black pixels apart, in about as many rows as columns."""
    n, h, w, c = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    page = np.zeros((rows * (h + 2) - 2, columns * (w + 2) - 2, c), np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (h + 2), index % columns * (w + 2)
        page[top : top + h, left : left + w] = image
    return page


def data_uri(image: UInt8[np.ndarray, "h w c"], longest: int = 64) -> str:
    """The image as a PNG inside an address, its longer side made `longest` at most."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(picture.size) > longest:
        picture.thumbnail((longest, longest))
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def confusion_pixels(matrix: Int[np.ndarray, "classes classes"]) -> UInt8[np.ndarray, "k k 4"]:
    """A pixel per cell, clear where nothing is: green what is right, red what is not."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    pixels = np.zeros((*matrix.shape, 4), np.uint8)
    pixels[..., :3] = np.where(np.eye(len(matrix), dtype=bool)[..., None], GREEN, RED)
    pixels[..., 3] = np.round(255 * shares**0.6)
    return pixels


def confusion_figure(
    matrix: Int[np.ndarray, "classes classes"], classes: Sequence[str] = ()
) -> UInt8[np.ndarray, "h w 3"]:
    """The confusion matrix with its names and counts, for TensorBoard: rows are the truth."""
    from PIL import Image, ImageDraw, ImageFont

    k = len(matrix)
    names = [str(classes[i]) if i < len(classes) else str(i) for i in range(k)]
    cell = 44 if k <= 20 else max(4, 880 // k)
    font = ImageFont.load_default(size=13)
    margin = 8 + (int(max(font.getlength(name) for name in names)) if k <= 20 else 0)
    page = Image.new("RGB", (margin + cell * k + 8, margin + cell * k + 8), "white")
    heat = Image.fromarray(confusion_pixels(matrix))
    heat = heat.resize((cell * k, cell * k), Image.Resampling.NEAREST)
    page.paste(heat, (margin, margin), heat)
    draw = ImageDraw.Draw(page)
    for i in range(k if k <= 20 else 0):
        middle = margin + cell * i + cell // 2
        draw.text((margin - 5, middle), names[i], "black", font, anchor="rm")
        label = Image.new("L", (margin, 18))
        ImageDraw.Draw(label).text((4, 9), names[i], 255, font, anchor="lm")
        turned = label.rotate(90, expand=True)
        page.paste((0, 0, 0), (middle - 9, 0), turned)
        for j in range(k):
            place = (margin + cell * j + cell // 2, middle)
            draw.text(place, str(matrix[i, j]), "black", font, anchor="mm")
    return np.asarray(page)


def line_chart(
    series: Sequence[Series], x_title: str, title: str, *, percent: bool = False,
    log_x: bool = False, dots: bool = False, size: tuple[int, int] = LARGE,
    beside: Sequence[Series] = (),
) -> Markup:  # fmt: skip
    """Lines over x as SVG.

    Args:
      percent: y is a fraction, printed as a percentage.
      log_x: x grows by doubling.
      dots: each point is marked.
      beside: lines that are not drawn, but for which the axes have room.
    """
    width, height = size
    every_x = [x for line in (*series, *beside) for x in line.x]
    every_y = [y for line in (*series, *beside) for y in (*line.y, *line.low, *line.high)]
    y_ticks = _ticks(min(every_y), max(every_y))
    x_ticks = _doublings(every_x) if log_x else _inner_ticks(min(every_x), max(every_x))
    horizontal = _scale(every_x, LEFT, width - RIGHT, log_x)
    vertical = _scale([*y_ticks, *every_y], height - BOTTOM, TOP, False)
    parts = [
        Markup(
            '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
            '<text x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
        ).format(LEFT, width - RIGHT, vertical(y), LEFT - 7, vertical(y) + 4, _text(y, percent))
        for y in y_ticks
    ]
    parts += [
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            horizontal(x), height - BOTTOM + 18, _text(x)
        )
        for x in x_ticks
    ]
    for number, line in enumerate(series):
        parts.append(_line(line, number, horizontal, vertical, dots))
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (LEFT + width - RIGHT) // 2, height - 6, x_title
        )
    )
    return _svg(parts, width, height, title)


def panels(series: Sequence[Series], x_title: str, title: str, **options: Any) -> Markup:
    """Many lines as SVG: the first beside one of the others in each small chart, on like axes.

    Args:
      options: as for `line_chart`.
    """
    first, *others = series
    (width, height), columns = SMALL, min(PANELS, len(others))
    parts = []
    for place, line in enumerate(others):
        left, top = place % columns * width, place // columns * (height + CAPTION)
        half = NAME // 2
        long = len(line.name) > NAME
        name = f"{line.name[:half]}…{line.name[-half:]}" if long else line.name
        chart = line_chart([first, line], x_title, line.name, size=SMALL, beside=series, **options)
        parts.append(
            Markup(
                '<text class="name" x="{}" y="{}">{}</text>'
                '<svg x="{}" y="{}" width="{}" height="{}">{}</svg>'
            ).format(left + LEFT, top + CAPTION - 6, name, left, top + CAPTION, *SMALL, chart)
        )
    rows = -(-len(others) // columns)
    return _svg(parts, columns * width, rows * (height + CAPTION), title)


def with_legend(chart: Markup, names: Sequence[str]) -> Markup:
    """A chart of `line_chart` or `panels`, with the names of its lines' colours below."""
    head = re.search(r'viewBox="0 0 (\d+) (\d+)".*?aria-label="(.*?)"', chart)
    if head is None:
        raise ValueError("no chart")
    width, height, title = int(head[1]), int(head[2]), Markup(head[3]).unescape()
    parts = [Markup('<svg width="{}" height="{}">{}</svg>').format(width, height, chart)]
    left, top = LEFT, height + 18
    for number, name in enumerate(names):
        room = 32 + round(7 * len(name))  # of a letter, about
        if left > LEFT and left + room > width:
            left, top = LEFT, top + 20
        parts.append(
            Markup('<circle class="s{}" cx="{}" cy="{}" r="5"/><text x="{}" y="{}">{}</text>')
            .format(number % COLOURS, left, top - 4, left + 10, top, name)
        )  # fmt: skip
        left += room
    return _svg(parts, width, top + 10, title)


def scatter(
    points: Float[np.ndarray, "m 2"], labels: Int[np.ndarray, "m"], names: Sequence[str],
    colours: Sequence[str], title: str,
) -> Markup:  # fmt: skip
    """A map of points, a colour per class, each class's name at its median; -1 is grey."""
    width, height, edge = 640, 520, 14
    low, high = np.percentile(points, 0.1, axis=0), np.percentile(points, 99.9, axis=0)
    places = (np.clip(points, low, high) - low) / np.maximum(high - low, 1e-9)
    places = edge + places * [width - 2 * edge, height - 2 * edge]
    parts, captions = [], []
    for label in np.unique(labels):
        here = places[labels == label]
        dots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in np.unique(here.round(), axis=0))
        known = 0 <= label < len(names)
        colour = colours[label] if known else "#999"
        parts.append(Markup('<path class="dots" stroke="{}" d="{}"/>').format(colour, dots))
        if known and len(names) <= 20:
            x, y = np.median(here, axis=0)
            captions.append(
                Markup('<text class="halo" x="{:.0f}" y="{:.0f}">{}</text>').format(
                    x, y, names[label]
                )
            )
    return _svg([*parts, *captions], width, height, title)


def _line(line: Series, number: int, horizontal: Any, vertical: Any, dots: bool) -> Markup:
    def path(xs: Sequence[float], ys: Sequence[float]) -> str:
        return "L".join(
            f"{horizontal(x):.1f} {vertical(y):.1f}" for x, y in zip(xs, ys, strict=True)
        )

    parts = []
    if line.low:
        band = f"M{path(line.x, line.low)}L{path(line.x[::-1], line.high[::-1])}Z"
        kind = "band" if len(line.x) > 1 else "line"
        parts.append(Markup('<path class="{} s{}" d="{}"/>').format(kind, number % COLOURS, band))
    kind = "line dashed" if line.dashed else "line"
    parts.append(
        Markup('<path class="{} s{}" d="M{}"/>').format(
            kind, number % COLOURS, path(line.x, line.y)
        )
    )
    for x, y in zip(line.x, line.y, strict=True) if dots else ():
        parts.append(
            Markup('<circle class="s{}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>')
            .format(number % COLOURS, horizontal(x), vertical(y), f"{line.name}: {y:.4g} at {x:g}")
        )  # fmt: skip
    return Markup("").join(parts)


def _svg(parts: list[Markup], width: int, height: int, title: str) -> Markup:
    frame = Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
    )
    return frame.format(width, height, title) + Markup("").join(parts) + Markup("</svg>")


def _scale(values: Sequence[float], start: float, end: float, log: bool) -> Any:
    """The function from a value to its place in pixels."""
    place = (lambda v: math.log(max(v, 1e-12))) if log else float
    low, high = place(min(values)), place(max(values))
    span = high - low or 1.0
    return lambda value: start + (place(value) - low) / span * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose the range."""
    if high <= low:
        low, high = low - abs(low) * 0.5 - 1e-9, high + abs(high) * 0.5 + 1e-9
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _inner_ticks(low: float, high: float) -> list[float]:
    """Those of the round numbers that lie within the range."""
    return [t for t in _ticks(low, high) if low <= t <= high] if low < high else [low]


def _doublings(values: Sequence[float]) -> list[float]:
    """The values themselves, thinned so that their texts do not touch on a logarithmic axis."""
    kept: list[float] = []
    span = math.log(max(values) / min(values)) or 1.0
    for value in sorted(set(values)):
        if not kept or math.log(value / kept[-1]) / span > 0.07:
            kept.append(value)
    return kept


def _text(value: float, percent: bool = False) -> str:
    if percent:
        return f"{100 * value:.3g}%"
    if abs(value) >= 1e4:
        return f"{value / 1000:g}k" if abs(value) < 1e6 else f"{value / 1e6:g}M"
    return f"{value:.4g}"
