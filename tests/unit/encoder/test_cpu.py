"""Tuned for the CPU a model computes what it computed before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from mtd_ray.encoder.cpu import PackedLinear, tune_for_cpu
from tests.tiny_models import tiny_bert, tiny_qwen2

MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="models are tuned on x86 CPUs only"
)


@pytest.mark.parametrize("make", [tiny_bert, tiny_qwen2])
@pytest.mark.parametrize("mask", [MASK, torch.ones_like(MASK)], ids=["padded", "full"])
@torch.inference_mode()
def test_same_states(tmp_path: Path, make: object, mask: torch.Tensor) -> None:
    folder = make(tmp_path)  # type: ignore[operator]
    plain, tuned = AutoModel.from_pretrained(folder).eval(), AutoModel.from_pretrained(folder).eval()
    tune_for_cpu(tuned)
    assert any(isinstance(module, PackedLinear) for module in tuned.modules())
    states = [model(input_ids=IDS, attention_mask=mask).last_hidden_state[mask.bool()] for model in (plain, tuned)]
    torch.testing.assert_close(states[1], states[0], atol=1e-5, rtol=1e-5)


def test_low_precision_is_left_alone(tmp_path: Path) -> None:
    model = AutoModel.from_pretrained(tiny_bert(tmp_path), dtype=torch.bfloat16)
    tune_for_cpu(model)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
