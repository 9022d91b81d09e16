"""Rows are embedded the same in one pass and in many, also when a worker has fewer rows than passes."""

from pathlib import Path

import pytest
import torch

from mtd_ray.config import StudentConfig
from mtd_ray.distill import embed
from mtd_ray.distill.embed import embed_rows
from mtd_ray.student import Student, tokenize
from tests.tiny_models import sentences, tiny_bert


@pytest.fixture
def student(tmp_path: Path) -> Student:
    return Student.build(StudentConfig(model=tiny_bert(tmp_path), heads=(8,), max_tokens=32), 0)


def test_many_short_rows_are_embedded_with_less_padding_and_to_the_same_states(student: Student) -> None:
    token_ids = tokenize(student.tokenizer, sentences(48), 32)
    together, padded = embed_rows(student, token_ids, 100_000)
    alone = torch.cat([embed_rows(student, [ids], 100_000)[0] for ids in token_ids])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert sum(map(len, token_ids)) <= padded < 48 * max(map(len, token_ids))


def test_a_worker_with_fewer_rows_than_passes_joins_in_all_of_them(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    token_ids = tokenize(student.tokenizer, sentences(2), 32)
    expected, _ = embed_rows(student, token_ids, 100_000)
    monkeypatch.setattr(embed, "largest", lambda value, device: 5)
    calls = []
    student.backbone.register_forward_hook(lambda *_: calls.append(1))
    states, _ = embed_rows(student, token_ids, 100_000)
    assert len(calls) == 5
    torch.testing.assert_close(states, expected)
    states.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in student.parameters())
