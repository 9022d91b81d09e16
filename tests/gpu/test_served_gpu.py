"""A served model on a GPU: packed texts get the vectors of padded ones, sizes are mixed, and the benchmark runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2Model

from mtd_ray.config import StudentConfig
from mtd_ray.encoder import Encoder, StudentEncoder
from mtd_ray.export import export_student
from mtd_ray.student import Student
from serve.engine.model import ServedModel
from tests.tiny_models import sentences, tiny_bert, tiny_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

PROJECT = Path(__file__).resolve().parents[2]
HEADS = (8, 16)
TEXTS = [*sentences(60), "array " * 200, "the"]


def bert(folder: Path) -> str:
    return tiny_bert(folder, hidden=128)


def qwen2(folder: Path) -> str:
    """With rows for the tokens that transformers adds to a tokenizer of Qwen2's."""
    return tiny_model(folder, Qwen2Model, Qwen2Config, hidden_size=128, num_key_value_heads=2, vocab_size=400)


def exported(folder: Path, tiny: Callable[[Path], str]) -> Path:
    student = Student.build(StudentConfig(model=tiny(folder / "base"), heads=HEADS, max_tokens=64), 0)
    export_student(student, folder / "student", card=None)
    return folder / "student"


@pytest.mark.parametrize("tiny", [bert, qwen2])
def test_packed_vectors_are_near_the_cpu_s_in_every_size(tmp_path: Path, tiny: Callable[[Path], str]) -> None:
    folder = exported(tmp_path, tiny)
    exact = StudentEncoder.load(folder, device="cpu").encode(TEXTS, heads=HEADS)
    model = ServedModel.load(folder, name="tiny", device="cuda", dtype="bfloat16", batch_tokens=256)
    assert model.packs
    sizes = [HEADS[row % 2] for row in range(len(TEXTS))]
    vectors = model.embed([model.cut(ids) for ids in model.tokenize(TEXTS)], sizes)
    for row, (vector, size) in enumerate(zip(vectors, sizes, strict=True)):
        expected = exact[size][row]
        assert float(vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)) > 0.99


@pytest.mark.parametrize("tiny", [bert, qwen2])
def test_evaluation_and_harvest_pack_too(tmp_path: Path, tiny: Callable[[Path], str]) -> None:
    folder = str(exported(tmp_path, tiny))
    encoder = Encoder.load(folder, max_tokens=None, device="cuda", dtype="bfloat16")
    assert encoder.packs
    padded = Encoder(Encoder.load(folder, max_tokens=None, device="cuda", dtype="bfloat16").model, packed=False)
    pairs = zip(encoder.encode(TEXTS), padded.encode(TEXTS), strict=True)
    cosines = [float(mine @ theirs / np.linalg.norm(mine) / np.linalg.norm(theirs)) for mine, theirs in pairs]
    assert min(cosines) > 0.995


def test_float32_is_padded_and_equal(tmp_path: Path) -> None:
    folder = exported(tmp_path, bert)
    model = ServedModel.load(folder, name="tiny", device="cuda")
    assert not model.packs
    expected = StudentEncoder.load(folder, device="cpu").encode(TEXTS, heads=[16])[16]
    np.testing.assert_allclose(
        model.embed([model.cut(ids) for ids in model.tokenize(TEXTS)], [16] * len(TEXTS)), expected, atol=1e-4
    )


@pytest.mark.parametrize("options", [[], ["--compile"]])
def test_the_benchmark_runs(options: list[str]) -> None:
    command = [sys.executable, "benchmarks/serve_gpu.py", "--tiny", "--seconds", "3", *options]
    output = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=600).stdout
    record = json.loads(output.splitlines()[-1])
    assert record["packed"]
    assert record["requests_per_second"] > 0
