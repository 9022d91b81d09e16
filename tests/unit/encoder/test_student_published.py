"""Folders whose config names code of their own: read without it where that gives the same vectors, refused where it may not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mtd_ray.config import StudentConfig
from mtd_ray.encoder import Encoder, StudentEncoder
from mtd_ray.errors import MtdError
from mtd_ray.export import export_student
from mtd_ray.student import Student
from tests.tiny_models import sentences, tiny_gte, tiny_qwen2

TEXTS = sentences(6)


def exported(model: str, folder: Path) -> Path:
    config = StudentConfig(model=model, max_tokens=32, heads=(8, 16), default_head=16)
    export_student(Student.build(config, seed=3), folder, card=None)
    return folder


def test_a_folder_like_the_published_400m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path / "cache"))
    published = tmp_path / "published"
    stock = exported(tiny_gte(published), tmp_path / "stock")
    for path in stock.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, published / path.name)
    assert json.loads((published / "config.json").read_text())["model_type"] == "new"
    expected = StudentEncoder.load(stock, device="cpu").encode(TEXTS, heads=(8, 16))
    for _ in range(2):  # built, then found
        found = StudentEncoder.load(published, device="cpu").encode(TEXTS, heads=(8, 16))
        for size in expected:
            np.testing.assert_allclose(found[size], expected[size], atol=1e-5)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_decoder_whose_own_code_decides_what_it_attends_to(tmp_path: Path) -> None:
    folder = exported(tiny_qwen2(tmp_path / "base"), tmp_path / "student")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("is_causal") is False
    named = config | {"auto_map": {"AutoModel": "modeling_qwen.Qwen2Model"}}
    path.write_text(json.dumps(named))
    with pytest.raises(MtdError, match=r'modeling_qwen\.Qwen2Model.*with "is_causal": false in config\.json'):
        Encoder.load(str(folder), max_tokens=None, device="cpu")
    path.write_text(json.dumps(named | {"is_causal": False}))
    expected = Encoder.load(str(folder), max_tokens=None, device="cpu").encode(TEXTS)
    path.write_text(json.dumps(config))  # a decoder without code of its own is what its config says: causal
    assert not np.allclose(Encoder.load(str(folder), max_tokens=None, device="cpu").encode(TEXTS), expected, atol=1e-3)
