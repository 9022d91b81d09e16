"""A tiny exported student, and an engine over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.engine.engine import Engine
from serve.engine.limits import Limits
from serve.engine.model import ServedModel
from tests.tiny_export import tiny_export


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_export(tmp_path_factory.mktemp("export") / "tiny", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def tiny(exported: Path) -> ServedModel:
    return ServedModel.load(exported, name="tiny", device="cpu", batch_tokens=64)


@pytest.fixture(scope="session")
def engine(tiny: ServedModel) -> Iterator[Engine]:
    engine = Engine({"tiny": tiny}, limits=Limits())
    yield engine
    engine.close()
