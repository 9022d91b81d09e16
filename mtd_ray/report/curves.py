"""The course of training, from the run's metrics log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from mtd_ray import layout
from mtd_ray.objects import ObjectStore
from mtd_ray.report.data import CurvePoint

_MOST_POINTS = 300
_NAMES = {"loss": "loss", "learning_rate": "lr", "gradient_norm": "gradient_norm", "tokens_per_s": "tokens_per_s"}

_Item = TypeVar("_Item")


def curves(store: ObjectStore, run: str) -> tuple[CurvePoint, ...]:
    """Logged steps by stage, in the order of training; empty without a log.

    Of each stage 300 steps at most, evenly taken, and as many of its checkpoints' scores: a point of values ``evaluation/TASK``.
    """
    lines = [json.loads(line) for line in (store.find(layout.run_metrics(run)) or b"").decode().splitlines()]
    found: list[CurvePoint] = []
    for stage in dict.fromkeys(line["stage"] for line in lines):
        of_stage = [line for line in lines if line["stage"] == stage]
        logged = _thinned([line for line in of_stage if "scores" not in line])
        scored = _thinned([line for line in of_stage if "scores" in line])
        found += sorted(_points((*logged, *scored)), key=lambda point: point.step)
    return tuple(found)


def _points(lines: Iterable[Mapping[str, Any]]) -> Iterable[CurvePoint]:
    for line in lines:
        if "scores" in line:
            values = {f"evaluation/{task}": score for task, score in line["scores"].items()}
        else:
            values = {name: line[key] for key, name in _NAMES.items()} | line["parts"]
        yield CurvePoint(line["stage"], line["step"], values)


def _thinned(lines: Sequence[_Item]) -> Sequence[_Item]:
    """The first, the last, and evenly taken ones between them."""
    if len(lines) <= _MOST_POINTS:
        return lines
    return [lines[index * (len(lines) - 1) // (_MOST_POINTS - 1)] for index in range(_MOST_POINTS)]
