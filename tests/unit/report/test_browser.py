"""The report in a real browser: on a phone and on a desktop, in light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from mtd_ray.config.evaluate import Requirements
from mtd_ray.report.content import Chart
from mtd_ray.report.html import page
from mtd_ray.report.sections import sections
from tests.unit.report.browser import Browser, browser
from tests.unit.report.fabricated import report

pytestmark = [
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no chromium and chromedriver on this machine"),
    pytest.mark.slow,
]
_DATA = report()
_SECTIONS = sections(_DATA, Requirements())
_CHARTS = {f"chart-{part.key}" for section in _SECTIONS for part in section.shown if isinstance(part, Chart)}
_VISIBLE = """
return Object.fromEntries([...document.querySelectorAll('figure')].map(figure => [figure.id,
    [...figure.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect()).filter(box => box.width > 0)
        .map(box => [box.width, box.height])]))
"""
_SMALLEST_TEXT = """
return Math.min(...[...document.querySelectorAll('svg text')].filter(text => text.getBoundingClientRect().width > 0)
    .map(text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))
"""
_OUTSIDE = """
const wide = document.documentElement.clientWidth
return [...document.querySelectorAll('svg text')].filter(text => text.getBoundingClientRect().width > 0)
    .filter(text => text.getBoundingClientRect().right > wide + 1 || text.getBoundingClientRect().left < -1)
    .map(text => text.textContent)
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "index.html").write_text(page(_DATA.title, "Run r", _SECTIONS), encoding="utf-8")
    with browser(folder / "profile") as found:
        found.open(folder / "index.html")
        yield found


@pytest.mark.parametrize("width", [360, 1200])
def test_every_chart_is_seen_and_nothing_is_cut(opened: Browser, width: int) -> None:
    opened.resize(width, 900)
    seen = opened.run(_VISIBLE)
    assert set(seen) == _CHARTS
    assert all(len(boxes) == 1 and min(boxes[0]) > 100 for boxes in seen.values()), seen
    assert opened.run("return document.documentElement.scrollWidth") <= width
    assert opened.run(_SMALLEST_TEXT) >= 10
    assert opened.run(_OUTSIDE) == []


def test_the_console_has_nothing_to_say(opened: Browser) -> None:
    assert [message for message in opened.messages() if message["level"] in ("SEVERE", "WARNING")] == []


def test_names_from_outside_are_text(opened: Browser) -> None:
    assert opened.run("return document.querySelectorAll('script').length") == 0
    assert "<script>alert" in opened.run("return document.querySelector('h1').textContent")


def test_charts_are_told_to_screen_readers(opened: Browser) -> None:
    told = opened.run(
        "return [...document.querySelectorAll('svg')].map(s => [s.getAttribute('role'), s.querySelector('desc').textContent])"
    )
    assert all(role == "img" and len(text) > 20 for role, text in told)
    ids = opened.run("return [...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) == len(set(ids))
