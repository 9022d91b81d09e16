"""Markdown that several documents are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")
_BAR = re.compile(r"(?<!\\)\|")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int | None = None) -> str:
    """A table. Cells are Markdown; a bar in one, or a new line, does not end it.

    Args:
        left: how many columns are words; the others are numbers, and stand right. All are words where it is left out.
    """
    words = len(header) if left is None else left
    rule = ["---" if index < words else "---:" for index in range(len(header))]
    return "\n".join((_line(header), f"| {' | '.join(rule)} |", *map(_line, rows)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return _BAR.sub(r"\|", " ".join(text.split()))


def escaped(text: str) -> str:
    """Texts from outside are shown, not obeyed; a line stays a line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """A text as code, between more backticks than it has in a row."""
    fence = "`" * (1 + max(map(len, re.findall(r"`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"
