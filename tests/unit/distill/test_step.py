"""The training step on real (tiny) architectures, without Ray and without DeepSpeed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtd_ray.config import StageConfig, StudentConfig
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.fusion import TargetSpec
from mtd_ray.distill.plain import PlainEngine
from mtd_ray.distill.step import Distillation, training_step
from mtd_ray.errors import TrainingError
from mtd_ray.losses import PairOrder
from mtd_ray.student import Student, tokenize
from tests.tiny_models import sentences, tiny_bert, tiny_qwen2
from tests.tiny_run import ALL_LOSSES, synthetic_vectors


@pytest.fixture(scope="module", params=["bert", "qwen2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    build = {"bert": tiny_bert, "qwen2": tiny_qwen2}[request.param]
    return build(tmp_path_factory.mktemp(request.param))


TARGET = TargetSpec(("alpha", "beta"), (1.0, 0.5), (12, 4), ("cut", "cut"), {16: (("alpha", 12), ("beta", 4))}, {})
TWO_HEADS = {16: ALL_LOSSES, 8: {"similarity": 200.0, "ranking": 20.0}}


def module(
    folder: str,
    *,
    heads: dict[int, dict[str, Any]] = TWO_HEADS,
    target: TargetSpec = TARGET,
    micro_batch_tokens: int = 10_000,
    trainable: str = "all",
    lr: float = 1e-2,
) -> Distillation:
    stage = StageConfig.model_validate(
        {"name": "one", "trainable": trainable, "heads": heads, "lr": lr, "steps": 10, "batch_size": 12}
    )
    student = Student.build(StudentConfig(model=folder, heads=(16, 8), max_tokens=32), 0)
    student.freeze(stage.trainable, stage.heads)
    return Distillation(student, stage, target, micro_batch_tokens)


def engine(folder: str, **how: Any) -> PlainEngine:
    distillation = module(folder, **how)
    return PlainEngine(distillation, distillation.stage)


def batch(student: Student, rows: int = 12) -> Batch:
    texts = sentences(rows)
    blocks = [torch.from_numpy(synthetic_vectors(texts, size, seed=size)).half() for size in (12, 4)]
    return Batch(
        ids=[f"text-{row}" for row in range(rows)],
        shares=[np.arange(rows)],
        token_ids=tokenize(student.tokenizer, texts, 32),
        pooled=None,
        owners=[np.arange(rows)],
        blocks=blocks,
        valid=[torch.ones(rows, dtype=torch.bool) for _ in blocks],
    )


def without(data: Batch, row: int) -> Batch:
    """The batch less one of its rows."""
    keep = [other for other in range(len(data.ids)) if other != row]
    return replace(
        data,
        ids=[data.ids[other] for other in keep],
        shares=[np.arange(len(keep))],
        token_ids=[data.token_ids[other] for other in keep],
        owners=[np.arange(len(keep))],
        blocks=[block[keep] for block in data.blocks],
        valid=[ok[keep] for ok in data.valid],
    )


def gradients(distillation: Distillation, of: Batch) -> dict[str, Tensor]:
    distillation.zero_grad()
    loss, _ = distillation(of)
    loss.backward()
    return {name: p.grad.clone() for name, p in distillation.named_parameters() if p.grad is not None}


def test_training_brings_every_part_of_the_loss_down(folder: str) -> None:
    trained = engine(folder, lr=3e-3)
    data = batch(trained.module.student)
    results = [training_step(trained, data, "here") for _ in range(40)]
    losses = {"16/cosine": 10, "16/similarity": 200, "16/ranking": 20, "8/similarity": 200, "8/ranking": 20}
    assert results[0].parts.keys() == losses.keys() | {"16/cosine/alpha", "16/cosine/beta"}
    for name, first in results[0].parts.items():
        assert results[-1].parts[name] < 0.6 * first, name
    weighted = sum(weight * results[0].parts[name] for name, weight in losses.items())
    assert results[0].loss == pytest.approx(weighted, rel=1e-5)


def test_each_teachers_cosine_is_told(folder: str) -> None:
    distillation = module(folder)
    data = batch(distillation.student)
    data.valid[1][:4] = False
    _, parts = distillation(data)
    texts = distillation.student.tokenizer.pad({"input_ids": data.token_ids}, return_tensors="pt")
    pooled = distillation.student.pool(texts["input_ids"], texts["attention_mask"])
    vectors = distillation.student.project(pooled, [16])[16]
    alpha = 1 - F.cosine_similarity(vectors[:, :12], data.blocks[0].float()).mean()
    beta = 1 - F.cosine_similarity(vectors[4:, 12:], data.blocks[1][4:].float()).mean()
    torch.testing.assert_close(parts["16/cosine/alpha"], alpha, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(parts["16/cosine/beta"], beta, rtol=1e-3, atol=1e-3)
    assert distillation.missing == 4


def test_micro_batches_give_the_gradient_of_the_whole_batch(folder: str) -> None:
    whole, cut = module(folder), module(folder, micro_batch_tokens=40)
    data = batch(whole.student)
    expected, got = gradients(whole, data), gradients(cut, data)
    assert cut.padded_tokens < whole.padded_tokens == len(data.token_ids) * max(map(len, data.token_ids))
    assert expected.keys() == got.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, atol=1e-3, rtol=1e-3)


def test_pairs_are_ordered_once_and_before_the_student_works(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    distillation, calls = module(folder), []
    order, pool = PairOrder.from_similarity, distillation.student.pool
    monkeypatch.setattr(PairOrder, "from_similarity", lambda similarity: calls.append("order") or order(similarity))
    monkeypatch.setattr(distillation.student, "pool", lambda *inputs: calls.append("student") or pool(*inputs))
    data = batch(distillation.student)
    distillation(data)
    assert calls == ["order", "student"]
    distillation.stage = distillation.stage.model_copy(update={"heads": module(folder, heads={16: {"cosine": 1.0}}).stage.heads})
    distillation(data)
    assert calls == ["order", "student", "student"]


def kept_for_the_backward_pass(distillation: Distillation, data: Batch) -> int:
    """Bytes that stay in memory between the forward and the backward pass."""
    sizes = []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        distillation(data)
    return sum(sizes)


def test_memory_does_not_grow_with_the_batch_as_the_uncut_batch_does(folder: str) -> None:
    heads = {16: {"cosine": 10.0}}
    whole, cut = (module(folder, heads=heads, micro_batch_tokens=tokens) for tokens in (100_000, 400))
    data = batch(whole.student, rows=1024)
    assert 20 * kept_for_the_backward_pass(cut, data) < kept_for_the_backward_pass(whole, data)


def test_only_heads_are_touched_when_only_heads_are_trained(folder: str) -> None:
    distillation = module(folder, trainable="heads")
    assert all(".heads." in name for name in gradients(distillation, batch(distillation.student)))


def test_from_the_trunks_cache_heads_learn_the_same_and_the_trunk_rests(folder: str) -> None:
    distillation = module(folder, trainable="heads")
    data = batch(distillation.student)
    expected = gradients(distillation, data)
    texts = distillation.student.tokenizer.pad({"input_ids": data.token_ids}, return_tensors="pt")
    pooled = distillation.student.pool(texts["input_ids"], texts["attention_mask"]).detach()
    turned = np.arange(12)[::-1].copy()
    cached = replace(data, token_ids=[], pooled=pooled[turned], shares=[turned])
    distillation.student.backbone = torch.nn.Identity()
    got = gradients(distillation, cached)
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, atol=1e-3, rtol=1e-3)
    assert distillation.padded_tokens == 0


def test_a_row_that_no_teacher_has_does_not_count(folder: str) -> None:
    distillation = module(folder)
    data = batch(distillation.student)
    for ok in data.valid:
        ok[3] = False
    loss, _ = distillation(data)
    assert distillation.missing == 2
    torch.testing.assert_close(distillation(without(data, 3))[0], loss, rtol=1e-4, atol=1e-4)


def test_where_a_teacher_has_no_vector_the_student_is_free_in_its_block(folder: str) -> None:
    distillation = module(folder)
    data = batch(distillation.student)
    data.valid[1][5] = False
    before = distillation(data)[1]["16/cosine"]
    with torch.no_grad():
        data.blocks[1][5] = 100.0
    torch.testing.assert_close(distillation(data)[1]["16/cosine"], before)


def test_the_place_of_a_teacher_that_comes_later_is_left_alone(folder: str) -> None:
    now = TargetSpec(("alpha",), (1.0,), (12,), ("cut",), TARGET.layouts, {})
    distillation = module(folder, heads={16: {"cosine": 1.0}}, target=now)
    data = batch(distillation.student)
    data = replace(data, blocks=data.blocks[:1], valid=data.valid[:1])
    assert distillation(data)[1].keys() == {"16/cosine", "16/cosine/alpha"}
    head = gradients(distillation, data)["student.heads.16.weight"]
    assert head[:12].abs().max() > 0
    assert head[12:].abs().max() == 0


def test_a_row_that_misses_a_teacher_does_not_count_for_a_projected_head(folder: str) -> None:
    basis = torch.linalg.qr(torch.randn(16, 8, generator=torch.Generator().manual_seed(0))).Q
    target = replace(TARGET, layouts={}, bases={8: basis})
    distillation = module(folder, heads={8: {"cosine": 1.0, "target": "pca"}}, target=target)
    data = batch(distillation.student)
    data.valid[1][5] = False
    loss, parts = distillation(data)
    assert parts.keys() == {"8/cosine"}
    torch.testing.assert_close(distillation(without(data, 5))[0], loss, rtol=1e-4, atol=1e-4)
    data.valid[1][:] = False
    assert distillation(data)[0] == 0


def test_a_batch_without_any_target_changes_nothing(folder: str) -> None:
    trained = engine(folder, trainable="heads")
    data = batch(trained.module.student)
    for ok in data.valid:
        ok[:] = False
    result = training_step(trained, data, "here")
    assert (result.loss, result.gradient_norm, result.parts, result.missing) == (0.0, 0.0, {}, 24)


@pytest.mark.parametrize("losses", [ALL_LOSSES, {"similarity": 1.0}, {"ranking": 1.0}])
def test_a_target_that_is_no_number_is_named_before_the_weights_change(folder: str, losses: dict[str, float]) -> None:
    trained = engine(folder, heads={16: losses})
    data = batch(trained.module.student)
    data.valid[0][0] = data.valid[1][0] = False
    data.blocks[0][2, 0] = float("nan")
    before = [parameter.clone() for parameter in trained.module.parameters()]
    with pytest.raises(TrainingError, match=r"stage 'one', step 7: these targets are not finite.*: text-2 \(alpha\)$"):
        training_step(trained, data, "stage 'one', step 7")
    assert all(torch.equal(a, b) for a, b in zip(before, trained.module.parameters(), strict=True))


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(folder: str) -> None:
    trained = engine(folder)
    data = batch(trained.module.student)
    with torch.no_grad():
        trained.module.student.heads["8"].bias.fill_(torch.inf)
    before = [parameter.clone() for parameter in trained.module.parameters()]
    with pytest.raises(TrainingError, match=r"step 7: the loss 8/similarity is nan.*text-8, text-9 and 2 more$"):
        training_step(trained, data, "stage 'one', step 7")
    assert all(torch.equal(a, b) for a, b in zip(before, trained.module.parameters(), strict=True))
