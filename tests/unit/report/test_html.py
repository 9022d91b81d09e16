"""The page: whole, escaped, with nothing from outside, and a reason for everything that is not there."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mtd_ray.config.evaluate import Requirements
from mtd_ray.evaluate.results import MeasuredTask, Results, Row
from mtd_ray.report.content import Chart
from mtd_ray.report.data import ReportData
from mtd_ray.report.html import page
from mtd_ray.report.sections import sections
from mtd_ray.report.sections.kept import kept
from tests.unit.report.fabricated import EVIL, report


class Seen(HTMLParser):
    """Tags, addresses and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def whole() -> str:
    return html(report())


def html(data: ReportData, require: Requirements | None = None) -> str:
    return page(data.title, "Run r", sections(data, require or Requirements()))


def test_answers_come_in_the_order_in_which_they_are_asked(whole: str) -> None:
    titles = re.findall(r"<h2[^>]*>([^<]*)<", whole)
    assert [title.split()[-1] for title in titles] == [
        "keep?", "size?", "task?", "length?", "target?", "go?", "cost?", "cost?", "requires?", "of?",
    ]  # fmt: skip


def test_nothing_comes_from_elsewhere(whole: str) -> None:
    seen = Seen(whole)
    assert not {"script", "iframe", "img", "object"} & set(seen.tags)
    assert all(not (value or "").startswith(("http", "//")) for _, value in seen.attributes)
    assert "url(" not in whole


def test_names_are_escaped_and_shown_whole(whole: str) -> None:
    assert "<script>" not in whole
    assert EVIL in Seen(whole).words


def test_headline_has_the_share_kept_with_its_interval(whole: str) -> None:
    words = Seen(whole).words
    assert "91.7 %of the best teacher, text-embedding-3-large, is retained95 % interval 91.0 to 92.3 %" in words
    assert "76.8 %of the way from the untrained student to the best teacher" in words
    assert "At 384 numbers int8 keeps 99.7 % in a quarter of the bytes" in words


def test_same_data_same_page(whole: str) -> None:
    assert html(report()) == whole


def test_missed_requirements_are_said_first(whole: str) -> None:
    words = Seen(whole).words
    assert words.index("2 requirements of the recipe not met.") < words.index("How much of each teacher")


def test_met_requirements_are_listed() -> None:
    words = Seen(html(replace(report(), gates=()), Requirements(retained=0.9, heads={256: 0.98}))).words
    assert "All requirements of the recipe are met." in words
    assert "head 256 has at least 98 % of the largest head's mean" in words


def test_what_was_not_measured_is_said() -> None:
    nothing = ReportData("t", Results("r", (), 8, ()))
    found = sections(nothing, Requirements())
    assert all(section.absent.endswith((".", ").")) for section in found)
    assert "svg" not in Seen(html(nothing)).tags


def _alone(*rows: Row) -> ReportData:
    return ReportData("t", Results("r", (MeasuredTask("mine", "Retrieval"),), 8, rows))


@pytest.mark.parametrize(
    "rows",
    [
        (Row("student", "student", 8, {"mine": 0.5}),),
        (Row("student", "student", 8, {"mine": 0.0}), Row("teacher", "t", 8, {"mine": 0.0})),
        (Row("student", "student", 8, {"mine": -0.1}), Row("untrained", "untrained", 8, {"mine": -0.2})),
        (Row("student", "student", 8, {"mine": 0.5}), Row("student", "student", 8, {"mine": 0.4}, "binary")),
        (Row("student", "student", 8, {"mine": math.nan}), Row("teacher", "t", 8, {"mine": math.nan})),
        (Row("student", "student", 8, {"mine": 1.0}), Row("teacher", "t", 8, {"mine": 1.0}, "float32", {"mine": (1.0, 1.0)})),
    ],
)
def test_small_and_odd_results_have_a_page(rows: tuple[Row, ...]) -> None:
    assert "svg" in Seen(html(_alone(*rows))).tags


def test_no_teacher_is_said() -> None:
    assert "No teacher was measured" in Seen(html(_alone(Row("student", "student", 8, {"mine": 0.5})))).words


def test_a_teacher_of_whom_nothing_can_be_said_has_no_mark() -> None:
    rows = (
        Row("student", "student", 8, {"mine": 0.5}),
        Row("teacher", "nil", 8, {"mine": 0.0}),
        Row("teacher", "t", 8, {"mine": 1.0}),
    )
    (chart,) = (part for part in kept(_alone(*rows)).shown if isinstance(part, Chart))
    assert "of nil (8) –" in chart.description
    circles = [found for element in chart.drawing.draw(1040.0)[1] for found in element.iter("circle")]
    assert len(circles) == 1


def test_what_is_explained_is_what_is_there() -> None:
    assert "float32." in Seen(html(_alone(Row("student", "student", 8, {"mine": 0.5})))).words
    kinds = (MeasuredTask("a", "Reranking"), MeasuredTask("b", "Summarization"), MeasuredTask("c", "Odd"), MeasuredTask("d", "STS"))
    row = Row("student", "student", 8, {task.name: 0.5 for task in kinds})
    words = Seen(html(ReportData("t", Results("r", kinds, 8, (row,))))).words
    assert "Spearman's rank correlation for Summarization and STS" in words
    assert "what the task itself calls its main score for Odd" in words
    assert "V-measure" not in words
    assert "binary" not in words
