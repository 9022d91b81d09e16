"""The report as one HTML page that needs nothing else: no network, no script; charts are SVG inside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from xml.etree.ElementTree import Element, tostring

from mtd_ray.report.content import Chart, Figure, Section, Table
from mtd_ray.report.markup import Child, extend, node

_WIDE, _HALF, _NARROW = 1040.0, 504.0, 328.0
_SHOWN_ROWS = 14
_LONG = 28
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page, light or dark as the reader's system is, for phones as for wide screens."""
    style = files("mtd_ray.report").joinpath("page.css").read_text(encoding="utf-8")
    head = node(
        "head",
        node("meta", charset="utf-8"),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("meta", name="color-scheme", content="light dark"),
        node("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        node("link", rel="icon", href="data:,"),
        node("title", title),
        node("style", style),
    )
    header = node("header", node("h1", title), node("p", subtitle, class_="run"), *_verdicts(sections), _contents(sections))
    body = node("body", header, node("main", *map(_section, sections)))
    text: str = tostring(node("html", head, body, lang="en"), encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n"


def _verdicts(sections: Sequence[Section]) -> list[Element]:
    """What was required comes first, for it decides whether the rest is read."""
    judged = [section for section in sections if section.good is not None]
    return [node("p", node("a", *section.text, href=f"#{section.key}", class_=_mood(section))) for section in judged]


def _contents(sections: Sequence[Section]) -> Element:
    links = [node("li", node("a", section.title, href=f"#{section.key}")) for section in sections if not section.absent]
    return node("nav", node("ul", *links), aria_label="Contents")


def _section(section: Section) -> Element:
    found = node(
        "section", node("h2", section.title, id=f"{section.key}-title"), id=section.key, aria_labelledby=f"{section.key}-title"
    )
    if section.absent:
        extend(found, node("p", section.absent, class_="absent"))
        return found
    if section.figures:
        extend(found, node("div", *map(_figure, section.figures), class_="figures"))
    extend(found, *(node("p", text, class_=_mood(section)) for text in section.text))
    if section.lines:
        extend(found, node("ul", *(node("li", line) for line in section.lines)))
    for kind, group in groupby(section.shown, key=type):
        drawn = [_chart(part) if isinstance(part, Chart) else _table(part) for part in group]
        extend(found, *([node("div", *drawn, class_="charts")] if kind is Chart else drawn))
    return found


def _mood(section: Section) -> str:
    return "note" if section.good is None else "good" if section.good else "bad"


def _figure(figure: Figure) -> Element:
    detail = [node("p", figure.detail, class_="detail")] if figure.detail else []
    return node("div", node("p", figure.value, class_="value"), node("p", figure.label, class_="what"), *detail, class_="figure")


def _chart(chart: Chart) -> Element:
    """Drawn twice, for wide and for narrow screens; the style sheet shows one, so that its text is never scaled to nothing."""
    widths = {"wide": _HALF if chart.half else _WIDE, "narrow": _NARROW}
    drawn = [_svg(chart, name, width) for name, width in widths.items()]
    caption = node("figcaption", node("h3", chart.title))
    return node("figure", caption, *drawn, id=f"chart-{chart.key}", class_="half" if chart.half else "full")


def _svg(chart: Chart, name: str, width: float) -> Element:
    height, elements = chart.drawing.draw(width)
    key = f"chart-{chart.key}-{name}"
    told = (node("title", chart.title, id=f"{key}-title"), node("desc", chart.description, id=f"{key}-desc"))
    return node(
        "svg", *told, *elements, class_=name, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc",
    )  # fmt: skip


def _table(table: Table) -> Element:
    """Scrolls sideways within itself, also by keyboard; long ones are folded."""
    head = node(
        "thead", node("tr", *(_cell("th", text, index < table.left, scope="col") for index, text in enumerate(table.header)))
    )
    body = node("tbody", *_rows(table))
    whole = node("table", head, body, aria_label=table.caption)
    scroll = node("div", whole, class_="scroll", tabindex="0", role="region", aria_label=table.caption)
    if len(table.rows) <= _SHOWN_ROWS:
        return node("div", node("p", table.caption, class_="caption"), scroll, class_="table")
    return node("details", node("summary", f"Table of {len(table.rows)} rows: {table.caption}"), scroll)


def _rows(table: Table) -> Iterator[Element]:
    for index, row in enumerate(table.rows):
        first, *rest = row
        cells: list[Child] = [_cell("th", first, words=True, scope="row")]
        cells += [_cell("td", text, place < table.left) for place, text in enumerate(rest, start=1)]
        yield node("tr", *cells, class_="strong" if index in table.strong else "")


def _cell(tag: str, text: str, words: bool, **attributes: str) -> Element:
    look = "number" if not words else "words" if len(text) <= _LONG else "words long"
    return node(tag, text, class_=look, **attributes)
