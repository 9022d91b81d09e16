"""The training step on real (tiny) architectures, without Ray and without DeepSpeed."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mtd_ray.config import StageConfig, StudentConfig
from mtd_ray.distill.dataset import Batch
from mtd_ray.distill.step import Distillation, training_step
from mtd_ray.errors import TrainingError
from mtd_ray.student import Student, tokenize
from tests.tiny_models import sentences, tiny_bert, tiny_qwen2
from tests.tiny_run import ALL_LOSSES, synthetic_vectors


class PlainEngine:
    """A module and an optimizer."""

    def __init__(self, module: Distillation, lr: float = 1e-2) -> None:
        self.module = module
        self.optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=lr)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.module(batch)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)


@pytest.fixture(scope="module", params=["bert", "qwen2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    build = {"bert": tiny_bert, "qwen2": tiny_qwen2}[request.param]
    return build(tmp_path_factory.mktemp(request.param))


def module(folder: str, *, micro_batch_tokens: int = 10_000, trainable: str = "all") -> Distillation:
    stage = StageConfig.model_validate(
        {
            "name": "one",
            "trainable": trainable,
            "heads": {16: ALL_LOSSES, 8: {"similarity": 200.0, "ranking": 20.0}},
            "lr": 1e-2,
            "steps": 10,
            "batch_size": 12,
        }
    )
    student = Student.build(StudentConfig(model=folder, heads=(16, 8), max_tokens=32), 0)
    student.freeze(stage.trainable, stage.heads)
    return Distillation(student, stage, [1.0, 0.5], micro_batch_tokens)


def batch(student: Student, rows: int = 12) -> Batch:
    texts = sentences(rows)
    blocks = [torch.from_numpy(synthetic_vectors(texts, size, seed=size)).half() for size in (12, 4)]
    return Batch(
        ids=[f"text-{row}" for row in range(rows)],
        shares=[np.arange(rows)],
        token_ids=tokenize(student.tokenizer, texts, 32),
        blocks=blocks,
        valid=[torch.ones(rows, dtype=torch.bool) for _ in blocks],
    )


def gradients(distillation: Distillation, of: Batch) -> dict[str, Tensor]:
    loss, _ = distillation(of)
    loss.backward()
    return {name: p.grad.clone() for name, p in distillation.named_parameters() if p.grad is not None}


def test_training_brings_every_part_of_the_loss_down(folder: str) -> None:
    engine = PlainEngine(module(folder), lr=3e-3)
    data = batch(engine.module.student)
    results = [training_step(engine, data, "here") for _ in range(40)]
    assert set(results[0].parts) == {"16/cosine", "16/similarity", "16/ranking", "8/similarity", "8/ranking"}
    for name, first in results[0].parts.items():
        assert results[-1].parts[name] < 0.6 * first, name
    assert results[0].loss == pytest.approx(
        sum(
            {"cosine": 10, "similarity": 200, "ranking": 20}[name.split("/")[1]] * value for name, value in results[0].parts.items()
        ),
        rel=1e-5,
    )


def test_micro_batches_give_the_gradient_of_the_whole_batch(folder: str) -> None:
    whole, cut = module(folder), module(folder, micro_batch_tokens=40)
    data = batch(whole.student)
    expected, got = gradients(whole, data), gradients(cut, data)
    assert cut.padded_tokens < whole.padded_tokens == len(data.token_ids) * max(map(len, data.token_ids))
    assert expected.keys() == got.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, atol=1e-3, rtol=1e-3)


def test_only_heads_are_touched_when_only_heads_are_trained(folder: str) -> None:
    distillation = module(folder, trainable="heads")
    assert all(".heads." in name for name in gradients(distillation, batch(distillation.student)))


def test_a_row_that_no_teacher_has_does_not_count(folder: str) -> None:
    distillation = module(folder)
    data = batch(distillation.student)
    for ok in data.valid:
        ok[3] = False
    loss, _ = distillation(data)
    keep = [row for row in range(12) if row != 3]
    smaller = Batch(
        ids=[data.ids[row] for row in keep],
        shares=[np.arange(11)],
        token_ids=[data.token_ids[row] for row in keep],
        blocks=[block[keep] for block in data.blocks],
        valid=[ok[keep] for ok in data.valid],
    )
    torch.testing.assert_close(distillation(smaller)[0], loss, rtol=1e-4, atol=1e-4)


def test_where_a_teacher_has_no_vector_the_student_is_free_in_its_block(folder: str) -> None:
    distillation = module(folder)
    data = batch(distillation.student)
    data.valid[1][5] = False
    before = distillation(data)[1]["16/cosine"]
    with torch.no_grad():
        data.blocks[1][5] = 100.0
    torch.testing.assert_close(distillation(data)[1]["16/cosine"], before)


def test_a_batch_without_any_target_changes_nothing(folder: str) -> None:
    engine = PlainEngine(module(folder, trainable="heads"))
    data = batch(engine.module.student)
    for ok in data.valid:
        ok[:] = False
    assert training_step(engine, data, "here").loss == 0


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(folder: str) -> None:
    engine = PlainEngine(module(folder))
    data = batch(engine.module.student)
    data.blocks[0][2, 0] = float("nan")
    before = [parameter.clone() for parameter in engine.module.parameters()]
    with pytest.raises(TrainingError, match=r"stage 'one', step 7: the loss 16/cosine is nan.*text-0, text-1, text-2"):
        training_step(engine, data, "stage 'one', step 7")
    assert all(torch.equal(a, b) for a, b in zip(before, engine.module.parameters(), strict=True))
