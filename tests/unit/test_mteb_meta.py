"""The entry for the leaderboard is one that mteb itself takes."""

from __future__ import annotations

from typing import Any

import pytest

from mtd_ray.card.mteb_meta import LeaderboardEntry
from mtd_ray.config import StudentConfig

STUDENT = StudentConfig(model="acme/base", heads=(48, 8), default_head=8, max_tokens=99, prompts={"query": 'Find "it": '})


def entry(**changes: Any) -> LeaderboardEntry:
    given: dict[str, Any] = {
        "name": "me/small-1", "revision": "abc", "released": "2026-01-02", "student": STUDENT, "license": "mit",
        "parameters": 10_000_000,
    }  # fmt: skip
    return LeaderboardEntry(**given | changes)


@pytest.mark.parametrize(
    ("license_id", "trained_on"), [("mit", None), ("proprietary", ("SciFact",)), ("cc-by-nc-4.0", ()), (None, None)]
)
def test_mteb_takes_it(license_id: str | None, trained_on: tuple[str, ...] | None) -> None:
    pytest.importorskip("mteb")
    names: dict[str, Any] = {}
    source = entry(license=license_id, trained_on=trained_on, task_prompts={"query": 'Find "it": '}).python()
    exec(source, names)
    meta = names["small_1"]
    assert (meta.name, meta.revision, meta.max_tokens, meta.embed_dim) == ("me/small-1", "abc", 99, 8)
    assert meta.loader_kwargs == {"model_prompts": {"query": 'Find "it": '}}
    assert meta.training_datasets == (None if trained_on is None else set(trained_on))
    assert meta.license == (license_id if license_id in ("mit", "cc-by-nc-4.0") else "https://huggingface.co/me/small-1")
    assert meta.adapted_from == "acme/base"


def test_memory_is_that_of_the_stored_weights() -> None:
    assert [entry(dtype=dtype).fields()["memory_usage_mb"] for dtype in ("float32", "bfloat16")] == [38, 19]


def test_a_local_backbone_is_not_named() -> None:
    assert entry(student=STUDENT.model_copy(update={"model": "/home/me/base"})).fields()["adapted_from"] is None
