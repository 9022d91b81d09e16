"""The report as Markdown: the same sections without the charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mtd_ray.markdown import escaped, table
from mtd_ray.report.content import Figure, Section, Table


def markdown(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """One document for a terminal, a pull request or a mail."""
    blocks = [f"# {escaped(title)}", escaped(subtitle)]
    for section in sections:
        blocks += [f"## {escaped(section.title)}", *_blocks(section)]
    return "\n\n".join(blocks) + "\n"


def _blocks(section: Section) -> Iterator[str]:
    if section.absent:
        yield escaped(section.absent)
        return
    if section.figures:
        yield "\n".join(map(_figure, section.figures))
    yield from map(escaped, section.text)
    if section.lines:
        yield "\n".join(f"- {escaped(line)}" for line in section.lines)
    for part in section.shown:
        yield _table(part) if isinstance(part, Table) else f"**{escaped(part.title)}.**"


def _figure(figure: Figure) -> str:
    detail = f" ({escaped(figure.detail)})" if figure.detail else ""
    return f"- **{escaped(figure.value)}** {escaped(figure.label)}{detail}"


def _table(shown: Table) -> str:
    rows = [tuple(map(escaped, row)) for row in (shown.header, *shown.rows)]
    return f"{escaped(shown.caption)}:\n\n" + table(rows[0], rows[1:], left=shown.left)
