"""How the harvest of a teacher ends after an error."""

from __future__ import annotations

from mtd_ray.config import OpenAITeacher
from mtd_ray.harvest.pipeline import _let_end
from mtd_ray.harvest.worker import Receipt

TEACHER = OpenAITeacher(provider="openai", model="m", dimensions=2, workers=1, parts_in_flight=3)


def test_parts_under_way_are_waited_for_however_many_were_only_waiting() -> None:
    skipped = [Receipt("skipped", error="BudgetSpent", message="too dear")] * 50
    receipts = iter([*skipped, Receipt("committed", 4), *skipped, Receipt("error", error="BudgetSpent"), *skipped])
    _let_end(receipts, TEACHER)
    assert len(list(receipts)) == 50, "two were under way beside the one that failed"
