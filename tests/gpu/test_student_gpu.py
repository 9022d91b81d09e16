"""The student on a GPU: packed texts get the vectors of padded ones, a large batch fits, and the benchmark runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mtd_ray.config import StudentConfig
from mtd_ray.distill.embed import embed_rows
from mtd_ray.student import Student, pad_tokens, tokenize
from tests.tiny_models import sentences, tiny_bert, tiny_qwen2

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

PROJECT = Path(__file__).resolve().parents[2]
MIB = 2**20


def build(kind: str, folder: Path, dtype: torch.dtype, **shape: int) -> Student:
    model = (tiny_bert if kind == "bert" else tiny_qwen2)(folder, **shape)
    student = Student.build(StudentConfig(model=model, heads=(8,), max_tokens=64), 0).to("cuda")
    for parameter in student.parameters():
        parameter.data = parameter.data.to(dtype)
    student.freeze("all", [8])
    return student


def padded_and_packed(student: Student) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Vectors, and the gradient of the word embeddings, both ways."""
    token_ids = tokenize(student.tokenizer, sentences(40), 64)
    ids = torch.tensor([token for row in token_ids for token in row], device="cuda")
    offsets = torch.tensor([0, *map(len, token_ids)]).cumsum(0).int().cuda()
    mask_and_ids = [tensor.cuda() for tensor in pad_tokens(student.tokenizer, token_ids)]
    found = []
    for pooled in (student.pool(*mask_and_ids), student.pool_packed(ids, offsets, 64)):
        (pooled @ pooled.T).square().mean().backward()
        weight = student.backbone.get_input_embeddings().weight
        found.append((pooled.detach(), weight.grad.float()))
        student.zero_grad()
    return found


@pytest.mark.parametrize("kind", ["bert", "qwen2"])
def test_packed_texts_get_the_vectors_and_gradients_of_padded_ones_in_float32(tmp_path: Path, kind: str) -> None:
    student = build(kind, tmp_path, torch.float32)
    assert not student.packs
    padded, packed = padded_and_packed(student)
    for mine, theirs in zip(packed, padded, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("kind", ["bert", "qwen2"])
def test_packed_texts_get_the_vectors_and_gradients_of_padded_ones_in_bfloat16(tmp_path: Path, kind: str) -> None:
    student = build(kind, tmp_path, torch.bfloat16)
    assert student.packs
    padded, packed = padded_and_packed(student)
    for mine, theirs in zip(packed, padded, strict=True):
        assert torch.nn.functional.cosine_similarity(mine.flatten(), theirs.flatten(), dim=0) > 0.999


def test_packing_is_chosen_and_a_batch_of_1024_takes_the_memory_of_a_pass(tmp_path: Path) -> None:
    student = build("qwen2", tmp_path, torch.bfloat16, layers=8, hidden=256)
    token_ids = [[5 + row % 7] * 60 for row in range(1024)]
    peaks = []
    for rows in (64, 1024):
        torch.cuda.reset_peak_memory_stats()
        states, computed = embed_rows(student, token_ids[:rows], 64 * 60)
        assert computed == rows * 60
        states.square().mean().backward()
        assert torch.isfinite(student.backbone.get_input_embeddings().weight.grad).all()
        student.zero_grad()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < peaks[0] + 64 * MIB


@pytest.mark.parametrize("options", [[], ["--compile"]])
def test_the_benchmark_runs(options: list[str]) -> None:
    command = [sys.executable, "benchmarks/gpu_student.py", "--tiny", "--steps", "2", *options]
    output = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=600).stdout
    record = json.loads(output.splitlines()[-1])
    assert set(record["stages"]) == {"everything", "last_3", "cached_trunk"}
    assert record["tokens_per_second"] > 0
