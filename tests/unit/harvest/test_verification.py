"""What ``--verify`` tells a person."""

from __future__ import annotations

import pytest

from mtd_ray.errors import TargetError
from mtd_ray.harvest.verify import Verification, report, require_whole
from mtd_ray.targets.audit import Audit, Norms
from mtd_ray.teachers import TeacherError

WHOLE = Verification(
    "good", Audit(3, 1_200, 4, Norms(1_196, 0.99, 1.01, 1_196.0, 1_196.01)), pending=0, sampled=8, least_cosine=0.9999
)
DAMAGED = Verification(
    "bad", Audit(2, 800, 0, Norms(800, 1.0, 1.0, 800.0, 800.0), ["target part …/00002.json: damaged"]), pending=0
)


def test_a_line_per_teacher_with_counts_norms_and_the_least_cosine() -> None:
    header, good, bad, problem = report([WHOLE, DAMAGED]).splitlines()
    assert header.split() == ["teacher", "parts", "rows", "no", "vector", "problems", "norm", "least", "most", "cosine"]
    assert good.split() == ["good", "3", "1,200", "4", "0", "1", "±", "0.0029", "0.99", "1.01", "≥", "0.99990", "in", "8", "rows"]
    assert bad.split()[:5] == ["bad", "2", "800", "0", "1"]
    assert problem == "! target part …/00002.json: damaged"


def test_damage_ends_the_job() -> None:
    require_whole([WHOLE])
    with pytest.raises(TargetError, match="targets of bad are not in order"):
        require_whole([WHOLE, DAMAGED])


def test_an_unfinished_harvest_is_said_to_be_one() -> None:
    unfinished = Verification("slow", Audit(), pending=7)
    assert "7 parts are not harvested yet" in report([unfinished])
    with pytest.raises(TargetError, match="slow"):
        require_whole([unfinished])


def test_a_teacher_that_could_not_be_asked_is_not_reported_as_damage() -> None:
    silent = Verification("silent", WHOLE.found, pending=0, unasked="harvest.budget_usd reached")
    _, row, line = report([silent]).splitlines()
    assert row.split()[4] == "0"
    assert row.endswith("not asked")
    assert line == "? silent could not be asked: harvest.budget_usd reached"
    with pytest.raises(TeacherError, match="undamaged, but silent could not be asked"):
        require_whole([WHOLE, silent])
    with pytest.raises(TargetError, match="targets of bad are not in order"):
        require_whole([silent, DAMAGED])


def test_hundreds_of_problems_are_cut_short() -> None:
    lines = report([Verification("bad", Audit(problems=[f"part {number}" for number in range(80)]), pending=0)]).splitlines()
    assert len(lines) == 2 + 50 + 1
    assert lines[-1] == "! and 30 more"
