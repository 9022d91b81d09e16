"""Operations of a step, against counting by hand and against what PyTorch counts while it computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import ModernBertConfig, ModernBertModel

from mtd_ray.config import LastLayers, LayerRange, StudentConfig, Trainable
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.numbers.flops import step_flops
from mtd_ray.distill.numbers.peak import peak_flops, peak_of
from mtd_ray.student import Student
from tests.tiny_models import tiny_bert, tiny_gte, tiny_qwen2, tiny_tokenizer

HIDDEN, INNER = 32, 64
BERT_LAYER = 2 * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER)
HEAD = 2 * HIDDEN * 16


@pytest.fixture(scope="module", params=["bert", "qwen2", "gte"])
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Student:
    make = {"bert": tiny_bert, "qwen2": tiny_qwen2, "gte": tiny_gte}[request.param]
    folder = make(tmp_path_factory.mktemp("student"), layers=3)
    return Student.build(StudentConfig(model=folder, heads=(16, 8), max_tokens=32), seed=0)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Student:
    folder = tiny_bert(tmp_path_factory.mktemp("bert"), layers=3)
    return Student.build(StudentConfig(model=folder, heads=(16, 8), max_tokens=32), seed=0)


def counted(student: Student, lengths: list[int]) -> float:
    """What PyTorch counts in a step that runs each text alone."""
    student.zero_grad()
    student.backbone.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        for length in lengths:
            ids = torch.ones(1, length, dtype=torch.int64)
            student.project(student.pool(ids, torch.ones_like(ids)), [16])[16].sum().backward()
    return float(counter.get_total_flops())


@pytest.mark.parametrize("trainable", ["heads", "all", LastLayers(last=1), LayerRange(layers=(1, 1))])
def test_as_many_as_pytorch_counts(student: Student, trainable: Trainable) -> None:
    student.freeze(trainable, [16])
    lengths = [5, 17, 30]
    # PyTorch also counts the angles of rotary positions, and BERT's pooler.
    assert step_flops(student).of_texts(lengths) == pytest.approx(counted(student, lengths), rel=0.005)


def test_frozen_layers_have_no_backward(bert: Student) -> None:
    bert.freeze("heads", [16])
    step = step_flops(bert)
    assert step.forward.of([10]) == 3 * (10 * BERT_LAYER + 4 * HIDDEN * 10 * 10)
    assert step.backward.of([10]) == 0
    assert step.heads == 2 * HEAD
    bert.freeze("all", [16, 8])
    step = step_flops(bert)
    assert step.backward.of([10]) == 2 * step.forward.of([10])
    assert step.heads == 3 * HEAD * 1.5


def test_attention_counts_the_actual_lengths(bert: Student) -> None:
    bert.freeze("all", [16])
    step = step_flops(bert)
    mixed, even = step.of_texts([2, 30]), step.of_texts([16, 16])
    assert mixed - even == 3 * 3 * 4 * HIDDEN * (2**2 + 30**2 - 2 * 16**2)


def test_a_batch_from_the_trunk_cache_costs_only_the_heads(bert: Student) -> None:
    bert.freeze("heads", [16])
    step = step_flops(bert)
    batch = Batch(["a", "b", "c"], [], [], torch.zeros(3, HIDDEN), [], [], [])
    assert step.of_batch(batch) == 3 * 2 * HEAD
    batch = Batch(["a", "b"], [], [[1, 2], [3, 4, 5]], None, [], [], [])
    assert step.of_batch(batch) == step.of_texts([2, 3])


def test_a_sliding_window_bounds_what_a_token_attends_to(tmp_path: Path) -> None:
    config = ModernBertConfig(
        vocab_size=99, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=3, num_attention_heads=4, local_attention=8,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"], pad_token_id=0,
    )  # fmt: skip
    ModernBertModel(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    student = Student.build(StudentConfig(model=str(tmp_path), heads=(16,), max_tokens=64), seed=0)
    student.freeze("heads", [16])
    forward = step_flops(student).forward
    attention = forward.of([50]) - forward.per_token * 50
    assert attention == 4 * HIDDEN * 50 * (50 + 2 * 9)


def test_layers_that_share_their_weights_count_each_time(tmp_path: Path, bert: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    bert.freeze("all", [16])
    apart = step_flops(bert)
    layers = bert.backbone.encoder.layer
    monkeypatch.setattr(bert.backbone.encoder, "layer", torch.nn.Sequential(layers[0], layers[0], layers[0]))
    together = step_flops(bert)
    assert together.of_texts([7, 9]) == apart.of_texts([7, 9])


@pytest.mark.parametrize(
    ("name", "dtype", "peak"),
    [
        ("NVIDIA H200", torch.bfloat16, 989e12),
        ("NVIDIA H200 NVL", torch.bfloat16, 835e12),
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 989e12),
        ("NVIDIA H100 PCIe", torch.bfloat16, 756e12),
        ("NVIDIA A100-SXM4-80GB", torch.float16, 312e12),
        ("NVIDIA A100-SXM4-80GB", torch.float32, 19.5e12),
        ("NVIDIA A10G", torch.bfloat16, 70e12),
        ("NVIDIA L4", torch.bfloat16, 121e12),
        ("NVIDIA L40S", torch.bfloat16, 362e12),
        ("NVIDIA L40", torch.bfloat16, None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", torch.bfloat16, None),
        ("NVIDIA H100 80GB HBM3", torch.float64, None),
    ],
)
def test_peaks_by_the_devices_name(name: str, dtype: torch.dtype, peak: float | None) -> None:
    assert peak_of(name, dtype) == peak


def test_a_cpu_has_no_known_peak() -> None:
    assert peak_flops(torch.device("cpu"), torch.float32) is None
