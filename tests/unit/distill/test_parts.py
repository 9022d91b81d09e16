"""A run in parts."""

from __future__ import annotations

import pytest

from mtd_ray.config import LastLayers, Recipe
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.parts import Part, parts_from
from mtd_ray.objects import ObjectStore
from tests.tiny_run import ALL_LOSSES, tiny_recipe

HEAD = Part(0, 0, 3, "heads")
UNFREEZING = [Part(1, 0, 3, "heads"), Part(1, 3, 6, LastLayers(last=1)), Part(1, 6, 10, "all")]


@pytest.fixture
def recipe(local_store: ObjectStore) -> Recipe:
    stage = {"heads": {16: ALL_LOSSES}, "lr": 1e-3, "batch_size": 8}
    progressive = {"progressive": ["heads", {"last": 1}, "all"]}
    stages = [
        stage | {"name": "head", "trainable": "heads", "steps": 3},
        stage | {"name": "unfreezing", "trainable": progressive, "steps": 10},
    ]
    return tiny_recipe(local_store, "unused", stages=stages)


@pytest.mark.parametrize(
    ("start", "left"),
    [
        (Position(), [(HEAD, 0), (UNFREEZING[0], 0), (UNFREEZING[1], 3), (UNFREEZING[2], 6)]),
        (Position(0, 2), [(HEAD, 2), (UNFREEZING[0], 0), (UNFREEZING[1], 3), (UNFREEZING[2], 6)]),
        (Position(0, 3), [(UNFREEZING[0], 0), (UNFREEZING[1], 3), (UNFREEZING[2], 6)]),
        (Position(1, 3), [(UNFREEZING[1], 3), (UNFREEZING[2], 6)]),
        (Position(1, 4), [(UNFREEZING[1], 4), (UNFREEZING[2], 6)]),
        (Position(1, 10), []),
    ],
)
def test_what_is_left_of_a_run(recipe: Recipe, start: Position, left: list[tuple[Part, int]]) -> None:
    assert list(parts_from(recipe, start)) == left


def test_a_progressive_stage_of_fewer_steps_than_parts_has_no_empty_parts(local_store: ObjectStore) -> None:
    trainable = {"progressive": ["heads", {"last": 1}, "all"]}
    stage = {"name": "short", "trainable": trainable, "heads": {16: ALL_LOSSES}, "lr": 1e-3, "steps": 2, "batch_size": 8}
    recipe = tiny_recipe(local_store, "unused", stages=[stage])
    assert all(part.begin < part.end for part, _ in parts_from(recipe, Position()))
