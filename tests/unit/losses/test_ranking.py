"""The fast ranking loss against the published formula, written out pair of pairs by pair of pairs."""

import math

import pytest
import torch
import torch.nn.functional as F

from mtd_ray.losses import PairOrder, ranking_loss, ranking_losses


def published_loss(student: torch.Tensor, similarity: torch.Tensor, margin: float) -> torch.Tensor:
    """O(P²): every pair of pairs that the teacher orders."""
    student = F.normalize(student, dim=-1)
    i, j = torch.triu_indices(len(student), len(student), offset=1)
    student_scores, teacher_scores = (student @ student.T)[i, j], similarity[i, j]
    ordered = teacher_scores[:, None] < teacher_scores[None, :]
    hinge = (student_scores[:, None] - student_scores[None, :] + margin).clamp(min=0)
    return (hinge * ordered).sum() / ordered.sum().clamp(min=1)


def similarities(rows: int, *, levels: int | None = None) -> torch.Tensor:
    target = F.normalize(torch.randn(rows, 8, dtype=torch.float64), dim=-1)
    similarity = target @ target.T
    return similarity if levels is None else (similarity * levels).round() / levels


def compare(student: torch.Tensor, similarity: torch.Tensor, margin: float) -> None:
    fast, slow = student.clone().requires_grad_(), student.clone().requires_grad_()
    loss = ranking_loss(fast, PairOrder.from_similarity(similarity), margin)
    expected = published_loss(slow, similarity, margin)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fast.grad, slow.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [2, 3, 4, 7, 16, 33])
@pytest.mark.parametrize("margin", [0.0, 0.015, 0.5])
def test_value_and_gradient_equal_the_published_formula(rows: int, margin: float) -> None:
    torch.manual_seed(rows)
    compare(torch.randn(rows, 12), similarities(rows).float(), margin)


@pytest.mark.parametrize("levels", [1, 2, 10])
def test_equal_teacher_scores_carry_no_order(levels: int) -> None:
    torch.manual_seed(levels)
    compare(torch.randn(20, 5), similarities(20, levels=levels).float(), 0.015)


def test_all_teacher_scores_equal_give_zero_loss_and_zero_gradient() -> None:
    student = torch.randn(6, 4, requires_grad=True)
    loss = ranking_loss(student, PairOrder.from_similarity(torch.ones(6, 6)))
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_two_texts_have_one_pair_and_so_nothing_to_rank() -> None:
    assert ranking_loss(torch.randn(2, 4), PairOrder.from_similarity(torch.eye(2))).item() == 0


def test_duplicate_texts() -> None:
    torch.manual_seed(5)
    student, target = torch.randn(12, 6), F.normalize(torch.randn(12, 6), dim=-1)
    student[6:], target[6:] = student[:6], target[:6]
    compare(student, target @ target.T, 0.015)


def test_equal_student_scores_under_equal_and_unequal_teacher_scores() -> None:
    torch.manual_seed(6)
    compare(torch.randn(9, 4)[torch.arange(9) // 2], similarities(9, levels=3).float(), 0.015)


@pytest.mark.parametrize("similarity", [torch.ones(1, 1), torch.full((5, 5), float("nan")), torch.zeros(0, 0)])
def test_nothing_to_rank_costs_nothing(similarity: torch.Tensor) -> None:
    student = torch.randn(len(similarity), 4, requires_grad=True)
    loss = ranking_loss(student, PairOrder.from_similarity(similarity))
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_a_row_of_zeros_is_finite() -> None:
    torch.manual_seed(7)
    student = torch.randn(8, 4)
    student[2] = 0
    student.requires_grad_()
    ranking_loss(student, PairOrder.from_similarity(similarities(8).float())).backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 10
    assert not student.grad[2].any()


def test_the_number_of_ordered_pairs_of_pairs_is_the_published_one() -> None:
    torch.manual_seed(8)
    assert PairOrder.from_similarity(similarities(20)).terms == math.comb(math.comb(20, 2), 2)
    tied = similarities(20, levels=4)
    scores = tied[tuple(torch.triu_indices(20, 20, offset=1))]
    assert PairOrder.from_similarity(tied).terms == (scores[:, None] < scores[None, :]).sum()


def test_heads_together_get_what_each_gets_alone() -> None:
    torch.manual_seed(9)
    order = PairOrder.from_similarity(similarities(21, levels=20).float())
    students = [torch.randn(21, size, requires_grad=True) for size in (16, 8, 3)]
    together, alone = ranking_losses(students, order, 0.1), torch.stack([ranking_loss(s, order, 0.1) for s in students])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)
    weights = torch.tensor([1.0, 2.0, 3.0])
    slopes = torch.autograd.grad(together @ weights, students), torch.autograd.grad(alone @ weights, students)
    torch.testing.assert_close(*slopes, rtol=0, atol=0)


def test_the_same_input_gives_the_same_bits() -> None:
    torch.manual_seed(10)
    student, similarity = torch.randn(40, 16), similarities(40, levels=50).float()

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        copy = student.clone().requires_grad_()
        loss = ranking_loss(copy, PairOrder.from_similarity(similarity))
        return loss.detach(), torch.autograd.grad(loss, copy)[0]

    torch.testing.assert_close(run(), run(), rtol=0, atol=0)


def test_a_wrong_order_within_the_margin_is_punished_and_a_right_one_beyond_it_is_not() -> None:
    similarity = torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.5], [0.1, 0.5, 1.0]])
    right = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.2, 1.0]])
    order = PairOrder.from_similarity(similarity)
    assert ranking_loss(right, order, 0.0).item() == 0
    assert ranking_loss(right[[0, 2, 1]], order, 0.0).item() > 0.1


def test_bfloat16_student() -> None:
    torch.manual_seed(0)
    similarity = similarities(16).float()
    student = torch.randn(16, 12).bfloat16()
    loss = ranking_loss(student, PairOrder.from_similarity(similarity))
    torch.testing.assert_close(loss, published_loss(student.float(), similarity, 0.015), atol=1e-5, rtol=1e-5)


def test_unknown_teacher_scores_are_left_out() -> None:
    similarity = similarities(6).float()
    similarity[0, :] = similarity[:, 0] = float("nan")
    student = torch.randn(6, 4)
    without = ranking_loss(student[1:], PairOrder.from_similarity(similarity[1:, 1:]))
    torch.testing.assert_close(ranking_loss(student, PairOrder.from_similarity(similarity)), without)


def test_numeric_gradient_in_double_precision() -> None:
    torch.manual_seed(3)
    order = PairOrder.from_similarity(similarities(5))
    student = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: ranking_loss(s, order, 0.3), (student,), eps=1e-7, atol=1e-5)
