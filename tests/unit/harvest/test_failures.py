from __future__ import annotations

import numpy as np
import pytest

from mtd_ray import layout
from mtd_ray.corpus import Manifest
from mtd_ray.harvest.failures import FailureLimit, reopen_failed_parts, require_few_failures
from mtd_ray.harvest.plan import Plan, plan_harvest
from mtd_ray.harvest.totals import Totals, commit_keys, read_commits
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, write_part
from mtd_ray.teachers import TeacherError
from tests.tiny_corpus import tiny_recipe, tiny_texts, write_corpus

TEACHER = {"provider": "openai", "model": "m", "dimensions": 2}


@pytest.fixture
def manifest(local_store: ObjectStore) -> Manifest:
    return write_corpus(local_store, tiny_texts(8), shard_rows=8)


def plan_of(store: ObjectStore, manifest: Manifest) -> Plan:
    (plan,) = plan_harvest(store, tiny_recipe(store, {"paid": TEACHER}, part_rows=4), manifest, ["paid"])
    return plan


def commit(store: ObjectStore, plan: Plan, part: Part, *failed: int) -> str:
    """Commit a part with these rows failed; the commit's key."""
    ids = [f"t{row}" for row in range(part.start, part.stop)]
    vectors, failures = np.ones((part.rows, 2), np.float32), dict.fromkeys(failed, "HTTP 400: too long")
    assert write_part(store, plan.fingerprint, part, ids, vectors, failures, tokens=1, requests=1, seconds=0.1)
    return layout.part_commit(plan.fingerprint, part.shard.sha256, part.index)


def test_too_many_failed_rows_are_an_error_with_examples(local_store: ObjectStore, manifest: Manifest) -> None:
    plan = plan_of(local_store, manifest)
    keys = [commit(local_store, plan, part, 2) for part in plan.parts]
    totals = Totals.of(read_commits(local_store, commit_keys(plan.fingerprint, plan.parts)))
    assert [key for key, _ in totals.examples] == keys
    require_few_failures(local_store, "paid", totals, rows=8, max_share=0.25)
    with pytest.raises(TeacherError) as caught:
        require_few_failures(local_store, "paid", totals, rows=8, max_share=0.2)
    message = str(caught.value)
    assert "2 of 8 texts (25.0%)" in message
    assert "row t2: HTTP 400: too long" in message
    assert "row t6: HTTP 400: too long" in message
    assert "harvest.max_failed_share" in message
    assert all(key in message for key in keys)


def test_the_limit_is_passed_as_soon_as_the_share_of_all_rows_is(local_store: ObjectStore, manifest: Manifest) -> None:
    limit = FailureLimit(local_store, plan_of(local_store, manifest), max_share=0.25)
    assert [limit.passed_by(failed) for failed in (0, 2, 0, 1)] == [False, False, False, True]


def test_failed_rows_of_an_earlier_harvest_count(local_store: ObjectStore, manifest: Manifest) -> None:
    plan = plan_of(local_store, manifest)
    key = commit(local_store, plan, plan.parts[0], 1, 3)
    limit = FailureLimit(local_store, plan_of(local_store, manifest), max_share=0.25)
    assert limit.passed_by(1)
    message = str(limit.error())
    assert "2 of 8 texts" in message, "of what is committed"
    assert f'1 commits with "failed_rows" above 0, the first of them\n  {key}' in message


def test_a_limit_that_is_passed_already_lets_nothing_start_until_the_commits_are_deleted(
    local_store: ObjectStore, manifest: Manifest
) -> None:
    plan = plan_of(local_store, manifest)
    key = commit(local_store, plan, plan.parts[1], 0, 1, 2)
    with pytest.raises(TeacherError, match="3 of 8 texts"):
        FailureLimit(local_store, plan_of(local_store, manifest), max_share=0.25)
    local_store.delete(key)
    again = plan_of(local_store, manifest)
    assert again.pending == plan.parts
    assert not FailureLimit(local_store, again, max_share=0.25).passed_by(0)


def test_failed_rows_are_asked_again_only_when_that_is_wanted(local_store: ObjectStore, manifest: Manifest) -> None:
    plan = plan_of(local_store, manifest)
    commit(local_store, plan, plan.parts[0])
    commit(local_store, plan, plan.parts[1], 0, 2)
    plan = plan_of(local_store, manifest)
    assert plan.pending == []
    assert reopen_failed_parts(local_store, plan) == 1
    again = plan_of(local_store, manifest)
    assert again.pending == plan.parts[1:]
    assert not FailureLimit(local_store, again, max_share=0.01).passed_by(0)
    assert reopen_failed_parts(local_store, again) == 0


def test_of_two_names_for_one_teacher_each_part_is_reopened_once(local_store: ObjectStore, manifest: Manifest) -> None:
    commit(local_store, plan_of(local_store, manifest), plan_of(local_store, manifest).parts[0], 1)
    recipe = tiny_recipe(local_store, {"paid": TEACHER, "again": TEACHER}, part_rows=4)
    plans = plan_harvest(local_store, recipe, manifest, ["paid", "again"])
    assert [reopen_failed_parts(local_store, plan) for plan in plans] == [1, 0]
