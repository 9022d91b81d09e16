"""What a report consists of, before it is HTML or Markdown: sections of words, figures, charts and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from xml.etree.ElementTree import Element


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first ``left`` columns are words, the others are numbers. ``strong`` are the numbers of stressed rows."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    strong: frozenset[int] = frozenset()


class Drawing(Protocol):
    """A chart that can be drawn at several widths."""

    def draw(self, width: float) -> tuple[float, list[Element]]:
        """Height, and what is in it, in units that are pixels where the chart is shown at its own width."""
        ...


@dataclass(frozen=True)
class Chart:
    """``key`` is unique in the report; ``title`` says what is seen; ``description`` says it to those who cannot see it.

    ``half``: two of these stand side by side where there is room.
    """

    key: str
    title: str
    description: str
    drawing: Drawing
    half: bool = False


@dataclass(frozen=True)
class Figure:
    """One number, large, with what it is and what it rests on."""

    value: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Section:
    """One question and its answer; ``key`` is unique in the report.

    ``absent`` says in one sentence why there is nothing to show; ``shown`` are charts and tables, each chart before the table that
    has its numbers; ``lines`` are a list; ``good`` colours the text (gates).
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    shown: tuple[Chart | Table, ...] = ()
    lines: tuple[str, ...] = ()
    good: bool | None = None
    absent: str = ""
