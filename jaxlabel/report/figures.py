"""Draw the pictures of reports: grids of images, charts as SVG, and images as data URIs.

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

LARGE, SMALL = (480, 270), (340, 210)  # width and height of a chart in pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 12, 42  # margins around the axes in pixels
PANELS = 3  # small charts side by side
CAPTION = 26  # pixels for the name above a small chart
MAX_NAME = 36  # letters of a small chart's name
COLOURS = 10  # CSS classes s0 ... s9 of a chart's lines, whose colours the page defines


class Series(NamedTuple):
    """One line of a line chart, optionally with a band such as a confidence interval.

    Attributes:
      name: the name of the line, which the legend shows.
      x: the horizontal coordinate of each point.
      y: the vertical coordinate of each point.
      low: the vertical coordinates of the band's lower edge; empty for no band.
      high: the vertical coordinates of the band's upper edge; empty for no band.
      dashed: True to draw the line dashed.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dashed: bool = False


def sheet(images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "H W c"]:
    """Arrange images in a roughly square grid, with two black pixels between neighbours."""
    n, h, w, c = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    page = np.zeros((rows * (h + 2) - 2, columns * (w + 2) - 2, c), np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (h + 2), index % columns * (w + 2)
        page[top : top + h, left : left + w] = image
    return page


def data_uri(image: UInt8[np.ndarray, "h w c"], longest: int = 64) -> str:
    """Return an image as a PNG data URI, which a page can show without another file.

    An image whose longer side exceeds `longest` pixels is reduced to this length.
    """
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(picture.size) > longest:
        picture.thumbnail((longest, longest))
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def line_chart(
    series: Sequence[Series], x_title: str, title: str, *, percent: bool = False,
    log_x: bool = False, dots: bool = False, size: tuple[int, int] = LARGE,
    beside: Sequence[Series] = (),
) -> Markup:  # fmt: skip
    """Draw a line chart as SVG.

    Args:
      series: the lines.
      x_title: the title of the horizontal axis.
      title: a description of the chart for screen readers.
      percent: True if the vertical coordinates are fractions. The axis then shows percentages.
      log_x: True for a logarithmic horizontal axis.
      dots: True to mark each point of a line with a dot.
      size: the width and height of the chart in pixels.
      beside: lines that are not drawn; the ranges of the axes include them, so that several charts
        can have equal axes.
    """
    width, height = size
    every_x = [x for line in (*series, *beside) for x in line.x]
    every_y = [y for line in (*series, *beside) for y in (*line.y, *line.low, *line.high)]
    y_ticks = axes.ticks(min(every_y), max(every_y))
    x_ticks = axes.log_ticks(every_x) if log_x else axes.inner_ticks(min(every_x), max(every_x))
    horizontal = axes.make_scale(every_x, LEFT, width - RIGHT, log_x)
    vertical = axes.make_scale([*y_ticks, *every_y], height - BOTTOM, TOP, False)
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
        parts.append(_draw_line(line, number, horizontal, vertical, dots))
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (LEFT + width - RIGHT) // 2, height - 6, x_title
        )
    )
    return _join_svg(parts, width, height, title)


def panels(series: Sequence[Series], x_title: str, title: str, **options: Any) -> Markup:
    """Draw a grid of small line charts as one SVG, with a chart for each line except the first.

    Each chart shows the first line and one other line; all charts have equal axes.

    Args:
      series: at least two lines.
      x_title: the title of the horizontal axes.
      title: a description of the picture for screen readers.
      options: further arguments of `line_chart`.
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
    return _join_svg(parts, columns * width, rows * (height + CAPTION), title)


def with_legend(chart: Markup, names: Sequence[str]) -> Markup:
    """Add a legend with the names of the lines below a line chart, and return the new SVG.

    Args:
      chart: the chart as SVG, made by `line_chart` or `panels`.
      names: the names of the lines, in the order of their colours.

    Raises:
      ValueError: `chart` was not made by `line_chart` or `panels`.
    """
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
    return _join_svg(parts, width, top + 10, title)


def scatter(
    points: Float[np.ndarray, "m 2"], labels: Int[np.ndarray, "m"], names: Sequence[str],
    colours: Sequence[str], title: str,
) -> Markup:  # fmt: skip
    """Draw a scatter plot as SVG, with points coloured by class.

    Args:
      points: the position of each point.
      labels: the class of each point; -1 for a point without class, which is drawn in grey.
      names: the names of the classes. If there are at most 20, each name is written at the median
        position of the points of its class.
      colours: the colour of each class.
      title: a description of the plot for screen readers.
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
    return _join_svg([*parts, *captions], width, height, title)


def _draw_line(line: Series, number: int, horizontal: Any, vertical: Any, dots: bool) -> Markup:
    """Draw one line of a line chart as SVG, with its band and its dots.

    Args:
      line: the line.
      number: the line's index in the chart, which selects its colour.
      horizontal: a function that converts a horizontal coordinate to a position in pixels.
      vertical: a function that converts a vertical coordinate to a position in pixels.
      dots: True to mark each point of the line with a dot.
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


def _join_svg(parts: list[Markup], width: int, height: int, title: str) -> Markup:
    """Join the pieces `parts` of SVG text to one picture.

    The picture has the given width and height in pixels, and a title for screen readers.
    """
    frame = Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
    )
    return frame.format(width, height, title) + Markup("").join(parts) + Markup("</svg>")
