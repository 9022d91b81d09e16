"""A batch's texts and targets belong together, whoever reads them."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtd_ray import layout
from mtd_ray.corpus import Manifest
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.data.feed import stage_batches, stage_sampler
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import tokenize
from tests.tiny_models import sentences, tiny_tokenizer
from tests.tiny_run import store_run, synthetic_vectors, tiny_recipe

TOKENIZER = tiny_tokenizer()
ROWS = 120
TEXTS = sentences(ROWS)
PASS = ROWS // 8
FAILED = {"beta": {3, 77}}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Manifest]:
    store = ObjectStore(str(tmp_path_factory.mktemp("run")))
    return store.url, store_run(store, tiny_recipe(store, "unused"), failed=FAILED)


Batches = Callable[..., list[Batch]]


@pytest.fixture
def batches(stored: tuple[str, Manifest]) -> Batches:
    def read(steps: range, *, shuffle_shards: int = 2, store: ObjectStore | None = None, **options: Any) -> list[Batch]:
        store = store or ObjectStore(stored[0])
        prompts = options.pop("prompts", {})
        student = {"model": "unused", "heads": [16, 8], "max_tokens": 32, "prompts": prompts}
        recipe = tiny_recipe(store, "unused", train={"shuffle_shards": shuffle_shards, "length_window": 3}, student=student)
        with stage_batches(store, recipe, stored[1], 0, steps=steps, tokenizer=TOKENIZER, **options) as read_ahead:
            return list(read_ahead)

    return read


def row_of(text_id: str) -> int:
    return int(text_id.removeprefix("text-"))


class Recording(ObjectStore):
    """A store that notes which objects of targets are read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.read: list[str] = []

    def find_view(self, key: str) -> memoryview | None:
        if "/data/" in key:
            self.read.append(key)
        return super().find_view(key)


def test_targets_stand_beside_their_texts_for_a_whole_pass(batches: Batches) -> None:
    vectors = [synthetic_vectors(TEXTS, size, seed=seed) for size, seed in ((12, 5), (4, 4))]
    seen = []
    for batch in batches(range(PASS)):
        rows = [row_of(text_id) for text_id in batch.ids]
        seen += rows
        assert batch.token_ids == tokenize(TOKENIZER, [TEXTS[rows[place]] for place in batch.shares[0]], 32)
        assert batch.owners[0].tolist() == list(range(8))
        for block, ok, vector in zip(batch.blocks, batch.valid, vectors, strict=True):
            np.testing.assert_allclose(block[ok].numpy(), vector[rows][ok.numpy()], atol=1e-3)
        assert batch.valid[0].all()
        assert batch.valid[1].tolist() == [row not in FAILED["beta"] for row in rows]
    assert sorted(seen) == list(range(ROWS))


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_together_have_the_batch_that_one_worker_would_have(batches: Batches, workers: int) -> None:
    alone = batches(range(PASS))
    shared = [batches(range(PASS), rank=rank, workers=workers) for rank in range(workers)]
    for whole, *parts in zip(alone, *shared, strict=True):
        assert all(part.ids == whole.ids for part in parts)
        tokens, targets = {}, torch.full_like(whole.blocks[0], torch.nan)
        for rank, part in enumerate(parts):
            tokens |= dict(zip(part.shares[rank].tolist(), part.token_ids, strict=True))
            targets[part.owners[rank]] = part.blocks[0]
            assert len(part.valid[1]) == len(part.owners[rank])
        assert tokens == dict(zip(whole.shares[0].tolist(), whole.token_ids, strict=True))
        assert torch.equal(targets, whole.blocks[0])


@pytest.mark.parametrize("shuffle_shards", [1, 2])
@pytest.mark.parametrize("workers", [1, 2])
def test_each_target_object_is_read_once_a_pass_by_one_worker(
    stored: tuple[str, Manifest], batches: Batches, workers: int, shuffle_shards: int
) -> None:
    stores = [Recording(stored[0]) for _ in range(workers)]
    for rank, store in enumerate(stores):
        batches(range(PASS), store=store, rank=rank, workers=workers, shuffle_shards=shuffle_shards)
    read = [key for store in stores for key in store.read]
    # 120 rows in three shards of 40, parts of 16, two teachers.
    assert len(read) == len(set(read)) == 18


def test_what_memory_holds_is_not_read_again_in_the_second_pass(stored: tuple[str, Manifest], batches: Batches) -> None:
    store = Recording(stored[0])
    batches(range(3 * PASS), store=store, shuffle_shards=2)
    assert len(store.read) == 18


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_that_ends_a_pass_and_begins_the_next_is_read_once_for_both(
    stored: tuple[str, Manifest], batches: Batches, workers: int
) -> None:
    stores = [Recording(stored[0]) for _ in range(workers)]
    for rank, store in enumerate(stores):
        batches(range(6 * PASS), store=store, rank=rank, workers=workers, shuffle_shards=1)
    recipe = tiny_recipe(stores[0], "unused", train={"shuffle_shards": 1, "length_window": 3})
    sampler = stage_sampler(recipe, stored[1], 0)
    order = [int(sampler.shards(group)[0]) for group in range(18)]
    repeated = sum(shard == following for shard, following in pairwise(order))
    assert repeated > 0
    assert sum(len(store.read) for store in stores) <= 6 * (18 - repeated)


def test_only_the_groups_of_the_steps_are_read(stored: tuple[str, Manifest], batches: Batches) -> None:
    store = Recording(stored[0])
    batches(range(3), store=store, shuffle_shards=1)
    assert len(store.read) == 6


def test_a_stage_resumed_in_the_middle_goes_on_with_the_same_batches(batches: Batches) -> None:
    whole, rest = batches(range(2 * PASS)), batches(range(PASS + 2, 2 * PASS))
    for expected, got in zip(whole[PASS + 2 :], rest, strict=True):
        assert got.ids == expected.ids
        assert got.token_ids == expected.token_ids
        assert torch.equal(got.blocks[1], expected.blocks[1])


def test_a_prompt_goes_before_texts_of_its_kind(batches: Batches) -> None:
    [plain], [prompted] = batches(range(1)), batches(range(1), prompts={"passage": "the list ", "query": "a "})
    prompt = tokenize(TOKENIZER, ["the list"], 32)[0][1:-1]
    assert prompted.token_ids == [[ids[0], *prompt, *ids[1:]] for ids in plain.token_ids]


def test_targets_that_are_not_there_stop_at_the_step_that_needs_them(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    recipe = tiny_recipe(store, "unused", train={"shuffle_shards": 1, "length_window": 1})
    manifest = store_run(store, recipe)
    third = int(stage_sampler(recipe, manifest, 0).shards(2)[0])
    for info in list(store.list("targets")):
        if f"/data/{layout.short(manifest.shards[third].sha256)}/" in info.key:
            store.delete(info.key)
    seen = []
    with (
        pytest.raises(TargetError, match="is gone"),
        stage_batches(store, recipe, manifest, 0, steps=range(PASS), tokenizer=TOKENIZER) as read_ahead,
    ):
        seen.extend(batch.ids for batch in read_ahead)
    assert len(seen) == 10  # two of three shards, 40 rows each


def test_no_steps_need_nothing(batches: Batches) -> None:
    assert batches(range(4, 4)) == []
