"""A stage on the cache learns from the states that the trunk would give, and they are computed once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mtd_ray import layout
from mtd_ray.config import LastLayers, Recipe, StudentConfig, Trainable, fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.distill.data.feed import stage_batches, stage_encoder, stage_sampler
from mtd_ray.distill.embed import embed_rows
from mtd_ray.distill.trunk import cache as trunk_cache
from mtd_ray.distill.trunk import fill as trunk_fill
from mtd_ray.distill.trunk import stage as trunk_stage
from mtd_ray.distill.trunk.cache import TrunkCache, describe_trunk
from mtd_ray.distill.trunk.fill import Embed, fill, worth_caching
from mtd_ray.distill.trunk.stage import cached_states
from mtd_ray.errors import TrainingError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student, tokenize
from tests.tiny_models import sentences, tiny_bert, tiny_qwen2
from tests.tiny_run import store_run, tiny_recipe

TEXTS = sentences(120)
CPU = torch.device("cpu")
SHARDS = [0, 1, 2]


class Run:
    """A corpus with targets, a student, and a count of the rows that its trunk has embedded."""

    def __init__(self, folder: Path, model: str) -> None:
        self.store = ObjectStore(str(folder))
        self.recipe: Recipe = tiny_recipe(self.store, model, train={"length_window": 3})
        self.manifest: Manifest = store_run(self.store, self.recipe)
        self.student = Student.build(self.recipe.student, 0)
        self.encoder = stage_encoder(self.recipe, self.student.tokenizer)
        self.embedded: list[int] = []

    def embed(self, token_ids: list[list[int]]) -> Tensor:
        self.embedded.append(len(token_ids))
        return embed_rows(self.student, token_ids, 10_000)[0]

    def cache(self) -> TrunkCache:
        return TrunkCache.open(self.store, self.student, "float32")

    def fill(
        self, *, embed: Embed | None = None, rank: int = 0, workers: int = 1, told: Callable[[int, int], None] = print
    ) -> None:
        fill(
            self.cache(), self.store, self.manifest, SHARDS, self.encoder,
            embed=embed or self.embed, device=CPU, rank=rank, workers=workers, told=told,
        )  # fmt: skip

    def key(self, shard: int) -> str:
        trunk = fingerprint(describe_trunk(self.student, "float32"))
        return layout.trunk_states(trunk, self.manifest.shards[shard].sha256)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def run(tmp_path: Path, model: str) -> Run:
    return Run(tmp_path, model)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stage_on_the_cache_has_the_states_that_the_trunk_gives(run: Run, workers: int) -> None:
    run.fill()
    for rank in range(workers):
        options = {"steps": range(15), "tokenizer": run.student.tokenizer, "rank": rank, "workers": workers}
        with stage_batches(run.store, run.recipe, run.manifest, 0, **options, states=run.cache()) as batches:
            for batch in batches:
                own = [TEXTS[int(batch.ids[place].removeprefix("text-"))] for place in batch.shares[rank]]
                assert batch.token_ids == []
                assert batch.pooled is not None
                assert batch.shares[rank].tolist() == batch.owners[rank].tolist()
                assert len(batch.pooled) == len(own)
                if own:
                    expected = run.embed(tokenize(run.student.tokenizer, own, 32))
                    torch.testing.assert_close(batch.pooled, expected, atol=1e-5, rtol=1e-5)


def test_filling_again_does_no_work_and_reads_no_states(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    run.fill(told=lambda done, of: seen.append((done, of)))
    assert sum(run.embedded) == 120
    assert seen == [(1, 3), (2, 3), (3, 3)]
    run.embedded.clear()
    monkeypatch.setattr(ObjectStore, "_read", None)
    run.fill()
    assert run.embedded == []


def test_workers_divide_the_shards(run: Run) -> None:
    run.fill(rank=0, workers=2)
    assert sum(run.embedded) == 80
    run.fill(rank=1, workers=2)
    assert sum(run.embedded) == 120
    assert all(run.store.exists(run.key(shard)) for shard in SHARDS)


def test_a_worker_without_work_keeps_the_others_company(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    others_have_work = iter([1, 1, 0])
    monkeypatch.setattr(trunk_fill, "largest", lambda value, device: max(value, next(others_have_work)))
    run.fill(rank=3, workers=4)
    assert run.embedded == [1, 1]
    assert not any(run.store.exists(run.key(shard)) for shard in SHARDS)


def test_a_worker_that_dies_loses_no_more_than_its_shard(run: Run) -> None:
    calls: Iterator[int] = iter(range(100))

    def dying(token_ids: list[list[int]]) -> Tensor:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return run.embed(token_ids)

    with pytest.raises(KeyboardInterrupt):
        run.fill(embed=dying)
    assert [run.store.exists(run.key(shard)) for shard in SHARDS] == [True, True, False]
    run.fill()
    assert sum(run.embedded) == 120


def test_a_damaged_object_is_computed_again(run: Run) -> None:
    run.fill()
    states = run.cache().read_shard(run.manifest.shards[1]).copy()
    data = bytearray(run.store.get(run.key(1)))
    data[100] ^= 1
    run.store.put(run.key(1), bytes(data))
    with pytest.raises(TrainingError, match=r"shard 1 are gone, or were damaged.*start the run again"):
        run.cache().read_shard(run.manifest.shards[1])
    run.embedded.clear()
    run.fill()
    assert sum(run.embedded) == 40
    np.testing.assert_array_equal(run.cache().read_shard(run.manifest.shards[1]), states)


def test_an_object_of_a_wrong_size_is_computed_again_before_the_first_step(run: Run) -> None:
    run.fill()
    run.store.put(run.key(2), run.store.get(run.key(2))[:-4])
    run.embedded.clear()
    run.fill()
    assert sum(run.embedded) == 40
    assert run.cache().read_shard(run.manifest.shards[2]).shape == (40, 32)


def test_states_that_are_not_finite_are_not_kept(run: Run) -> None:
    with pytest.raises(TrainingError, match="not finite for texts of corpus shard 0"):
        run.fill(embed=lambda token_ids: torch.full((len(token_ids), 32), torch.nan))
    assert not run.store.exists(run.key(0))


def test_whatever_changes_the_states_changes_the_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(student: Student, dtype: str = "float32") -> str:
        return fingerprint(describe_trunk(student, dtype))

    before = key(run.student)
    assert key(Student.build(run.recipe.student, 1)) == before  # other heads
    run.student.tokenizer(["cut"], truncation=True, max_length=4)
    assert key(run.student) == before
    others = [
        run.recipe.student.model_copy(update=change)
        for change in ({"max_tokens": 16}, {"pooling": "cls"}, {"prompts": {"query": "a "}}, {"layers": (0, 1)})
    ]
    keys = {before, key(run.student, "bfloat16"), *(key(Student.build(other, 0)) for other in others)}
    assert len(keys) == 6
    for change in ({"truncation_side": "left"}, {"padding_side": "left"}, {"split_special_tokens": True}):
        other = Student.build(run.recipe.student, 0)
        for name, value in change.items():
            setattr(other.tokenizer, name, value)
        keys.add(key(other))
    other.tokenizer.add_tokens(["unheard"])
    keys.add(key(other))
    monkeypatch.setattr(trunk_cache, "_METHOD", 0)
    keys.add(key(run.student))
    monkeypatch.undo()
    with torch.no_grad():
        next(run.student.backbone.parameters())[3, 2] += 1e-3
    keys.add(key(run.student))
    assert len(keys) == 12


def test_a_stage_too_short_for_its_shards_is_not_cached(run: Run) -> None:
    sampler = stage_sampler(run.recipe, run.manifest, 0)
    assert not worth_caching(sampler, range(7))  # 56 of 120 rows
    assert worth_caching(sampler, range(8))


def states_for(run: Run, trainable: Trainable, steps: range) -> TrunkCache | None:
    run.student.freeze(trainable, [16])
    return cached_states(run.store, run.recipe, run.manifest, 0, steps=steps, first=0, student=run.student, device=CPU)


def test_a_stage_that_trains_only_heads_gets_its_states_and_the_student_stays_as_it_is(run: Run) -> None:
    before = {name: tensor.clone() for name, tensor in run.student.state_dict().items()}
    cache = states_for(run, "heads", range(15))
    assert cache is not None
    assert all(cache.read_shard(shard).shape == (40, 32) for shard in run.manifest.shards)
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.student.state_dict().items())


def test_a_stage_that_trains_layers_or_is_short_runs_the_trunk(run: Run) -> None:
    assert states_for(run, LastLayers(last=1), range(15)) is None
    assert states_for(run, "heads", range(2)) is None
    assert not any(run.store.exists(run.key(shard)) for shard in SHARDS)


def test_in_bfloat16_the_trunk_keeps_the_precision_of_its_rotary_positions(tmp_path: Path) -> None:
    student = Student.build(StudentConfig(model=tiny_qwen2(tmp_path / "qwen2"), heads=(8,), max_tokens=32), 0)
    trunk = trunk_stage._copy_on(student, torch.device("cpu"), torch.bfloat16)
    assert {weight.dtype for weight in trunk.parameters()} == {torch.bfloat16}
    assert {buffer.dtype for buffer in trunk.buffers() if buffer.is_floating_point()} == {torch.float32}
