"""Rows are embedded the same in one pass and in many, padded and packed, also when a worker has fewer rows than passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from mtd_ray.config import LastLayers, StudentConfig, Trainable
from mtd_ray.distill import embed
from mtd_ray.distill.embed import embed_rows, pack_tokens
from mtd_ray.student import Student, tokenize
from tests.tiny_models import sentences, tiny_bert


@pytest.fixture
def student(tmp_path: Path) -> Student:
    return Student.build(StudentConfig(model=tiny_bert(tmp_path), heads=(8,), max_tokens=32), 0)


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device with a kernel for packed texts."""
    monkeypatch.setattr(Student, "packs", True)


@contextmanager
def counted_passes(student: Student) -> Iterator[list[int]]:
    """Grows by one with each pass of the backbone."""
    passes: list[int] = []
    hook = student.backbone.register_forward_pre_hook(lambda *_: passes.append(1))
    yield passes
    hook.remove()


def test_many_short_rows_are_embedded_with_less_padding_and_to_the_same_states(student: Student) -> None:
    token_ids = tokenize(student.tokenizer, sentences(48), 32)
    together, padded = embed_rows(student, token_ids, 100_000)
    alone = torch.cat([embed_rows(student, [ids], 100_000)[0] for ids in token_ids])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert sum(map(len, token_ids)) <= padded < 48 * max(map(len, token_ids))


def test_packed_rows_have_no_padding_and_the_states_of_padded_ones(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    token_ids = tokenize(student.tokenizer, sentences(40), 32)
    expected, _ = embed_rows(student, token_ids, 100_000)
    monkeypatch.setattr(Student, "packs", True)
    for micro_batch_tokens in (100_000, 100, 23):
        states, computed = embed_rows(student, token_ids, micro_batch_tokens)
        assert computed == sum(map(len, token_ids))
        torch.testing.assert_close(states, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.usefixtures("packing")
@pytest.mark.parametrize(("trainable", "again"), [("all", 3), (LastLayers(last=1), 1), ("heads", 0)])
def test_only_passes_that_memory_cannot_hold_are_computed_again(student: Student, trainable: Trainable, again: int) -> None:
    token_ids = [[5] * 10 for _ in range(8)]
    student.freeze(trainable, [8])
    with counted_passes(student) as passes:
        states, _ = embed_rows(student, token_ids, 20)
        assert len(passes) == 4
        student.project(states, [8])[8].sum().backward()
    assert len(passes) == 4 + again


def test_gradients_do_not_depend_on_the_number_of_passes(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    token_ids = tokenize(student.tokenizer, sentences(12), 32)
    student.freeze("all", [8])
    gradients = []
    for packs, micro_batch_tokens in ((False, 100_000), (False, 60), (True, 60)):
        monkeypatch.setattr(Student, "packs", packs)
        states, _ = embed_rows(student, token_ids, micro_batch_tokens)
        # A loss that ties all rows together, as similarities do.
        (states @ states.T).square().mean().backward()
        gradients.append(student.backbone.embeddings.word_embeddings.weight.grad.clone())
        student.zero_grad()
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-3, atol=1e-4 * float(gradients[0].abs().max()))


@pytest.mark.parametrize("packs", [False, True])
def test_a_worker_with_fewer_rows_than_passes_joins_in_all_of_them(
    student: Student, monkeypatch: pytest.MonkeyPatch, packs: bool
) -> None:
    token_ids = tokenize(student.tokenizer, sentences(2), 32)
    expected, _ = embed_rows(student, token_ids, 100_000)
    monkeypatch.setattr(Student, "packs", packs)
    monkeypatch.setattr(embed, "largest", lambda value, device: 5)
    with counted_passes(student) as passes:
        states, _ = embed_rows(student, token_ids, 100_000)
        assert len(passes) == 5
        torch.testing.assert_close(states, expected, atol=2e-5, rtol=1e-4)
        states.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in student.parameters())


@pytest.mark.parametrize("at_least", [1, 4, 40])
def test_packs_hold_every_row_once_and_no_more_tokens_than_allowed(at_least: int) -> None:
    counts = np.random.default_rng(0).integers(1, 60, size=30).tolist()
    packs = pack_tokens(counts, 64, at_least=at_least)
    assert np.concatenate(packs).tolist() == list(range(30))
    assert len(packs) >= at_least
    assert max(sum(counts[row] for row in pack) for pack in packs) <= 64


def test_packs_are_about_equal_and_a_longer_row_stands_alone() -> None:
    sizes = [sum(10 for _ in pack) for pack in pack_tokens([10] * 30, 140)]
    assert sizes == [100, 100, 100]
    assert [pack.tolist() for pack in pack_tokens([3, 90, 3], 10)] == [[0], [1], [2]]
