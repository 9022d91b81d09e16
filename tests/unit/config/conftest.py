"""A sound recipe, which tests then change."""

from __future__ import annotations

from pathlib import Path

import pytest

SOUND = """
name: sound
storage: s3://bucket/prefix
corpus: {source: {format: docstrings}}
teachers:
  small: {provider: local, model: some/model, dimensions: 4}
  paid: {provider: openai, model: text-embedding-3-small, dimensions: 4, api_key: env:PAID_KEY}
student: {model: some/backbone, layers: [0, 2], heads: [8, 4]}
stages:
  - name: heads
    trainable: heads
    heads: {8: {cosine: 10, similarity: 200, ranking: 20}, 4: {similarity: 200}}
    lr: 1e-4
    steps: 5
    batch_size: 8
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "sound.yaml"
    path.write_text(SOUND)
    return path
