"""What the driver hears of the workers, whatever becomes of who tells it."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayError

from mtd_ray.distill import pipeline
from mtd_ray.distill.board import Board
from mtd_ray.errors import StorageError, TrainingError


def test_the_last_step_is_shown() -> None:
    board = Board()
    assert board.metrics() is None
    board.show({"step": 1})
    board.show({"step": 2})
    assert board.metrics() == {"step": 2}


def test_an_error_that_can_pass_is_history_when_the_next_attempt_begins() -> None:
    board = Board()
    board.begin()
    error = StorageError("the bucket is away")
    board.fail(error, over=False)
    assert (board.is_over(), board.ending()) == (False, (error, False))
    board.begin()
    assert board.ending() == (None, False)


def test_an_error_that_has_ended_the_run_is_kept_whatever_comes_after_it() -> None:
    board = Board()
    error = TrainingError("the loss is nan")
    board.fail(StorageError("the bucket is away"), over=False)
    board.fail(error, over=True)
    board.show({"step": 3})
    board.fail(StorageError("a worker has gone"), over=False)
    board.begin()
    assert (board.is_over(), board.ending()) == (True, (error, True))


def test_a_board_that_is_lost_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(ref: object) -> None:
        raise RayError(f"the actor of {ref} died")

    monkeypatch.setattr(pipeline.ray, "get", lost)
    board: Any = SimpleNamespace(ending=SimpleNamespace(remote=lambda: "ending"))
    assert pipeline._news(board.ending) is None


def test_the_board_needs_no_pytorch() -> None:
    script = "import sys, mtd_ray.distill.board; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
