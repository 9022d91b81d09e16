"""Small recipes, sources and an installed distribution to read docstrings from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray.config import Recipe

MakeRecipe = Callable[..., Recipe]
WriteParquet = Callable[..., str]
Install = Callable[..., None]
WORDS = ["amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath", "islet", "jetty"]


def module_source(number: int, functions: int = 3) -> str:
    """Python source with that many documented functions; what they say differs from every other number's."""
    return "\n".join(
        f'def f{index}():\n    """Describe the {WORDS[number]} of kind {WORDS[index]} here.\n\n'
        f"    In the {WORDS[number]} there is a {WORDS[index]} which nobody has described before, and it is kept for all of us.\n"
        f'    """\n'
        for index in range(functions)
    )


@pytest.fixture
def make_recipe() -> MakeRecipe:
    """A recipe with the given source; further keywords go to ``corpus``, ``evaluate`` and ``seed``."""

    def make(source: dict[str, Any], *, evaluate: dict[str, Any] | None = None, seed: int = 0, **corpus: Any) -> Recipe:
        return Recipe.model_validate(
            {
                "name": "small",
                "storage": "/unused",
                "seed": seed,
                "corpus": {"source": source, **corpus},
                "teachers": {"t": {"provider": "local", "model": "m", "dimensions": 4}},
                "student": {"model": "m", "heads": (4,)},
                "stages": ({"name": "s", "heads": {4: {"cosine": 1.0}}, "lr": 1e-3, "steps": 1, "batch_size": 2},),
                "evaluate": evaluate or {},
            }
        )

    return make


@pytest.fixture
def write_parquet(tmp_path: Path) -> WriteParquet:
    """Write columns to a Parquet file and return its path."""

    def write(name: str = "texts.parquet", **columns: Any) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, row_group_size=3)
        return str(path)

    return write


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution: file names and their source."""

    def make(name: str, files: dict[str, str]) -> None:
        site = tmp_path / f"site-{name}"
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        for file, source in files.items():
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).write_text(source)
        (info / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in [*files, "gone.py", "../../bin/tool.py"]))
        monkeypatch.syspath_prepend(str(site))

    return make
