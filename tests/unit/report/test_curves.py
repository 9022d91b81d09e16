"""Curves from the metrics log: every stage, not too many points, the checkpoints' scores beside them."""

from __future__ import annotations

import json
from itertools import pairwise

from mtd_ray import layout
from mtd_ray.objects import ObjectStore
from mtd_ray.report.curves import curves


def line(stage: str, step: int) -> dict[str, object]:
    parts = {"16/cosine": 1 / step, "16/cosine/alpha": 0.5}
    return {"stage": stage, "step": step, "steps": 900, "loss": 2 / step, "parts": parts,
            "learning_rate": 1e-3, "gradient_norm": 0.1, "tokens_per_s": 1e4, "wait_share": 0.0}  # fmt: skip


def write(store: ObjectStore, lines: list[dict[str, object]]) -> None:
    store.put(layout.run_metrics("run"), "".join(json.dumps(entry) + "\n" for entry in lines).encode())


def test_losses_and_rates_are_points_under_their_names(local_store: ObjectStore) -> None:
    write(local_store, [line("one", 10), line("one", 20), line("two", 10)])
    found = curves(local_store, "run")
    assert [(point.stage, point.step) for point in found] == [("one", 10), ("one", 20), ("two", 10)]
    assert found[1].values == {
        "loss": 0.1, "16/cosine": 0.05, "16/cosine/alpha": 0.5, "lr": 1e-3, "gradient_norm": 0.1, "tokens_per_s": 1e4,
    }  # fmt: skip


def test_long_stages_are_thinned_and_keep_their_ends(local_store: ObjectStore) -> None:
    write(local_store, [line("long", step) for step in range(1, 10_001)] + [line("short", step) for step in range(1, 4)])
    found = curves(local_store, "run")
    steps = [point.step for point in found if point.stage == "long"]
    assert (len(steps), steps[0], steps[-1]) == (300, 1, 10_000)
    assert max(b - a for a, b in pairwise(steps)) <= 34
    assert len(found) == 303


def test_scores_of_checkpoints_stand_at_their_step(local_store: ObjectStore) -> None:
    score = {"stage": "one", "step": 15, "scores": {"heldout": 0.7}}
    write(local_store, [line("one", 10), line("one", 20), score])
    assert [(point.step, point.values.get("evaluation/heldout")) for point in curves(local_store, "run")] == [
        (10, None), (15, 0.7), (20, None),
    ]  # fmt: skip


def test_no_log_no_curves(local_store: ObjectStore) -> None:
    assert curves(local_store, "run") == ()
