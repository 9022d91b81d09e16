"""Cutting and folding vectors."""

from __future__ import annotations

import numpy as np

from mtd_ray.teachers.shorten import shorten

VECTORS = np.array([[1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 0, 0, 0, 9]], np.float32)


def test_cut_keeps_the_first_numbers() -> None:
    np.testing.assert_array_equal(shorten(VECTORS, 3, "cut", normalize=False), [[1, 2, 3], [0, 0, 0]])


def test_fold_adds_whole_chunks_and_leaves_the_rest_out() -> None:
    np.testing.assert_array_equal(shorten(VECTORS, 3, "fold", normalize=False), [[5, 7, 9], [0, 0, 0]])


def test_normalised_like_the_model_and_zero_stays_zero() -> None:
    short = shorten(VECTORS, 2, "cut", normalize=True)
    np.testing.assert_allclose(short, [[1 / np.sqrt(5), 2 / np.sqrt(5)], [0, 0]], rtol=1e-6)
