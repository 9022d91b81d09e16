"""An exported student of a few kilobytes, in the layout that is served."""

from __future__ import annotations

from pathlib import Path

from mtd_ray.config import StudentConfig
from mtd_ray.export import export_student
from mtd_ray.student import Student
from tests.tiny_models import tiny_bert

HEADS = (16, 48)
DEFAULT_HEAD = 48
MAX_TOKENS = 32
PROMPTS = {"query": "find the "}


def tiny_export(folder: Path, scratch: Path, *, seed: int = 13) -> Path:
    """Write an untrained student to ``folder``; returns it. ``scratch`` takes its backbone, ``seed`` decides its heads."""
    config = StudentConfig(model=tiny_bert(scratch), heads=HEADS, default_head=DEFAULT_HEAD, max_tokens=MAX_TOKENS, prompts=PROMPTS)
    export_student(Student.build(config, seed=seed), folder, card=None)
    return folder
