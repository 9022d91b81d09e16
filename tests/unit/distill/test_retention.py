"""The newest checkpoints stay, and the best."""

from __future__ import annotations

import pytest

from mtd_ray import layout
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.checkpoints.retention import kept, read_scores, sweep, sweep_finished
from mtd_ray.objects import ObjectStore
from tests.tiny_checkpoint import aged, committed, scored, unfinished

STEPS = [Position(0, step) for step in (2, 4, 6, 8)]


@pytest.mark.parametrize(
    ("scores", "stays"),
    [
        ({}, {6, 8}),
        ({2: 0.5, 4: 0.7, 6: 0.6}, {4, 6, 8}),
        ({2: 0.7, 4: 0.7}, {4, 6, 8}),
        ({8: 0.9}, {6, 8}),
    ],
)
def test_newest_and_best(scores: dict[int, float], stays: set[int]) -> None:
    found = kept(STEPS, {Position(0, step): score for step, score in scores.items()}, newest=2)
    assert {position.step for position in found} == stays


def folders(store: ObjectStore) -> set[str]:
    return {info.key.split("/")[3] for info in store.list("runs")}


@pytest.mark.usefixtures("single_process_group")
def test_what_does_not_stay_is_deleted_with_what_was_never_committed(local_store: ObjectStore) -> None:
    left_over = {unfinished(local_store, Position(0, step), hours=3) for step in (3, 8)}
    score = {}
    for position in STEPS:
        committed(local_store, position, keep=2)
        if position.step == 4:
            score = scored(local_store, position, 0.5)
    assert folders(local_store) == {"00-00000004", "00-00000006", "00-00000008"}
    assert not left_over & {info.key for info in local_store.list("runs")}
    assert read_scores(local_store, "run") == {Position(0, 4): score}


@pytest.mark.usefixtures("single_process_group")
def test_what_another_attempt_is_still_writing_stays_until_the_run_is_finished(local_store: ObjectStore) -> None:
    written = {unfinished(local_store, Position(0, step), hours=1) for step in (3, 8)}
    for position in STEPS:
        committed(local_store, position, keep=2)
    assert written <= {info.key for info in local_store.list("runs")}
    sweep_finished(local_store, "run", 1)
    assert folders(local_store) == {"00-00000008"}
    assert not written & {info.key for info in local_store.list("runs")}


@pytest.mark.usefixtures("single_process_group")
def test_a_checkpoint_that_is_being_scored_stays_for_an_hour_at_most(local_store: ObjectStore) -> None:
    marker = layout.checkpoint_scoring("run", 0, 2)
    committed(local_store, Position(0, 2), keep=1)
    local_store.put(marker, b"{}")
    committed(local_store, Position(0, 4), keep=1)
    assert folders(local_store) == {"00-00000002", "00-00000004"}
    aged(local_store, marker, hours=1.1)
    committed(local_store, Position(0, 6), keep=1)
    assert folders(local_store) == {"00-00000006"}


@pytest.mark.usefixtures("single_process_group")
def test_a_score_that_came_after_its_checkpoint_was_swept_does_not_stay(local_store: ObjectStore) -> None:
    local_store.put(layout.checkpoint_score("run", 0, 2), b"{}")
    committed(local_store, Position(0, 4))
    assert folders(local_store) == {"00-00000004"}


@pytest.mark.usefixtures("single_process_group")
def test_a_checkpoint_does_not_inherit_the_score_of_one_that_was_deleted_by_hand(local_store: ObjectStore) -> None:
    position = Position(0, 4)
    committed(local_store, position)
    score = scored(local_store, position, 0.9)
    assert read_scores(local_store, "run") == {position: score}
    local_store.delete(layout.checkpoint_commit("run", 0, 4))
    local_store.create(layout.checkpoint_commit("run", 0, 4), b'{"attempt": "the next"}')
    assert read_scores(local_store, "run") == {}


@pytest.mark.usefixtures("single_process_group")
@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"mean": null}'])
def test_a_damaged_score_is_none_and_a_damaged_commit_keeps_its_files(local_store: ObjectStore, damage: bytes) -> None:
    for position in STEPS[:2]:
        committed(local_store, position)
    local_store.put(layout.checkpoint_score("run", 0, 2), damage)
    local_store.put(layout.checkpoint_commit("run", 0, 4), damage)
    assert sweep(local_store, "run", 1, finished=True) == {}
    assert folders(local_store) == {"00-00000004"}
    assert len(list(local_store.list("runs"))) == 4
