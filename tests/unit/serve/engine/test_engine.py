"""Questions become vectors, whoever else asks, and whatever happens to them on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from mtd_ray.encoder import StudentEncoder
from serve.engine.engine import Answer, Engine, Question
from serve.engine.limits import Limits
from serve.wire.faults import ApiError
from tests.tiny_export import DEFAULT_HEAD, HEADS, MAX_TOKENS
from tests.tiny_models import sentences
from tests.unit.serve.engine.watched import Watched

Start = Callable[..., Engine]


def asked(rows: Sequence[str | list[int]], size: int | None = None, **more: Any) -> Question:
    return Question(None, list(rows), size, **more)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def failure(engine: Engine, question: Question) -> ApiError:
    with pytest.raises(ApiError) as fault:
        await engine.answer(question)
    return fault.value


def total(engine: Engine, name: str, **labels: str) -> float:
    return engine.metrics.registry.get_sample_value(name, labels) or 0.0


def test_vectors_are_the_exported_ones_whatever_size_others_ask_for(start: Start, exported: Path) -> None:
    engine, texts = start(), sentences(60)
    questions = [asked(texts[at : at + count], size) for at, count, size in [(0, 1, 16), (1, 30, 48), (31, 2, None), (33, 27, 16)]]

    async def ask() -> list[Answer]:
        return await asyncio.gather(*map(engine.answer, questions))

    student = StudentEncoder.load(exported, device="cpu")
    for question, answer in zip(questions, asyncio.run(ask()), strict=True):
        size = question.size or DEFAULT_HEAD
        expected = student.encode([str(row) for row in question.rows], heads=[size])[size]
        np.testing.assert_allclose(np.stack(answer.vectors), expected, atol=1e-5)
        assert answer.tokens == sum(student.count_tokens([str(row) for row in question.rows]))


def test_questions_of_different_sizes_share_a_pass(start: Start, watched: Watched) -> None:
    engine = start()

    async def ask() -> None:
        watched.passing.clear()
        first = asyncio.create_task(engine.answer(asked(["sum"])))
        await until(lambda: bool(watched.batches))
        others = [asyncio.create_task(engine.answer(asked(["sort the list"], size))) for size in (*HEADS, *HEADS)]
        await until(lambda: engine.load().queued_tokens == 20)
        watched.passing.set()
        await asyncio.gather(first, *others)

    asyncio.run(ask())
    assert watched.batches == [[3], [5, 5, 5, 5]]


def test_a_large_question_goes_in_batches_and_a_single_one_in_between(start: Start, watched: Watched) -> None:
    engine = start()

    async def ask() -> None:
        watched.passing.clear()
        large = asyncio.create_task(engine.answer(asked(sentences(500))))
        await until(lambda: bool(watched.batches))
        single = asyncio.create_task(engine.answer(asked(["list " * 30])))
        await until(lambda: engine._answering == 2)
        watched.passing.set()
        await asyncio.gather(large, single)

    asyncio.run(ask())
    assert [MAX_TOKENS in batch for batch in watched.batches].index(True) <= 2
    assert len(watched.batches) > 30
    assert all(sum(batch) <= 64 for batch in watched.batches)


def test_lengths_are_one_only_when_asked_for(start: Start) -> None:
    engine = start()

    async def length(**more: Any) -> float:
        return float(np.linalg.norm((await engine.answer(asked(["sort the list"], 16, **more))).vectors[0]))

    assert asyncio.run(length()) != pytest.approx(1, abs=1e-3)
    assert asyncio.run(length(normalize=True)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["raises", "spoils"])
def test_poison_fails_only_its_own_question(start: Start, watched: Watched, exported: Path, kind: str) -> None:
    engine, texts = start(), sentences(100)
    poison = watched.tokenize(["matrix"])[0][1]
    getattr(watched, kind).add(poison)
    clean = [text for text in texts if poison not in watched.tokenize([text])[0]]
    expected = StudentEncoder.load(exported, device="cpu").encode(clean)[DEFAULT_HEAD]

    async def ask() -> None:
        clean_ones = [asyncio.create_task(engine.answer(asked([text]))) for text in clean]
        bulk = asyncio.create_task(engine.answer(asked(clean)))
        poisoned = asyncio.create_task(failure(engine, asked(["sum", "a matrix", "sort the list"])))
        alone = await failure(engine, asked(["matrix"]))
        fault = await poisoned
        assert (fault.status, alone.status) == (500, 500)
        assert fault.final, "asking again would fail again"
        assert "input 1" in fault.message
        assert "input 0" in alone.message
        for vector, right in zip((await bulk).vectors, expected, strict=True):
            np.testing.assert_allclose(vector, right, atol=1e-5)
        for answer, right in zip(await asyncio.gather(*clean_ones), expected, strict=True):
            np.testing.assert_allclose(answer.vectors[0], right, atol=1e-5)
        await engine.check_alive(10)

    asyncio.run(ask())
    assert engine.load().queued_tokens == engine.load().running_tokens == 0
    assert total(engine, "embedding_failed_inputs_total") == 2


def test_after_the_deadline_a_question_fails_and_its_texts_are_not_computed(start: Start, watched: Watched) -> None:
    engine = start(deadline_s=0.2)

    async def ask() -> None:
        watched.passing.clear()
        first = asyncio.create_task(failure(engine, asked(["sum"])))
        await until(lambda: bool(watched.batches))
        faults = await asyncio.gather(first, failure(engine, asked(["sort the list"])))
        assert [fault.status for fault in faults] == [504, 504]
        assert "0.2 s" in faults[0].message
        assert engine.load().queued_tokens == 0
        watched.passing.set()
        await engine.answer(asked(["read a file"]))

    asyncio.run(ask())
    assert sum(map(len, watched.batches)) == 2
    assert total(engine, "embedding_requests_total", outcome="deadline") == 2


def test_the_deadline_also_runs_while_texts_wait_to_be_tokenised(start: Start, watched: Watched) -> None:
    engine, blocked = start(deadline_s=0.2), Event()

    async def ask() -> None:
        for _ in range(2):
            engine._preparing.submit(blocked.wait)
        fault = await failure(engine, asked(["sum " * 30, "sort the list " * 10]))
        assert fault.status == 504
        assert engine.load().queued_tokens == 0
        blocked.set()

    asyncio.run(ask())
    assert not watched.batches


def test_the_deadline_begins_with_the_request(start: Start, watched: Watched) -> None:
    engine = start(deadline_s=30.0)
    watched.passing.clear()
    with pytest.raises(ApiError, match="30 s") as fault:
        asyncio.run(engine.answer(asked(["sum"]), began=perf_counter() - 29.8))
    assert fault.value.status == 504


def test_when_a_client_has_gone_its_texts_are_not_computed(start: Start, watched: Watched) -> None:
    engine = start()

    async def ask() -> None:
        watched.passing.clear()
        first = asyncio.create_task(engine.answer(asked(["sum"])))
        await until(lambda: bool(watched.batches))
        gone = asyncio.create_task(engine.answer(asked(sentences(200))))
        await until(lambda: engine.load().queued_tokens > 500)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert engine.load().queued_tokens == 0
        watched.passing.set()
        await asyncio.gather(first, engine.answer(asked(["sort the list"])))

    asyncio.run(ask())
    assert watched.batches == [[3], [5]]
    assert total(engine, "embedding_requests_total", outcome="gone") == 1


def test_a_full_queue_refuses_at_once_and_what_it_took_is_answered(start: Start, watched: Watched) -> None:
    engine = start(max_queued_tokens=100)

    async def ask() -> None:
        watched.passing.clear()
        first = asyncio.create_task(engine.answer(asked(["sum"])))
        await until(lambda: bool(watched.batches))
        outcomes = [asyncio.create_task(engine.answer(asked(["sort the list"]))) for _ in range(200)]
        refused = [outcome for outcome in outcomes if (await asyncio.wait([outcome], timeout=0))[0]]
        assert len(refused) > 150
        assert all((fault := outcome.exception()) and fault.status == 429 and fault.retry_after_s >= 1 for outcome in refused)  # type: ignore[attr-defined]
        with pytest.raises(ApiError):
            engine.admit(10_000)
        watched.passing.set()
        await first
        taken = [outcome for outcome in outcomes if outcome not in refused]
        assert len(taken) > 10
        await asyncio.gather(*taken)
        engine.admit(10_000)

    asyncio.run(ask())
    assert engine.load().queued_tokens == 0


def test_texts_that_come_again_are_not_computed_again(start: Start, watched: Watched) -> None:
    engine = start(cache_bytes=1_000_000)

    async def ask() -> None:
        watched.passing.clear()
        same = [asyncio.create_task(engine.answer(asked(["sort the list"]))) for _ in range(5)]
        await until(lambda: bool(watched.batches) and engine._answering == 5)
        watched.passing.set()
        vectors = [answer.vectors[0] for answer in await asyncio.gather(*same)]
        assert all(np.array_equal(vector, vectors[0]) for vector in vectors)
        again = await engine.answer(asked(["sum", "sort the list"]))
        assert again.tokens == 8
        assert np.array_equal(again.vectors[1], vectors[0])
        await engine.answer(asked(["sort the list"], 16))

    asyncio.run(ask())
    assert watched.batches == [[5], [3], [5]]
    assert total(engine, "embedding_cache_hits_total") == 1


def test_health_fails_when_the_model_is_stuck_or_wrong_and_passes_when_it_is_only_busy(start: Start, watched: Watched) -> None:
    engine = start()

    async def ask() -> None:
        await engine.check_alive(10)
        engine._worker.answered_at["tiny"] = float("-inf")
        watched.passing.clear()
        with pytest.raises(ApiError, match="within") as fault:
            await engine.check_alive(0.1)
        assert fault.value.status == 503
        watched.passing.set()
        many = asyncio.create_task(engine.answer(asked(sentences(500))))
        await until(lambda: len(watched.batches) > 3)
        engine._worker.answered_at["tiny"] = float("-inf")
        await engine.check_alive(10)
        assert not many.done()
        await many
        watched.raises.add(watched.tokenize(["ok"])[0][0])
        engine._worker.answered_at["tiny"] = float("-inf")
        with pytest.raises(ApiError, match="log"):
            await engine.check_alive(10)

    asyncio.run(ask())


def test_a_healthy_model_does_not_hide_a_broken_one(exported: Path, watched: Watched) -> None:
    other = Watched.load(exported, name="other", device="cpu", batch_tokens=64)
    engine = Engine({"tiny": watched, "other": other}, limits=Limits())
    other.raises.add(other.tokenize(["ok"])[0][0])

    async def ask() -> None:
        await engine.answer(asked(["sum"]))
        with pytest.raises(ApiError, match="log"):
            await engine.check_alive(10)

    asyncio.run(ask())
    engine.close()


def test_whatever_breaks_in_the_queue_nobody_waits_for_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start()
    account, broken = engine._worker._account, []

    def break_once(*arguments: Any) -> None:
        if not broken:
            broken.append(arguments)
            raise ValueError
        account(*arguments)

    monkeypatch.setattr(engine._worker, "_account", break_once)

    async def ask() -> None:
        questions = [asked([*sentences(10)]) for _ in range(100)]
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*map(engine.answer, questions), return_exceptions=True)
        assert any(isinstance(outcome, ApiError) and outcome.status == 500 for outcome in outcomes)
        await engine.answer(asked(["sum"]))
        assert engine.load().queued_tokens == engine.load().running_tokens == 0

    asyncio.run(ask())


def test_a_dead_model_thread_fails_health_and_every_question(
    start: Start, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start()

    def end(now: float) -> None:
        raise SystemExit

    monkeypatch.setattr(engine._worker._queue, "take", end)
    monkeypatch.setattr("threading.excepthook", lambda _: None)

    async def ask() -> None:
        watched.passing.clear()
        probe = asyncio.create_task(engine.check_alive(10))
        await until(lambda: bool(watched.batches))
        waiting = [asyncio.create_task(failure(engine, asked(["sum"]))) for _ in range(5)]
        await until(lambda: engine._answering == 5)
        watched.passing.set()
        assert [fault.status for fault in await asyncio.gather(*waiting)] == [500] * 5
        await probe
        await until(lambda: not engine._worker.alive)
        with pytest.raises(ApiError) as fault:
            await engine.check_alive(10)
        assert fault.value.status == 503
        dead = await failure(engine, asked(["sum"]))
        assert dead.status == 503
        assert "thread has ended" in dead.message

    asyncio.run(ask())


def test_closing_answers_what_was_taken_and_takes_no_more(start: Start, watched: Watched) -> None:
    engine = start()

    async def ask() -> None:
        watched.passing.clear()
        taken = [asyncio.create_task(engine.answer(asked([text]))) for text in sentences(30)]
        await until(lambda: bool(watched.batches) and engine._answering == 30)
        closing = asyncio.create_task(asyncio.to_thread(engine.close))
        await until(lambda: engine._closing)
        fault = await failure(engine, asked(["sum"]))
        assert (fault.status, fault.retry_after_s) == (503, 1.0)
        watched.passing.set()
        await asyncio.gather(*taken)
        await closing
        assert not engine._worker.alive

    asyncio.run(ask())


def test_what_was_computed_is_told_to_prometheus(start: Start) -> None:
    engine = start()
    asyncio.run(engine.answer(asked(["sum", "sort the list"])))
    asyncio.run(failure(engine, asked([])))
    engine.close()
    assert total(engine, "embedding_requests_total", outcome="ok") == 1
    assert total(engine, "embedding_requests_total", outcome="invalid") == 1
    assert total(engine, "embedding_tokens_total", model="tiny") == 8
    assert total(engine, "embedding_batch_tokens_sum") == 8
    assert total(engine, "embedding_queued_tokens") == 0
    assert total(engine, "embedding_tokens_per_second") > 0
