"""A tiny exported student, and the engine over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve.engine import Engine
from tests.tiny_export import tiny_export


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_export(tmp_path_factory.mktemp("export") / "tiny", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def engine(exported: Path) -> Engine:
    return Engine.load(exported, name="tiny", batch_tokens=64, device="cpu")
