"""Several teachers' vectors become one target."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtd_ray.config import Recipe
from mtd_ray.distill.fusion import FusedTarget, TargetSpec, fuse, needed_bases
from mtd_ray.objects import ObjectStore
from mtd_ray.teachers.shorten import shorten
from tests.tiny_run import tiny_recipe

ALL = torch.ones(4, 2, dtype=torch.bool)
ONE_MISSING = torch.tensor([[True, True], [True, False], [True, True], [True, True]])
COSINE = {"cosine": 1.0}


def spec(weights: tuple[float, ...] = (1.0, 1.0), **changes: Any) -> TargetSpec:
    given: dict[str, Any] = {
        "teachers": ("first", "second"),
        "weights": weights,
        "sizes": (6, 3),
        "shorten": ("cut", "cut"),
        "layouts": {},
        "bases": {},
    }
    return TargetSpec(**(given | changes))


def blocks() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 6, generator=generator).half(), 30 * torch.randn(4, 3, generator=generator).half()]


def unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=-1)


def cosines(block: Tensor) -> Tensor:
    return unit(block) @ unit(block).T


def test_a_target_cosine_is_the_weighted_mean_of_the_teachers_cosines_whatever_their_length() -> None:
    first, second = blocks()
    target = fuse(spec((3.0, 1.0)), [first, second], ALL)
    torch.testing.assert_close(target.similarity, (3 * cosines(first) + cosines(second)) / 4)
    torch.testing.assert_close(target.whole.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(target.whole @ target.whole.T, target.similarity)


def test_three_teachers_with_equal_votes_give_the_mean_of_their_cosines() -> None:
    three = [*blocks(), torch.randn(4, 5, generator=torch.Generator().manual_seed(1))]
    of_three = spec((1.0, 1.0, 1.0), teachers=("first", "second", "third"), sizes=(6, 3, 5), shorten=("cut",) * 3)
    target = fuse(of_three, three, torch.ones(4, 3, dtype=torch.bool))
    torch.testing.assert_close(target.similarity, torch.stack([cosines(block) for block in three]).mean(dim=0))


def test_equal_weights_are_the_published_concatenation() -> None:
    first, second = blocks()
    expected = unit(torch.cat([unit(first), unit(second)], dim=1))
    torch.testing.assert_close(fuse(spec(), [first, second], ALL).whole, expected)


@pytest.mark.parametrize("how", ["cut", "fold"])
def test_stored_vectors_longer_than_their_part_become_that_short(how: str) -> None:
    first, second = blocks()
    target = fuse(spec(sizes=(2, 3), shorten=(how, how)), [first, second], ALL)
    shortened = torch.from_numpy(shorten(np.asarray(first, np.float32), 2, how, normalize=True))
    torch.testing.assert_close(target.whole, unit(torch.cat([shortened, unit(second)], dim=1)))


def test_a_missing_teacher_leaves_the_mean_to_the_others() -> None:
    first, second = blocks()
    target = fuse(spec(), [first, second], ONE_MISSING)
    both = (cosines(first) + cosines(second)) / 2
    torch.testing.assert_close(target.similarity[0, 2], both[0, 2])
    torch.testing.assert_close(target.similarity[0, 1], cosines(first)[0, 1])
    torch.testing.assert_close(target.similarity.diagonal(), torch.ones(4))
    torch.testing.assert_close(target.whole[1], F.pad(unit(first[1]), (0, 3)))
    assert [target.rows_of(name) for name in ("first", "second", "third")] == [4, 3, 0]


def test_two_texts_without_a_common_teacher_have_no_score() -> None:
    target = fuse(spec(), blocks(), torch.tensor([[True, False], [False, True], [True, True], [True, True]]))
    assert torch.isnan(target.similarity[0, 1])
    assert torch.isnan(target.similarity).sum() == 2
    assert torch.isfinite(target.whole).all()


@pytest.mark.parametrize("garbage", [7.0, torch.nan])
def test_what_stands_in_a_row_that_is_not_valid_does_not_matter(garbage: float) -> None:
    first, second = blocks()
    spoilt = second.clone()
    spoilt[1] = garbage
    target = fuse(spec(), [first, spoilt], ONE_MISSING)
    assert torch.equal(target.whole, fuse(spec(), [first, second], ONE_MISSING).whole)
    assert target.finite.all()


def test_a_target_that_is_no_number_is_told_by_row_and_teacher() -> None:
    first, second = blocks()
    second[2, 1] = torch.inf
    assert (~fuse(spec(), [first, second], ALL).finite).nonzero().tolist() == [[2, 1]]


def head(target: FusedTarget, size: int) -> tuple[Tensor, Tensor | None]:
    found = target.heads()[size]
    return found.vectors, found.present


def test_a_head_that_keeps_places_for_later_teachers_is_free_there() -> None:
    first, second = blocks()
    layout = (("first", 6), ("later", 4), ("second", 3))
    vectors, present = head(fuse(spec((4.0, 1.0), layouts={13: layout}), [first, second], ONE_MISSING), 13)
    assert present is not None
    assert present[0].tolist() == [True] * 6 + [False] * 4 + [True] * 3
    assert present[1].tolist() == [True] * 6 + [False] * 7
    torch.testing.assert_close(vectors[0], unit(torch.cat([2 * unit(first[0]), torch.zeros(4), unit(second[0])])))
    torch.testing.assert_close(vectors[1], F.pad(unit(first[1]), (0, 7)))


def test_a_head_as_large_as_the_target_gets_it_whole() -> None:
    target = fuse(spec(layouts={9: (("first", 6), ("second", 3))}), blocks(), ALL)
    vectors, present = head(target, 9)
    assert torch.equal(vectors, target.whole)
    assert present is None


def test_a_cut_head_gets_each_teachers_first_numbers_with_their_full_vote() -> None:
    first, second = blocks()
    vectors, present = head(fuse(spec((4.0, 1.0), layouts={3: (("first", 2), ("second", 1))}), [first, second], ALL), 3)
    assert present is None
    torch.testing.assert_close(vectors, unit(torch.cat([2 * unit(first[:, :2]), unit(second[:, :1])], dim=1)))


def test_a_projected_head_leaves_out_rows_that_miss_a_teacher() -> None:
    basis = torch.linalg.qr(torch.randn(9, 5, generator=torch.Generator().manual_seed(3))).Q
    target = fuse(spec(bases={5: basis}), blocks(), ONE_MISSING)
    vectors, present = head(target, 5)
    complete = [0, 2, 3]
    torch.testing.assert_close(vectors[complete], unit(target.whole[complete] @ basis))
    assert present is not None
    assert present.tolist() == [[row != 1] * 5 for row in range(4)]
    assert head(fuse(spec(bases={5: basis}), blocks(), ALL), 5)[1] is None


def recipe(store: ObjectStore, heads: list[dict[int, Any]], stage_teachers: list[list[str] | None]) -> Recipe:
    """Alpha (12 stored, folded to 4) and beta (4); one stage for each entry."""
    sizes = sorted({size for of_stage in heads for size in of_stage})
    stages = [
        {"name": f"stage-{number}", "teachers": names, "heads": of_stage, "lr": 1e-3, "steps": 1, "batch_size": 8}
        for number, (of_stage, names) in enumerate(zip(heads, stage_teachers, strict=True))
    ]
    teachers = {
        "alpha": {"provider": "openai", "model": "a", "dimensions": 12, "target_dimensions": 4, "target_shorten": "fold"},
        "beta": {"provider": "openai", "model": "b", "dimensions": 4, "weight": 0.5},
    }
    student = {"model": "/nowhere", "heads": sizes}
    return tiny_recipe(store, "/nowhere", teachers=teachers, student=student, stages=stages)


def test_the_spec_says_what_the_recipe_says(tmp_path: Path) -> None:
    cut, pca, ranking = COSINE | {"target": "cut"}, COSINE | {"target": "pca"}, {"ranking": 1.0, "target": "pca"}
    of = recipe(ObjectStore(str(tmp_path)), [{8: COSINE, 4: cut, 2: pca, 3: ranking}], [None])
    stage = of.stages[0]
    assert needed_bases(of, stage) == (2,)
    made = TargetSpec.of(of, stage, {2: torch.eye(8, 2)})
    assert made.teachers == ("alpha", "beta")
    assert (made.weights, made.sizes, made.shorten) == ((1.0, 0.5), (4, 4), ("fold", "cut"))
    assert made.layouts == {8: (("alpha", 4), ("beta", 4)), 4: (("alpha", 2), ("beta", 2))}
    assert made.bases.keys() == {2}


def test_stages_that_add_a_teacher_find_the_earlier_one_where_it_was(tmp_path: Path) -> None:
    of = recipe(ObjectStore(str(tmp_path)), [{8: COSINE}, {8: COSINE}], [["beta"], None])
    later = torch.randn(4, 4, generator=torch.Generator().manual_seed(5))
    alone, together = (TargetSpec.of(of, stage, {}) for stage in of.stages)
    vectors, present = head(fuse(alone, [later], torch.ones(4, 1, dtype=torch.bool)), 8)
    assert present is not None
    assert present[0].tolist() == [False] * 4 + [True] * 4
    torch.testing.assert_close(vectors[:, 4:], unit(later))
    both, _ = head(fuse(together, [torch.ones(4, 12), later], ALL), 8)
    torch.testing.assert_close(unit(both[:, 4:]), unit(later))
