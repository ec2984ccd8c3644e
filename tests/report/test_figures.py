import re
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from jaxlabel.report import axes, confusion, figures


def test_sheet_puts_the_images_in_rows_two_pixels_apart():
    images = np.arange(1, 6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 1), np.uint8)
    page = figures.sheet(images)
    assert page.shape == (2 * 5 - 2, 3 * 6 - 2, 1)
    assert [page[5 * (i // 3), 6 * (i % 3), 0] for i in range(5)] == [1, 2, 3, 4, 5]
    assert page[3:5].sum() == 0 and page[:, 4:6].sum() == 0
    assert page.astype(int).sum() == images.astype(int).sum()


def test_empty_confusion_cells_are_transparent():
    pixels = confusion.confusion_pixels(np.array([[4, 0], [1, 1]]))
    np.testing.assert_array_equal(pixels[..., 3], [[255, 0], [168, 168]])  # 255 * .5 ** .6
    assert tuple(pixels[0, 0, :3]) == confusion.GREEN and tuple(pixels[1, 0, :3]) == confusion.RED


@pytest.mark.parametrize("k", [1, 10, 60])
def test_confusion_figure_of_few_and_many_classes(k):
    picture = confusion.confusion_figure(np.eye(k, dtype=int) * 3, ["日本"] * k)
    assert picture.ndim == 3 and picture.dtype == np.uint8
    greens = (picture == confusion.GREEN).all(axis=-1).sum()
    cell = 44 if k <= 20 else max(4, 880 // k)
    assert 0.6 * k * cell**2 < greens <= k * cell**2


def points(chart):
    path = re.search(r'class="line s0" d="M([^"]*)"', chart)[1]
    return np.array([[float(v) for v in point.split()] for point in path.split("L")])


def test_line_chart_puts_equal_ratios_at_equal_distances():
    series = figures.Series("a", [2, 4, 8, 16], [0.0, 0.5, 0.75, 1.0])
    x, y = points(figures.line_chart([series], "labels", "title", log_x=True)).T
    np.testing.assert_allclose(np.diff(x), np.diff(x)[0], atol=0.15)
    np.testing.assert_allclose((y[0] - y) / (y[0] - y[-1]), series.y, atol=0.01)
    assert x[0] == figures.LEFT and x[-1] == figures.LARGE[0] - figures.RIGHT


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [3.0, 3.0, 3.0], [-1e-9, 1e9]])
def test_line_chart_draws_within_its_frame(values):
    series = figures.Series("a", list(range(len(values))), values)
    chart = figures.line_chart([series], "step", "<title>", dots=True)
    x, y = points(chart).T
    assert np.all((x >= 0) & (x <= figures.LARGE[0]) & (y >= 0) & (y <= figures.LARGE[1]))
    assert "&lt;title&gt;" in chart and "<title>&lt;" not in chart
    ticks = [float(v) for v in re.findall(r'<text x="([\d.-]+)" y="246"', chart)]
    assert ticks and min(ticks) >= 0 and max(ticks) <= figures.LARGE[0]


def test_panels_have_equal_axes():
    low, high = figures.Series("low", [1, 2], [0.0, 0.1]), figures.Series("<high>", [1, 4], [0, 9])
    other = figures.Series("other", [2, 3], [0.0, 0.2])
    page = str(figures.panels([low, high, other], "labels", "title", dots=True))
    firsts = re.findall(r'class="line s0" d="([^"]*)"', page)
    assert len(firsts) == 2 and firsts[0] == firsts[1]
    assert (points(page) != points(figures.line_chart([low], "labels", "t"))).any()
    assert len(re.findall(r'class="line s1"', page)) == 2 and "&lt;high&gt;</text>" in page
    long = figures.Series("a" * 20 + "b" * 20, [2, 3], [0.0, 0.2])
    assert f">{'a' * 18}…{'b' * 18}</text>" in figures.panels([low, long], "labels", "title")
    named = str(figures.with_legend(Markup(page), ["low", "a <long> name " * 20, "the last"]))
    places = re.findall(r'<circle class="s\d" cx="(\d+)" cy="(\d+)" r="5"/>', named)
    assert places == [("52", "250"), ("52", "270"), ("52", "290")] and "a &lt;long&gt;" in named
    assert ElementTree.fromstring(named).get("viewBox") == "0 0 680 304"  # well formed


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.12, 0.13), (7, 7), (0, 0), (-3e6, 5e6)])
def test_ticks_enclose_the_range_with_few_round_numbers(low, high):
    ticks = axes.ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 8
    np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_scatter_escapes_names_and_draws_every_point():
    places = np.random.default_rng(0).normal(size=(40, 2))
    labels = np.arange(40) % 3 - 1
    chart = figures.scatter(places, labels, ["<i>", "b"], ["#111", "#222"], "map")
    assert chart.count("h0") == 40 and "&lt;i&gt;" in chart and 'stroke="#999"' in chart
