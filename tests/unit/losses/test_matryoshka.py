"""All heads' losses in one call: weights, shared order, nested sizes, absent teachers."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtd_ray.losses import (
    HeadTarget,
    PairOrder,
    angular_loss,
    cosine_loss,
    l2_loss,
    matryoshka_loss,
    ranking_loss,
    similarity_loss,
    spread_loss,
)

POINTWISE = {"cosine": cosine_loss, "angular": angular_loss, "l2": l2_loss}
NAN = float("nan")


def unit(rows: int, size: int) -> Tensor:
    return F.normalize(torch.randn(rows, size), dim=1)


def test_total_is_the_weighted_sum_of_the_single_losses_of_every_head() -> None:
    target = unit(6, 8)
    similarity = target @ target.T
    outputs = {8: torch.randn(6, 8, requires_grad=True), 4: torch.randn(6, 4, requires_grad=True)}
    small = unit(6, 4)
    weights = {
        8: {"cosine": 10.0, "angular": 2.0, "similarity": 200.0, "ranking": 20.0},
        4: {"ranking": 3.0, "spread": 0.5, "l2": 1.5},
    }
    order = PairOrder.from_similarity(similarity)
    total, parts = matryoshka_loss(outputs, weights, similarity, order, {8: HeadTarget(target), 4: HeadTarget(small)}, margin=0.1)
    expected = {
        "8/cosine": cosine_loss(outputs[8], target),
        "8/angular": angular_loss(outputs[8], target),
        "8/similarity": similarity_loss(outputs[8], similarity),
        "8/ranking": ranking_loss(outputs[8], order, 0.1),
        "4/ranking": ranking_loss(outputs[4], order, 0.1),
        "4/spread": spread_loss(outputs[4]),
        "4/l2": l2_loss(outputs[4], small),
    }
    assert list(parts) == list(expected)
    torch.testing.assert_close(parts, {name: value.detach() for name, value in expected.items()})
    assert not any(part.requires_grad for part in parts.values())
    summed = sum(weights[int(name.split("/")[0])][name.split("/")[1]] * value for name, value in expected.items())
    torch.testing.assert_close(total, summed)
    slopes = torch.autograd.grad(total, list(outputs.values()))
    torch.testing.assert_close(slopes, torch.autograd.grad(summed, list(outputs.values())))


def test_nested_prefixes_of_one_head_share_its_gradient() -> None:
    target = unit(5, 8)
    largest = torch.randn(5, 8, requires_grad=True)
    outputs = {size: largest[:, :size] for size in (8, 4, 2)}
    weights = {8: {"cosine": 1.0}, 4: {"similarity": 1.0}, 2: {"ranking": 1.0}}
    order = PairOrder.from_similarity(target @ target.T)
    matryoshka_loss(outputs, weights, target @ target.T, order, {8: HeadTarget(target)}, margin=0.015)[0].backward()
    own = largest.detach().requires_grad_()
    (cosine_loss(own, target) + similarity_loss(own[:, :4], target @ target.T) + ranking_loss(own[:, :2], order)).backward()
    torch.testing.assert_close(largest.grad, own.grad)


@pytest.mark.parametrize("loss", POINTWISE)
def test_the_student_is_free_where_a_teacher_is_absent(loss: str) -> None:
    target, present = unit(3, 6), torch.ones(3, 6, dtype=torch.bool)
    present[0, :4] = False
    vectors = torch.randn(3, 6, requires_grad=True)
    total, _ = matryoshka_loss({6: vectors}, {6: {loss: 1.0}}, torch.eye(3), None, {6: HeadTarget(target, present)}, margin=0.0)
    total.backward()
    single = POINTWISE[loss]
    expected = (single(vectors[:1, 4:], target[:1, 4:]) + 2 * single(vectors[1:], target[1:])) / 3
    torch.testing.assert_close(total, expected)
    assert vectors.grad is not None
    assert vectors.grad[0, :4].abs().max() == 0
    assert vectors.grad[0, 4:].abs().max() > 0


@pytest.mark.parametrize("loss", POINTWISE)
def test_a_row_without_any_present_number_does_not_count(loss: str) -> None:
    target, present = unit(3, 6), torch.ones(3, 6, dtype=torch.bool)
    present[1] = False
    vectors = torch.randn(3, 6)
    heard = {6: HeadTarget(target, present)}
    total, _ = matryoshka_loss({6: vectors}, {6: {loss: 1.0}}, torch.eye(3), None, heard, margin=0.0)
    torch.testing.assert_close(total, POINTWISE[loss](vectors[[0, 2]], target[[0, 2]]))
    nothing = {6: HeadTarget(target, torch.zeros_like(present))}
    assert matryoshka_loss({6: vectors}, {6: {loss: 1.0}}, torch.eye(3), None, nothing, margin=0.0)[0].item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [1, 6])
def test_adversarial_batches_are_finite(dtype: torch.dtype, rows: int) -> None:
    target = unit(rows, 8)[torch.arange(rows) // 2]
    similarity = ((target @ target.T) * 4).round() / 4
    similarity[0, -1] = similarity[-1, 0] = NAN
    vectors = target.to(dtype).clone()
    vectors[rows // 2] = 0
    vectors.requires_grad_()
    losses = dict.fromkeys(("cosine", "angular", "l2", "similarity", "ranking", "spread"), 1.0)
    order = PairOrder.from_similarity(similarity)
    total, parts = matryoshka_loss({8: vectors}, {8: losses}, similarity, order, {8: HeadTarget(target)}, margin=0.015)
    total.backward()
    assert all(torch.isfinite(part) for part in parts.values())
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()
    assert vectors.grad.abs().max() < 10
