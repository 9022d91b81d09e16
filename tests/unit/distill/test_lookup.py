"""One lookup for several passes gives the same states and the same gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mtd_ray.config import StudentConfig
from mtd_ray.distill import embed
from mtd_ray.distill.embed import embed_rows
from mtd_ray.distill.lookup import one_lookup
from mtd_ray.student import Student, tokenize
from tests.tiny_models import sentences, tiny_bert, tiny_qwen2


@pytest.fixture(params=[tiny_bert, tiny_qwen2])
def student(request: pytest.FixtureRequest, tmp_path: Path) -> Student:
    return Student.build(StudentConfig(model=request.param(tmp_path), heads=(8,), max_tokens=32), 0)


def states_and_gradients(student: Student, token_ids: list[list[int]], rows: int, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    monkeypatch.setattr(embed, "_CPU_ROWS", rows)
    student.zero_grad()
    pooled, _ = embed_rows(student, token_ids, 10_000)
    pooled.square().mul(torch.arange(pooled.shape[1])).sum().backward()
    return [pooled.detach(), *(parameter.grad for parameter in student.backbone.parameters() if parameter.grad is not None)]


def test_passes_give_what_one_pass_gives(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    token_ids = tokenize(student.tokenizer, sentences(24), 32)
    expected = states_and_gradients(student, token_ids, 24, monkeypatch)
    got = states_and_gradients(student, token_ids, 4, monkeypatch)
    for one, other in zip(expected, got, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)


class TableGradients(TorchDispatchMode):
    """Counts the gradients as large as the whole word table that a backward pass makes."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words, self.made = words, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.embedding_dense_backward.default:
            self.made += args[2] == self.words
        return func(*args, **(kwargs or {}))


def test_passes_together_make_one_gradient_of_the_word_table(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "_CPU_ROWS", 4)
    pooled, _ = embed_rows(student, tokenize(student.tokenizer, sentences(24), 32), 10_000)
    with TableGradients(student.backbone.get_input_embeddings().num_embeddings) as gradients:
        pooled.sum().backward()
    assert gradients.made == 1


def test_only_the_words_of_the_batch_get_a_gradient(student: Student) -> None:
    token_ids = torch.tensor([[5, 6, 7], [6, 8, 5]])
    with one_lookup(student.backbone, token_ids):
        states = [student.pool(ids[None], torch.ones_like(ids[None])) for ids in token_ids]
    weight = student.backbone.get_input_embeddings().weight
    (gradient,) = torch.autograd.grad(torch.cat(states).square().sum(), weight)
    assert gradient.abs().sum(dim=-1).nonzero()[:, 0].tolist() == [5, 6, 7, 8]


def test_words_are_looked_up_as_ever_outside(student: Student) -> None:
    ids, mask = torch.tensor([[9, 10]]), torch.ones(1, 2, dtype=torch.long)
    before = student.pool(ids, mask)
    with one_lookup(student.backbone, torch.tensor([[5, 6, 7]])):
        pass
    assert torch.equal(student.pool(ids, mask), before)


def test_a_frozen_table_is_left_alone(student: Student) -> None:
    words = student.backbone.get_input_embeddings()
    words.requires_grad_(False)
    with one_lookup(student.backbone, torch.tensor([[5, 6, 7]])):
        assert not words._forward_hooks
