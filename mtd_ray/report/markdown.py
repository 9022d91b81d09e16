"""The report as Markdown: the same sections without the charts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mtd_ray.report.content import Figure, Section, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def markdown(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """One document for a terminal, a pull request or a mail."""
    blocks = [f"# {_escaped(title)}", _escaped(subtitle)]
    for section in sections:
        blocks += [f"## {_escaped(section.title)}", *_blocks(section)]
    return "\n\n".join(blocks) + "\n"


def _blocks(section: Section) -> Iterator[str]:
    if section.absent:
        yield _escaped(section.absent)
        return
    if section.figures:
        yield "\n".join(map(_figure, section.figures))
    yield from map(_escaped, section.text)
    if section.lines:
        yield "\n".join(f"- {_escaped(line)}" for line in section.lines)
    for part in section.shown:
        yield _table(part) if isinstance(part, Table) else f"**{_escaped(part.title)}.**"


def _figure(figure: Figure) -> str:
    detail = f" ({_escaped(figure.detail)})" if figure.detail else ""
    return f"- **{_escaped(figure.value)}** {_escaped(figure.label)}{detail}"


def _table(table: Table) -> str:
    rule = ["---" if index < table.left else "---:" for index in range(len(table.header))]
    lines = [_line(table.header), _line(rule, escape=False), *map(_line, table.rows)]
    return f"{_escaped(table.caption)}:\n\n" + "\n".join(lines)


def _line(cells: Sequence[str], *, escape: bool = True) -> str:
    return f"| {' | '.join(map(_escaped, cells) if escape else cells)} |"


def _escaped(text: str) -> str:
    """Texts from outside are shown, not obeyed; a line stays a line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
