"""Vectors of a task's texts on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mtd_ray.evaluate.measuring.embedded import EmbeddedTexts
from mtd_ray.evaluate.models.base import Asked


class Numbers:
    """Every text is a number, and so is its vector."""

    sizes = (2,)

    def prompt(self, asked: Asked) -> str:
        return ""

    def encode(self, texts: Any, asked: Asked) -> Any:
        return {2: np.asarray([[float(text), 1.0] for text in texts], np.float32)}


def on_disk(array: Any) -> bool:
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


def test_texts_in_the_order_they_came_are_read_from_the_file(tmp_path: Path) -> None:
    encoder: Any = Numbers()
    texts = EmbeddedTexts(encoder, Asked("t", "Classification", None), tmp_path, (2,))
    rows = texts.rows(["5", "6", "7"])
    found = texts.vectors(2, rows)
    assert on_disk(found)
    assert found[:, 0].tolist() == [5, 6, 7]
    found[:] = 0
    assert texts.vectors(2, texts.rows(["7", "5", "7"]))[:, 0].tolist() == [7, 5, 7], "what is written stays with its writer"
