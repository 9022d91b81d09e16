"""PCA keeps what the vectors are made of."""

from __future__ import annotations

import numpy as np
import pytest

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.measuring.pca import fit_pca
from mtd_ray.evaluate.vectors import unit


def test_cosines_survive_where_the_vectors_have_few_directions() -> None:
    random = np.random.default_rng(0)
    vectors = np.asarray(random.normal(size=(60, 4)) @ random.normal(size=(4, 32)), np.float32)
    bases = fit_pca(vectors, [4, 2])
    assert {size: basis.shape for size, basis in bases.items()} == {2: (32, 2), 4: (32, 4)}
    assert np.array_equal(bases[4][:, :2], bases[2]), "the strongest come first"
    short = unit(vectors) @ bases[4]
    assert short @ short.T == pytest.approx(unit(vectors) @ unit(vectors).T, abs=1e-5)


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(EvaluationError, match="size 8 needs vectors of at least as many texts; there are 5"):
        fit_pca(np.eye(5, 16, dtype=np.float32), [8])


def test_no_sizes_no_bases() -> None:
    assert fit_pca(np.eye(5, 16, dtype=np.float32), []) == {}
