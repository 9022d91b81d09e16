"""Rows of words under a header, in columns: what a person reads on a terminal or in a log."""

from __future__ import annotations

import math
from collections.abc import Sequence


def dollars(usd: float) -> str:
    """Dollars as a person reads them: cents, or three digits where cents would say nothing, down to a millionth."""
    decimals = 2 if usd >= 0.1 or usd <= 0 else min(6, 2 - math.floor(math.log10(usd)))
    return f"${usd:,.{decimals}f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row; the first column is left, the others right; columns that are empty below the header are left out."""
    header, *body = rows
    shown = [column for column in range(len(header)) if any(row[column] for row in body)]
    widths = {column: max(len(row[column]) for row in rows) for column in shown}
    return ["  ".join(_cell(row[column], column, widths[column]) for column in shown).rstrip() for row in rows]


def _cell(text: str, column: int, width: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(width)
