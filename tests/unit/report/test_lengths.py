"""Scores by text length, of the student beside the best teacher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.report.data import LengthScore
from mtd_ray.report.lengths import length_scores
from mtd_ray.report.sections.lengths import lengths as section

LENGTHS = [100] * 20 + [200] * 12 + [2_000] * 15


def queries(items: Sequence[float], lengths: Sequence[int] = ()) -> TaskScore:
    return TaskScore(float(np.mean(items)), "query", tuple(items), (), (0,) * len(items), tuple(lengths))


def test_every_item_is_in_one_group() -> None:
    student = queries([0.9] * 20 + [0.5] * 12 + [0.1] * 15, LENGTHS)
    teacher = queries([1.0] * 20 + [0.75] * 12 + [0.25] * 15)
    assert length_scores({"docs": student}, {"docs": teacher}) == (
        LengthScore("docs", 0, 128, 20, pytest.approx(0.9), pytest.approx(1.0)),
        LengthScore("docs", 128, 256, 12, pytest.approx(0.5), pytest.approx(0.75)),
        LengthScore("docs", 256, None, 15, pytest.approx(0.1), pytest.approx(0.25)),
    )


def test_bounds_belong_to_the_shorter_group() -> None:
    items = [0.1] * 10 + [0.2] * 10 + [0.3] * 10 + [0.4] * 10 + [0.5] * 10
    lengths = [128] * 10 + [129] * 10 + [512] * 10 + [1_024] * 10 + [1_025] * 10
    found = length_scores({"docs": queries(items, lengths)}, {})
    assert [(entry.most, entry.student) for entry in found] == [
        (128, pytest.approx(0.1)), (256, pytest.approx(0.2)), (512, pytest.approx(0.3)), (1024, pytest.approx(0.4)),
        (None, pytest.approx(0.5)),
    ]  # fmt: skip


def test_few_items_go_to_their_longer_neighbours_and_the_last_to_the_shorter() -> None:
    items = [0.0] * 4 + [1.0] * 16 + [0.5] * 3
    lengths = [50] * 4 + [200] * 16 + [3_000] * 3
    (only,) = length_scores({"docs": queries(items, lengths)}, {})
    assert (only.above, only.most, only.items) == (0, None, 23)
    found = length_scores({"docs": queries(items[:20], lengths[:20])}, {})
    assert [(entry.most, entry.items, entry.student) for entry in found] == [(256, 20, pytest.approx(0.8))]


def test_correlations_are_taken_anew_within_a_group() -> None:
    generator = np.random.default_rng(1)
    gold, cosines = generator.random(60), generator.random(60)
    lengths = [10] * 30 + [400] * 30
    score = TaskScore(
        float(stats.spearmanr(cosines, gold).statistic), "pair", tuple(cosines), tuple(gold), (0,) * 60, tuple(lengths)
    )
    found = length_scores({"sts": score}, {"sts": score})
    assert [entry.student for entry in found] == [
        pytest.approx(stats.spearmanr(cosines[part], gold[part]).statistic) for part in (slice(30), slice(30, 60))
    ]
    assert [entry.teacher for entry in found] == [entry.student for entry in found]


def test_tasks_without_lengths_and_teachers_of_other_items_say_nothing() -> None:
    student = queries([0.5] * 20, [10] * 20)
    assert length_scores({"classes": queries([0.5] * 20)}, {}) == ()
    (found,) = length_scores({"docs": student}, {"docs": queries([0.5] * 19)})
    assert found.teacher is None


def pairs(cosines: Sequence[float], gold: Sequence[float], groups: Sequence[int], lengths: Sequence[int]) -> TaskScore:
    rows = [[row for row, group in enumerate(groups) if group == one] for one in dict.fromkeys(groups)]
    main = np.mean([stats.spearmanr([cosines[row] for row in part], [gold[row] for row in part]).statistic for part in rows])
    return TaskScore(float(main), "pair", tuple(cosines), tuple(gold), tuple(groups), tuple(lengths))


def test_a_group_that_says_nothing_does_not_lend_its_bounds_to_the_next() -> None:
    generator = np.random.default_rng(2)
    gold = [*generator.random(20), *[0.5] * 20, *generator.random(20)]  # nobody can correlate with what is all the same
    score = pairs(generator.random(60).tolist(), gold, [0] * 60, [10] * 20 + [200] * 20 + [400] * 20)
    assert [(entry.above, entry.most) for entry in length_scores({"sts": score}, {})] == [(0, 128), (256, 512)]
    assert "257–512" in str(section(length_scores({"sts": score}, {})).shown)


def test_subsets_that_are_too_small_or_all_the_same_leave_the_others_their_score() -> None:
    generator = np.random.default_rng(3)
    cosines, gold = generator.random(65).tolist(), generator.random(65).tolist()
    groups, lengths = [0] * 30 + [1] * 5 + [1] * 30, [10] * 35 + [400] * 30
    short, _ = length_scores({"sts": pairs(cosines, gold, groups, lengths)}, {})
    assert (short.items, short.student) == (30, pytest.approx(stats.spearmanr(cosines[:30], gold[:30]).statistic))
