"""Teachers as measured models: asked once for a text, whatever goes wrong meanwhile; all of them side by side."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtd_ray.config import CohereTeacher, Kind, LocalTeacher, OpenAITeacher
from mtd_ray.encoder import StudentEncoder
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models import Access, Asked, ConcatenatedTeachers, MeasuredTeacher, teacher
from mtd_ray.evaluate.models.kept import KeptVectors
from mtd_ray.evaluate.vectors import Vectors
from mtd_ray.objects import ObjectStore
from mtd_ray.teachers import Answer, BudgetSpent, Unbudgeted, Unlimited
from mtd_ray.teachers.base import NOT_FINITE
from tests.tiny_published import PROMPTS, tiny_published

QUERY, DOCUMENT = Asked("SciFact", "Retrieval", "query"), Asked("SciFact", "Retrieval", "document")
ALIKE = Asked("STSBenchmark", "STS", None)
TEXTS = [f"text {number}" for number in range(6)]
_KINDS: list[Kind] = ["query", "passage", "sentence"]


class FakeTeacher:
    """Vectors that tell text and kind, two texts to an answer; remembers what it is asked."""

    def __init__(self, size: int, *, failing: Sequence[str] = (), stops_after: int | None = None) -> None:
        self.size, self.failing, self.stops_after = size, failing, stops_after
        self.reason = "HTTP 400: refused"
        self.asked: list[str] = []
        self.closed = False

    def answers(self, texts: Sequence[str], kinds: Sequence[Kind], *, tick_s: float) -> Iterator[Answer | None]:
        yield None
        for start in reversed(range(0, len(texts), 2)):
            if self.stops_after is not None and len(self.asked) >= self.stops_after:
                raise BudgetSpent("no money left")
            rows = range(start, min(start + 2, len(texts)))
            self.asked += [texts[row] for row in rows]
            failures = {row: self.reason for row in rows if texts[row] in self.failing}
            vectors = np.stack([self.vector(texts[row], kinds[row]) for row in rows])
            vectors[[row - start for row in failures]] = 0
            yield Answer(rows, vectors, failures, tokens=1, requests=1)

    def vector(self, text: str, kind: Kind) -> Vectors:
        return np.array([3.0, 4.0 * _KINDS.index(kind), *map(float, text.encode()[5:6]), *[0.5] * (self.size - 3)], np.float32)

    def close(self) -> None:
        self.closed = True


def openai(model: str = "m", size: int = 4, **more: Any) -> OpenAITeacher:
    return OpenAITeacher(provider="openai", model=model, dimensions=size, **more)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeTeacher]:
    found = {"a": FakeTeacher(4), "b": FakeTeacher(6)}
    monkeypatch.setattr(teacher, "open_teacher", lambda name, config, **shared: found[name])
    return found


def vectors(measured: MeasuredTeacher, store: ObjectStore, texts: Sequence[str] = TEXTS, asked: Asked = QUERY) -> Vectors:
    with measured.open(store, Access()) as encoder:
        return encoder.encode(texts, asked)[measured.config.dimensions]


def test_a_text_is_asked_once_with_the_kind_of_its_side(clients: dict[str, FakeTeacher], local_store: ObjectStore) -> None:
    measured = MeasuredTeacher("a", openai(prompts={"passage": "d: ", "sentence": "s: "}))
    for asked, kind in ((QUERY, "query"), (DOCUMENT, "passage"), (ALIKE, "sentence")):
        expected = np.stack([clients["a"].vector(text, kind) for text in TEXTS])  # type: ignore[arg-type]
        for _ in range(2):
            np.testing.assert_array_equal(vectors(measured, local_store, TEXTS, asked), expected)
    assert sorted(clients["a"].asked) == sorted(3 * TEXTS)


def test_repeated_and_known_texts_are_not_asked_again(clients: dict[str, FakeTeacher], local_store: ObjectStore) -> None:
    measured = MeasuredTeacher("a", openai())
    found = vectors(measured, local_store, [TEXTS[0], TEXTS[1], TEXTS[0]])
    np.testing.assert_array_equal(found[0], found[2])
    vectors(measured, local_store, [*TEXTS[:3]], DOCUMENT)  # without prompts and input types, all kinds are asked alike
    assert sorted(clients["a"].asked) == TEXTS[:3]


def test_input_types_and_other_models_are_asked_for_themselves(clients: dict[str, FakeTeacher], local_store: ObjectStore) -> None:
    cohere = MeasuredTeacher("a", CohereTeacher(provider="cohere", model="m", dimensions=4))
    vectors(cohere, local_store, TEXTS[:1], QUERY)
    vectors(cohere, local_store, TEXTS[:1], DOCUMENT)
    vectors(MeasuredTeacher("a", openai("other")), local_store, TEXTS[:1], QUERY)
    assert len(clients["a"].asked) == 3


def test_nothing_is_opened_for_texts_that_are_kept(
    clients: dict[str, FakeTeacher], local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = MeasuredTeacher("a", openai())
    first = vectors(measured, local_store)
    assert clients["a"].closed
    monkeypatch.setattr(teacher, "open_teacher", lambda *args, **shared: pytest.fail("was opened"))
    np.testing.assert_array_equal(vectors(measured, local_store), first)


def test_what_was_answered_before_an_error_is_kept(
    monkeypatch: pytest.MonkeyPatch, clients: dict[str, FakeTeacher], local_store: ObjectStore
) -> None:
    measured = MeasuredTeacher("a", openai())
    broken = FakeTeacher(4, stops_after=4)
    monkeypatch.setattr(teacher, "open_teacher", lambda name, config, **shared: broken)
    with pytest.raises(BudgetSpent):
        vectors(measured, local_store)
    monkeypatch.setattr(teacher, "open_teacher", lambda name, config, **shared: clients[name])
    vectors(measured, local_store)
    assert sorted(broken.asked + clients["a"].asked) == TEXTS


def test_full_chunks_are_kept_while_more_is_coming(
    monkeypatch: pytest.MonkeyPatch, clients: dict[str, FakeTeacher], local_store: ObjectStore
) -> None:
    monkeypatch.setattr(KeptVectors, "chunk_rows", 3)
    kept: list[int] = []
    keep = KeptVectors.keep
    monkeypatch.setattr(KeptVectors, "keep", lambda self, texts, found: (kept.append(len(texts)), keep(self, texts, found)))
    measured = MeasuredTeacher("a", openai())
    first = vectors(measured, local_store, [*TEXTS, "text 6"])
    assert kept == [3, 3, 1]
    np.testing.assert_array_equal(vectors(measured, local_store, [*TEXTS, "text 6"]), first)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> FakeTeacher:
    """A teacher that refuses one text."""
    client = FakeTeacher(4, failing=["text 3"])
    monkeypatch.setattr(teacher, "open_teacher", lambda name, config, **shared: client)
    return client


def test_failed_texts_are_zeros_and_told(refusing: FakeTeacher, local_store: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    found = vectors(MeasuredTeacher("a", openai()), local_store)
    assert [row for row in range(6) if not found[row].any()] == [3]
    assert (
        "a: 1 of 6 texts could not be embedded and are vectors of zeros, the last of task 'SciFact': HTTP 400: refused"
        in caplog.text
    )


def test_a_refused_text_is_not_asked_for_again(
    refusing: FakeTeacher, local_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert not vectors(MeasuredTeacher("a", openai()), local_store)[3].any()
    assert sorted(refusing.asked) == TEXTS
    assert caplog.text.count("1 of 6 texts could not be embedded") == 2


def test_a_failure_that_may_pass_is_asked_for_again(
    refusing: FakeTeacher, clients: dict[str, FakeTeacher], local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing.reason = NOT_FINITE
    monkeypatch.setattr(teacher, "open_teacher", lambda name, config, **shared: refusing)
    measured = MeasuredTeacher("a", openai())
    vectors(measured, local_store)
    with ConcatenatedTeachers((measured,)).open(local_store, Access()) as encoder:  # which asks for no text that ever failed
        assert not encoder.encode(TEXTS, QUERY)[4][3].any()
    assert sorted(refusing.asked) == TEXTS
    monkeypatch.setattr(teacher, "open_teacher", lambda name, config, **shared: clients["a"])
    assert vectors(measured, local_store)[3].any()
    assert clients["a"].asked == ["text 3"]


def test_a_block_of_which_no_text_has_a_vector_is_no_error(refusing: FakeTeacher, local_store: ObjectStore) -> None:
    with MeasuredTeacher("a", openai()).open(local_store, Access()) as encoder:
        assert not encoder.encode(["text 3"], QUERY)[4].any()
        assert encoder.encode(["text 1"], QUERY)[4].any()


def test_a_teacher_that_answers_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch, local_store: ObjectStore) -> None:
    monkeypatch.setattr(teacher, "open_teacher", lambda name, config, **shared: FakeTeacher(4, failing=TEXTS))
    for _ in range(2):
        with pytest.raises(
            EvaluationError, match=r"teacher a: not one of 6 texts could be embedded, .* task 'SciFact': HTTP 400: refused"
        ):
            vectors(MeasuredTeacher("a", openai()), local_store)


def test_encoders_that_are_open_at_once_ask_for_shared_texts_once(
    clients: dict[str, FakeTeacher], local_store: ObjectStore
) -> None:
    measured = MeasuredTeacher("a", openai())
    with measured.open(local_store, Access()) as one, measured.open(local_store, Access()) as other:
        other.encode(["another text"], QUERY)  # has seen what the store held then
        expected = one.encode(TEXTS, QUERY)[4]
        np.testing.assert_array_equal(other.encode(TEXTS, QUERY)[4], expected)
    assert sorted(clients["a"].asked) == sorted(["another text", *TEXTS])


def test_opened_with_the_shared_limiter_and_budget(monkeypatch: pytest.MonkeyPatch, local_store: ObjectStore) -> None:
    given = []

    def opened(name: str, config: OpenAITeacher, **shared: Any) -> FakeTeacher:
        given.append(shared)
        return FakeTeacher(4)

    monkeypatch.setattr(teacher, "open_teacher", opened)
    limiter, budget = Unlimited(), Unbudgeted()
    both = ConcatenatedTeachers((MeasuredTeacher("a", openai()), MeasuredTeacher("b", openai("n"))))
    with both.open(local_store, Access({"a": limiter}, {"a": budget})) as encoder:
        encoder.encode(TEXTS, QUERY)
    assert given == [{"limiter": limiter, "budget": budget}, {"limiter": None, "budget": None}]


def test_about_names_what_is_needed_to_measure_again(local_store: ObjectStore) -> None:
    measured = MeasuredTeacher("a", openai("text-embedding-3", prompts={"query": "q: "}, license="proprietary"))
    with measured.open(local_store, Access()) as encoder:
        assert encoder.about.name == "openai/text-embedding-3"
        assert (encoder.about.prompts, encoder.about.max_tokens) == ({"query": "q: "}, 8192)
        assert (encoder.prompt(QUERY), encoder.prompt(DOCUMENT), encoder.sizes) == ("q: ", "", (4,))
    assert pickle.loads(pickle.dumps(measured)) == measured


def test_side_by_side_reads_what_the_teachers_left(clients: dict[str, FakeTeacher], local_store: ObjectStore) -> None:
    teachers = (MeasuredTeacher("a", openai()), MeasuredTeacher("b", openai("n", 6, weight=4.0)))
    for measured in teachers:
        vectors(measured, local_store)
    asked = [list(client.asked) for client in clients.values()]
    both = ConcatenatedTeachers(teachers)
    with both.open(local_store, Access()) as encoder:
        fused = encoder.encode(TEXTS, QUERY)[10]
    assert [client.asked for client in clients.values()] == asked
    assert (both.sizes, both.teacher_names) == ((10,), ("a", "b"))
    np.testing.assert_allclose(np.linalg.norm(fused[:, :4], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(fused[:, 4:], axis=1), 2, atol=1e-5)


def test_side_by_side_as_the_target_shortens_them(clients: dict[str, FakeTeacher], local_store: ObjectStore) -> None:
    both = ConcatenatedTeachers((MeasuredTeacher("a", openai(target_dimensions=2)), MeasuredTeacher("b", openai("n", 6))))
    with both.open(local_store, Access()) as encoder:
        fused = encoder.encode(TEXTS, DOCUMENT)[8]
    np.testing.assert_allclose(fused[:, :2], [[0.6, 0.8]] * 6, atol=1e-6)


def test_weights_and_parts_change_the_concatenation_not_the_teachers(local_store: ObjectStore) -> None:
    plain, heavy, short = (MeasuredTeacher("a", openai(**more)) for more in ({}, {"weight": 2.0}, {"target_dimensions": 2}))
    assert plain.identity(local_store) == heavy.identity(local_store) == short.identity(local_store)
    assert len({ConcatenatedTeachers((one,)).identity(local_store) for one in (plain, heavy, short)}) == 3


def test_a_local_teacher_gives_the_head_of_its_dimensions(local_store: ObjectStore, tmp_path: Path) -> None:
    folder = tiny_published(tmp_path / "stella", tmp_path / "bert")
    config = LocalTeacher(provider="local", model=str(folder), dimensions=40, prompts={"query": PROMPTS["s2p_query"]})
    expected = StudentEncoder.load(folder, device="cpu").encode(TEXTS, heads=[40], prompt=PROMPTS["s2p_query"])[40]
    np.testing.assert_allclose(vectors(MeasuredTeacher("local", config), local_store), expected, atol=1e-5)
