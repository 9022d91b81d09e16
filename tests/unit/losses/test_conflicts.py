"""The counts against all pairs of pairs, compared one by one."""

import pytest
import torch
from torch import Tensor

from mtd_ray.losses.conflicts import count_conflicts

NONE = torch.zeros(0, dtype=torch.int64)


def ties_of(teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Places and group numbers of the equal ones of ascending scores."""
    places = [place for place, score in enumerate(teacher.tolist()) if (teacher == score).sum() > 1]
    return torch.tensor(places, dtype=torch.int64), torch.tensor([int(teacher[place]) for place in places], dtype=torch.int64)


def compared_one_by_one(scores: Tensor, teacher: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    conflict = (scores[:, None, :] < scores[:, :, None] + margin) & (teacher[:, None] < teacher[None, :])
    return conflict.sum(dim=2).int(), conflict.sum(dim=1).int()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 8, 9, 31, 64, 65])
@pytest.mark.parametrize("margin", [0.0, 0.3, 100.0])
def test_every_count_is_right_for_random_and_for_equal_student_scores(size: int, margin: float) -> None:
    torch.manual_seed(size)
    scores = torch.cat([torch.randn(2, size), torch.randint(3, (2, size)) / 2, torch.zeros(1, size)]).double()
    torch.testing.assert_close(count_conflicts(scores, NONE, NONE, margin), compared_one_by_one(scores, torch.arange(size), margin))


@pytest.mark.parametrize("levels", [1, 2, 5, 40])
@pytest.mark.parametrize("margin", [0.0, 0.3, 100.0])
def test_equal_teacher_scores_are_in_no_conflict(levels: int, margin: float) -> None:
    torch.manual_seed(levels)
    scores = torch.cat([torch.randn(3, 50), torch.randint(4, (3, 50)) / 2]).double()
    teacher = torch.sort(torch.randint(levels, (50,))).values
    torch.testing.assert_close(count_conflicts(scores, *ties_of(teacher), margin), compared_one_by_one(scores, teacher, margin))


def test_the_best_and_the_worst_order() -> None:
    right = torch.arange(10).double()[None]
    assert count_conflicts(right, NONE, NONE, 0.5)[0].sum() == 0
    too_high, too_low = count_conflicts(right.flip(1), NONE, NONE, 0.5)
    assert too_high[0].tolist() == list(range(9, -1, -1))
    assert too_low[0].tolist() == list(range(10))


def test_scores_that_are_not_numbers_do_not_crash_it() -> None:
    scores = torch.randn(1, 20).double()
    scores[0, 3] = float("nan")
    assert [len(counts[0]) for counts in count_conflicts(scores, NONE, NONE, 0.1)] == [20, 20]
