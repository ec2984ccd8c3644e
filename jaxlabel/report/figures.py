"""Draw the pictures of reports: sheets of images, charts as SVG, and images as data URIs.

The charts take their colours from the page's style sheet. matplotlib is not used, because its
import alone takes longer than a whole report.
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

from jaxlabel.report import axes

GREEN, RED = (46, 139, 87), (200, 62, 44)
LARGE, SMALL = (480, 270), (340, 210)  # width and height of a chart in pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 12, 42  # margins around the axes in pixels
PANELS = 3  # small charts side by side
CAPTION = 26  # pixels for the name above a small chart
MAX_NAME = 36  # letters of a small chart's name
COLOURS = 10  # CSS classes s0 ... s9 of a chart's lines, whose colours the page defines


class Series(NamedTuple):
    """A line of a chart.

    Attributes:
      name: the text of the line in the legend.
      x: the horizontal position of each point.
      y: the vertical position of each point.
      low: the lower edge of a band around the line; empty for no band.
      high: the upper edge of the band.
      dashed: True to draw the line dashed.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dashed: bool = False


def sheet(images: UInt8[np.ndarray, "n h w c"], columns: int = 0) -> UInt8[np.ndarray, "H W c"]:
    """Arrange images on one picture, two black pixels apart.

    Args:
      images: images of one shape.
      columns: images in a row; 0 for about as many as there are rows.
    """
    n, h, w, c = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    page = np.zeros((rows * (h + 2) - 2, columns * (w + 2) - 2, c), np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (h + 2), index % columns * (w + 2)
        page[top : top + h, left : left + w] = image
    return page


def data_uri(image: UInt8[np.ndarray, "h w c"], longest: int = 64) -> str:
    """Return an image as a PNG data URI, reduced to at most `longest` pixels on the longer side."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(picture.size) > longest:
        picture.thumbnail((longest, longest))
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def confusion_pixels(matrix: Int[np.ndarray, "classes classes"]) -> UInt8[np.ndarray, "k k 4"]:
    """Return a confusion matrix as RGBA pixels, one per cell.

    Correct cells are green and mistakes are red; the more opaque, the larger the cell's share of
    its row. Empty cells are transparent.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    pixels = np.zeros((*matrix.shape, 4), np.uint8)
    pixels[..., :3] = np.where(np.eye(len(matrix), dtype=bool)[..., None], GREEN, RED)
    pixels[..., 3] = np.round(255 * shares**0.6)
    return pixels


def confusion_figure(
    matrix: Int[np.ndarray, "classes classes"], classes: Sequence[str] = ()
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a confusion matrix as a picture for TensorBoard.

    Args:
      matrix: the number of images per [true class, predicted class].
      classes: the names of the classes; a missing one is replaced by its number. Names and counts
        are drawn for at most 20 classes.
    """
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
            centre = (margin + cell * j + cell // 2, middle)
            draw.text(centre, str(matrix[i, j]), "black", font, anchor="mm")
    return np.asarray(page)


def line_chart(
    series: Sequence[Series], x_title: str, title: str, *, percent: bool = False,
    log_x: bool = False, dots: bool = False, size: tuple[int, int] = LARGE,
    beside: Sequence[Series] = (),
) -> Markup:  # fmt: skip
    """Draw a line chart as SVG.

    Args:
      series: the lines.
      x_title: the title of the horizontal axis.
      title: the description for screen readers.
      percent: True if y is a fraction, to be printed as a percentage.
      log_x: True for a logarithmic horizontal axis.
      dots: True to mark each point.
      size: width and height in pixels.
      beside: lines that are not drawn, but that the axes' ranges include.
    """
    width, height = size
    every_x = [x for line in (*series, *beside) for x in line.x]
    every_y = [y for line in (*series, *beside) for y in (*line.y, *line.low, *line.high)]
    y_ticks = axes.ticks(min(every_y), max(every_y))
    x_ticks = axes.doublings(every_x) if log_x else axes.inner_ticks(min(every_x), max(every_x))
    horizontal = axes.scale(every_x, LEFT, width - RIGHT, log_x)
    vertical = axes.scale([*y_ticks, *every_y], height - BOTTOM, TOP, False)
    parts = [
        Markup(
            '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
            '<text x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
        ).format(
            LEFT, width - RIGHT, vertical(y), LEFT - 7, vertical(y) + 4, axes.tick_text(y, percent)
        )
        for y in y_ticks
    ]
    parts += [
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            horizontal(x), height - BOTTOM + 18, axes.tick_text(x)
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
    """Draw a grid of small charts as SVG: the first line together with each of the other lines.

    Args:
      series: at least two lines.
      x_title: the title of the horizontal axes.
      title: the description for screen readers.
      options: further arguments of `line_chart`. All charts have equal axes.
    """
    first, *others = series
    (width, height), columns = SMALL, min(PANELS, len(others))
    parts = []
    for index, line in enumerate(others):
        left, top = index % columns * width, index // columns * (height + CAPTION)
        half = MAX_NAME // 2
        is_long = len(line.name) > MAX_NAME
        name = f"{line.name[:half]}…{line.name[-half:]}" if is_long else line.name
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
    """Return a chart with a legend below it; raise ValueError if `chart` is not a chart's SVG."""
    head = re.search(r'viewBox="0 0 (\d+) (\d+)".*?aria-label="(.*?)"', chart)
    if head is None:
        raise ValueError("not a chart of line_chart or panels")
    width, height, title = int(head[1]), int(head[2]), Markup(head[3]).unescape()
    parts = [Markup('<svg width="{}" height="{}">{}</svg>').format(width, height, chart)]
    left, top = LEFT, height + 18
    for number, name in enumerate(names):
        room = 32 + round(7 * len(name))  # about 7 pixels per letter
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
    """Draw points as SVG, coloured by class.

    Args:
      points: the position of each point.
      labels: the class of each point; -1 for a grey point.
      names: the name of each class, which is written at the class's median for at most 20 classes.
      colours: the colour of each class.
      title: the description for screen readers.
    """
    width, height, edge = 640, 520, 14
    low, high = np.percentile(points, 0.1, axis=0), np.percentile(points, 99.9, axis=0)
    positions = (np.clip(points, low, high) - low) / np.maximum(high - low, 1e-9)
    positions = edge + positions * [width - 2 * edge, height - 2 * edge]
    parts, captions = [], []
    for label in np.unique(labels):
        members = positions[labels == label]
        dots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in np.unique(members.round(), axis=0))
        has_name = 0 <= label < len(names)
        colour = colours[label] if has_name else "#999"
        parts.append(Markup('<path class="dots" stroke="{}" d="{}"/>').format(colour, dots))
        if has_name and len(names) <= 20:
            x, y = np.median(members, axis=0)
            captions.append(
                Markup('<text class="halo" x="{:.0f}" y="{:.0f}">{}</text>').format(
                    x, y, names[label]
                )
            )
    return _svg([*parts, *captions], width, height, title)


def _line(line: Series, number: int, horizontal: Any, vertical: Any, dots: bool) -> Markup:
    """Draw one line of a chart, its band, and its dots.

    Args:
      line: the line.
      number: the line's number in the chart, which selects its colour.
      horizontal: the function from x to pixels.
      vertical: the function from y to pixels.
      dots: True to mark each point.
    """

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
    """Return an SVG picture made of parts, with a title for screen readers."""
    frame = Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
    )
    return frame.format(width, height, title) + Markup("").join(parts) + Markup("</svg>")
