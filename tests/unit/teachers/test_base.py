from __future__ import annotations

import numpy as np
import pytest

from mtd_ray.teachers.base import BadAnswer, require_shape, set_aside_bad_rows


def test_bad_rows_are_named_and_zeroed_and_the_rest_is_kept() -> None:
    vectors = np.array([[1, 2], [np.nan, 1], [0, 0], [np.inf, 0], [1e6, 0], [1e-9, 0], [3, 4]], dtype=np.float32)
    kept, failures = set_aside_bad_rows(vectors)
    assert sorted(failures) == [1, 2, 3, 4, 5]
    assert "not finite" in failures[1]
    assert "zeros" in failures[2]
    assert not kept[list(failures)].any()
    np.testing.assert_array_equal(kept[[0, 6]], [[1, 2], [3, 4]])
    assert np.isnan(vectors[1, 0]), "the caller's array is left alone"


def test_good_rows_pass_untouched() -> None:
    vectors = np.ones((3, 2), np.float32)
    kept, failures = set_aside_bad_rows(vectors)
    assert failures == {}
    np.testing.assert_array_equal(kept, vectors)


def test_shape_is_required_and_the_message_names_the_recipe_key() -> None:
    require_shape(np.ones((3, 2), np.float32), 3, 2, "t")
    with pytest.raises(BadAnswer, match=r"teachers\.t\.dimensions: 4"):
        require_shape(np.ones((3, 2), np.float32), 3, 4, "t")
    with pytest.raises(BadAnswer, match="5 texts"):
        require_shape(np.ones((3, 2), np.float32), 5, 2, "t")
