"""The newest checkpoints stay, and the best."""

from __future__ import annotations

import json

import pytest

from mtd_ray import layout
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.checkpoints.retention import kept, read_scores
from mtd_ray.objects import ObjectStore
from tests.tiny_checkpoint import committed

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


@pytest.mark.usefixtures("single_process_group")
def test_what_does_not_stay_is_deleted_with_what_was_never_committed(local_store: ObjectStore) -> None:
    left_over = f"{layout.checkpoint_attempt('run', 0, 3, 'dead')}/weights.safetensors"
    twice = f"{layout.checkpoint_attempt('run', 0, 8, 'dead')}/weights.safetensors"
    for key in (left_over, twice):
        local_store.put(key, b"")
    for position in STEPS:
        committed(local_store, position, keep=2)
        if position.step == 4:
            local_store.put(layout.checkpoint_score("run", 0, 4), json.dumps({"mean": 0.5, "scores": {"docs": 0.5}}).encode())
    keys = [info.key for info in local_store.list("runs")]
    assert {key.split("/")[3] for key in keys} == {"00-00000004", "00-00000006", "00-00000008"}
    assert not {left_over, twice} & set(keys)
    assert read_scores(local_store, "run") == {Position(0, 4): {"mean": 0.5, "scores": {"docs": 0.5}}}
