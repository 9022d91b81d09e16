"""A batch's texts and targets belong together, whoever reads them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mtd_ray.config import teacher_fingerprint
from mtd_ray.distill.batch import Batch
from mtd_ray.distill.prefetch import Prefetcher
from mtd_ray.distill.reader import BatchReader
from mtd_ray.distill.shards import ShardCache
from mtd_ray.distill.sampler import Sampler
from mtd_ray.errors import CorpusError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import tokenize
from mtd_ray.targets import TargetStore
from tests.tiny_models import sentences, tiny_tokenizer
from tests.tiny_run import store_run, synthetic_vectors, tiny_recipe

TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    store = ObjectStore(str(path))
    store_run(store, tiny_recipe(store, "unused"), failed={"beta": {3, 77}})
    return path


def reader(folder: Path, *, rank: int = 0, workers: int = 1, prompts: dict[str, str] | None = None) -> BatchReader:
    store = ObjectStore(str(folder))
    recipe = tiny_recipe(store, "unused")
    manifest = store_run(ObjectStore(str(folder)), recipe, failed={"beta": {3, 77}})
    targets = [TargetStore(store, teacher_fingerprint(t), 16, t.dimensions) for t in recipe.teachers.values()]
    shards = ShardCache(store, manifest, targets)
    sampler = Sampler(
        [shard.rows for shard in manifest.shards],
        batch_size=8,
        seed=0,
        stage=0,
        shuffle_shards=2,
        length_window=3,
        lengths=shards.lengths,
    )
    return BatchReader(shards, sampler, TOKENIZER, max_tokens=32, prompts=prompts or {}, rank=rank, workers=workers)


def row_of(text_id: str) -> int:
    return int(text_id.removeprefix("text-"))


def test_targets_stand_beside_their_texts_for_a_whole_pass(folder: Path) -> None:
    texts = sentences(120)
    vectors = [synthetic_vectors(texts, size, seed=seed) for size, seed in ((12, 5), (4, 4))]
    source, seen = reader(folder), []
    for step in range(15):
        batch = source.batch(step)
        rows = [row_of(text_id) for text_id in batch.ids]
        seen += rows
        expected = tokenize(TOKENIZER, [texts[rows[place]] for place in batch.shares[0]], 32)
        assert batch.token_ids == expected
        for block, ok, vector in zip(batch.blocks, batch.valid, vectors, strict=True):
            np.testing.assert_allclose(block[ok].numpy(), vector[rows][ok.numpy()], atol=1e-3)
        assert batch.valid[0].all()
        assert batch.valid[1].tolist() == [row not in (3, 77) for row in rows]
    assert sorted(seen) == list(range(120))


def test_workers_share_the_batch_that_one_worker_would_have(folder: Path) -> None:
    alone, pair = reader(folder).batch(4), [reader(folder, rank=rank, workers=2).batch(4) for rank in range(2)]
    for part in pair:
        assert part.ids == alone.ids
        assert all(torch.equal(a, b) for a, b in zip(part.blocks, alone.blocks, strict=True))
    together = {
        int(place): ids for rank, part in enumerate(pair) for place, ids in zip(part.shares[rank], part.token_ids, strict=True)
    }
    assert together == {int(place): ids for place, ids in zip(alone.shares[0], alone.token_ids, strict=True)}


def test_a_prompt_goes_before_texts_of_its_kind(folder: Path) -> None:
    plain, prompted = reader(folder).batch(0), reader(folder, prompts={"passage": "the list ", "query": "a "}).batch(0)
    assert prompted.token_ids == [[ids[0], *tokenize(TOKENIZER, ["the list"], 32)[0][1:-1], *ids[1:]] for ids in plain.token_ids]


def test_prefetched_batches_are_those_of_their_steps(folder: Path) -> None:
    expected = [reader(folder).batch(step).ids for step in range(5, 9)]
    with Prefetcher(reader(folder), range(5, 9)) as batches:
        assert [batch.ids for batch in batches] == expected


def test_an_error_while_reading_ahead_reaches_the_trainer_at_its_step() -> None:
    class Failing:
        def batch(self, step: int) -> Batch:
            if step == 2:
                raise CorpusError("shard 7 is damaged")
            return Batch([str(step)], [], [], None, [], [], [])

    seen = []
    with pytest.raises(CorpusError, match="shard 7"), Prefetcher(Failing(), range(5)) as batches:  # type: ignore[arg-type]
        seen.extend(batch.ids[0] for batch in batches)
    assert seen == ["0", "1"]


def test_leaving_early_ends_the_thread(folder: Path) -> None:
    prefetcher = Prefetcher(reader(folder), range(1000))
    with prefetcher as batches:
        next(iter(batches))
    assert not prefetcher._thread.is_alive()
