"""Who gets which version of a model."""

from __future__ import annotations

from collections import Counter

import pytest

from serve.options import ModelOptions, VersionOptions
from serve.versions import Versions

FLOWS = [f"flow-{number}" for number in range(4_000)]


def student(**shares: float) -> Versions:
    versions = tuple(VersionOptions(name=name, folder=f"/students/{name}", share=share) for name, share in shares.items())
    return Versions([ModelOptions(name="student", versions=versions), ModelOptions(folder="/students/other")])


def test_shares_are_kept() -> None:
    given = Counter(student(A=9, B=1).choose("student", flow) for flow in FLOWS)
    assert given["student@B"] == pytest.approx(0.1 * len(FLOWS), rel=0.15)
    assert set(given) == {"student@A", "student@B"}


def test_a_flow_keeps_its_version_in_every_process() -> None:
    """Replicas must agree, today's with tomorrow's: these are what the hash gives, not what a process happened to draw."""
    chosen = [student(A=1, B=1).choose("student", flow) for flow in FLOWS[:6]]
    assert chosen == ["student@B", "student@A", "student@B", "student@A", "student@A", "student@B"]


def test_a_larger_share_takes_flows_from_the_other_version_and_moves_none_back() -> None:
    before, after = student(A=9, B=1), student(A=7, B=3)
    moved = {
        (before.choose("student", flow), after.choose("student", flow))
        for flow in FLOWS
        if before.choose("student", flow) != after.choose("student", flow)
    }
    assert moved == {("student@A", "student@B")}


def test_who_is_not_known_gets_the_version_of_the_largest_share() -> None:
    assert student(A=1, B=2).choose("student", "") == "student@B"


def test_a_model_without_versions_answers_to_its_name() -> None:
    assert student(A=1).choose("other", "flow") == "other"
