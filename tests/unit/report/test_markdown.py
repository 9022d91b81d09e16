"""The same report for terminals and mails."""

from __future__ import annotations

from itertools import pairwise

from mtd_ray.config.evaluate import Requirements
from mtd_ray.markdown import escaped, table
from mtd_ray.report.markdown import markdown
from mtd_ray.report.sections import sections
from tests.unit.report.fabricated import report


def text() -> str:
    data = report()
    return markdown(data.title, "Run r", sections(data, Requirements()))


def test_figures_tables_and_missed_requirements_are_in_it() -> None:
    found = text()
    assert "- **91.7 %** of the best teacher, text-embedding-3-large, is retained (95 % interval 91.0 to 92.3 %)" in found
    assert "| student (default) | 384 | 1,536 | 68.40 |" in found
    assert "- head 256 has 97.4 %" in found


def test_every_table_has_as_many_cells_as_columns() -> None:
    rows = [line for line in text().replace(r"\|", "").splitlines() if line.startswith("|")]
    widths = {line: line.count("|") for line in rows}
    for before, line in pairwise(rows):
        if set(line) <= set("|-: "):
            assert widths[before] == widths[line]


def test_names_from_outside_are_not_obeyed() -> None:
    assert "<script>" not in text().replace(r"\<script\>", "")
    assert " *starred*" not in text()


def test_a_bar_in_a_cell_does_not_end_it_however_often_it_is_escaped() -> None:
    assert table(("a|b", "n"), [(escaped("x|y"), "1\n2")], left=1) == "| a\\|b | n |\n| --- | ---: |\n| x\\|y | 1 2 |"
