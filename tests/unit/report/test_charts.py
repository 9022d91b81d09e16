"""Scales, ticks and labels: where things go in a chart."""

from __future__ import annotations

from itertools import combinations

import pytest

from mtd_ray.report.charts.dots import Dot, DotRow, Dots
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.labels import Box, Labels, shortened, spread, wrapped
from mtd_ray.report.charts.scale import Scale, bounds, linear_ticks, log_ticks
from mtd_ray.report.charts.xy import XY, Point, Series


def test_scales_map_ends_to_ends() -> None:
    log = Scale(1, 10_000, 0, 400, log=True)
    assert [log(value) for value in (1, 100, 10_000)] == pytest.approx([0, 200, 400])
    assert Scale(0, 10, 300, 100)(5) == 200


def test_equal_values_still_have_a_range() -> None:
    for log, values in ((False, [0.0]), (False, [-3.0, -3.0]), (True, [7.0])):
        low, high = bounds(values, log=log, margin=0.1)
        assert low < values[0] < high


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (63.2, 75.9), (-0.003, 0.0021), (0.0, 123_456.0)])
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    ticks = linear_ticks(low, high, 5)
    assert 2 <= len(ticks) <= 6
    assert all(low <= value <= high for value, _ in ticks)
    assert all(float(text.replace(",", "")) == pytest.approx(value, abs=1e-12) for value, text in ticks)


def test_log_ticks_cover_any_range() -> None:
    assert [text for _, text in log_ticks(0.5, 30, 6)] == ["0.5", "1", "2", "5", "10", "20"]
    assert len(log_ticks(1e-6, 1e6, 5)) <= 5


def test_labels_of_near_points_do_not_cover_each_other() -> None:
    labels = Labels(Box(0, 0, 400, 300))
    places = [(200.0, 150.0), (205.0, 152.0), (210.0, 148.0), (200.0, 156.0)]
    for place in places:
        labels.keep_free(place)
    for place in places:
        labels.put("a name 12.3", place, "teacher")
    assert all(not one.overlap(other) for one, other in combinations(labels.taken[len(places) :], 2))


def test_label_stays_in_the_chart() -> None:
    labels = Labels(Box(0, 0, 200, 100))
    labels.put("long label 12.3", (198.0, 50.0), "student")
    assert labels.taken[-1].x1 <= 200


def test_long_names_lose_their_middle() -> None:
    assert shortened("text-embedding-3-large", 80) == "text-…large"
    assert shortened("short", 80) == "short"


def test_titles_wrap() -> None:
    assert wrapped("one two three", 30) == ["one", "two", "three"]
    assert wrapped("one two three", 1000) == ["one two three"]


def test_end_labels_are_moved_apart_and_stay_inside() -> None:
    places = spread([90.0, 91.0, 99.0], 14, 0, 100)
    assert places == [72.0, 86.0, 100.0]


@pytest.mark.parametrize("width", [328.0, 504.0, 1040.0])
def test_marks_are_inside_the_chart(width: float) -> None:
    points = tuple(Point(x, y, "tip", "label", y - 1, y + 1) for x, y in ((10.0, 1.0), (3000.0, 99.0)))
    xy = XY(Axis("x", log=True), Axis("y"), (Series("student", points, line=True),), reference=50.0)
    dots = Dots(Axis("x"), (DotRow("name", (Dot(3.0, "student", "tip", low=1.0, high=9.0),), "3 %"),), reference=10.0)
    for drawing in (xy, dots):
        height, elements = drawing.draw(width)
        circles = [element for group in elements for element in group.iter("circle")]
        assert circles
        assert all(0 < float(one.get("cx", "")) < width and 0 < float(one.get("cy", "")) < height for one in circles)


def test_many_labels_become_letters_on_a_phone_only() -> None:
    heads = tuple(Point(2.0**place, 50.0 + place, "tip", f"{place}.0", minor=0 < place < 4) for place in range(5))
    models = (Series("teacher", (Point(20.0, 60.0 + place, "tip", f"model {place}"),), keyed=True) for place in range(4))
    chart = XY(Axis("x", log=True), Axis("y"), (Series("student", heads, line=True), *models))

    def texts(width: float) -> list[str]:
        return [found.text or "" for element in chart.draw(width)[1] for found in element.iter("text") if found.get("text-anchor")]

    assert {"model 0", "2.0"} <= set(texts(1040.0))
    assert {"A", "B", "C", "D", "0.0", "4.0"} <= set(texts(328.0))
    assert not {"model 0", "2.0"} & set(texts(328.0))
