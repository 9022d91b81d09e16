"""Markdown that several parts of a card are made of."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def points(share: float | None) -> str:
    """A score from 0 to 1 as people write it: 0 to 100; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.2f}"


def percent(share: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f} %"
