"""Every kind of mteb's tasks is scored as mteb scores it, in every view, from one pass over the texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import mteb
import numpy as np
import pytest
import torch
from datasets import Dataset
from mteb.mocks import mock_tasks
from mteb.mocks.mock_tasks.clustering import MockClusteringTask
from mteb.models import ModelMeta
from scipy.stats import spearmanr

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.measuring.measure import measure
from mtd_ray.evaluate.models.base import About, Asked
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.tasks.classes import own_task
from mtd_ray.evaluate.vectors import Vectors, unit
from mtd_ray.evaluate.views import View

SIZES = (8, 32)
LARGEST = 32


def vector(text: str, side: str | None) -> Vectors:
    """Random numbers, the same for the same text on the same side, and like those of other texts with the same first word."""
    names = f"{side} {text}", text.split(maxsplit=1)[0]
    seeds = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") for name in names]
    own, shared = (np.random.default_rng(seed).normal(size=LARGEST) for seed in seeds)
    return np.asarray(own + shared, np.float32)


def vectors(texts: Sequence[str], side: str | None) -> Vectors:
    return np.stack([vector(text, side) for text in texts])


class RandomEncoder:
    """Remembers what it was asked for; of no vector where ``lost`` stands in the text."""

    sizes = SIZES
    about = About("org/random", "1", None, "float32")
    device = "cpu"

    def __init__(self) -> None:
        self.asked: list[tuple[Asked, str]] = []

    def prompt(self, asked: Asked) -> str:
        return {"query": "find: ", "document": "", None: "same: "}[asked.side]

    def encode(self, texts: Sequence[str], asked: Asked) -> dict[int, Vectors]:
        self.asked += [(asked, text) for text in texts]
        found = vectors(texts, asked.side)
        found[["lost" in text for text in texts]] = 0
        return {LARGEST: found, 8: found[:, :8]}

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        return [len(text.split()) for text in texts]


class PlainModel:
    """The same vectors in the simplest model that mteb takes."""

    mteb_model_meta = ModelMeta.create_empty()

    def encode(self, inputs: Any, *, prompt_type: Any = None, **_: Any) -> Vectors:
        texts = [text for batch in inputs for text in batch["text"]]
        return vectors(texts, prompt_type.value if prompt_type else None)

    def similarity(self, one: Any, other: Any) -> Any:
        import torch

        return torch.from_numpy(unit(np.atleast_2d(one)) @ unit(np.atleast_2d(other)).T)

    def similarity_pairwise(self, one: Any, other: Any) -> Vectors:
        product: Vectors = (unit(np.asarray(one)) * unit(np.asarray(other))).sum(axis=1)
        return product


def mocked(name: str) -> Any:
    task = getattr(mock_tasks, name)()
    task.load_data()
    return task


@pytest.mark.parametrize(
    ("name", "kind", "items"),
    [
        ("MockMultilingualRerankingTask", "query", 4),
        ("MockInstructionRetrieval", "query", 2),
        ("MockRetrievalDialogTask", "query", 4),
        ("MockMultilingualSTSTask", "pair", 4),
        ("MockMultilabelClassification", "experiment", 10),
        ("MockPairClassificationTask", "", 0),
        ("MockSummarizationTask", "", 0),
        ("MockMultilingualParallelBitextMiningTask", "", 0),
    ],
)
def test_main_score_is_that_of_a_plain_model_in_mteb(name: str, kind: str, items: int) -> None:
    encoder = RandomEncoder()
    scores = measure(encoder, mocked(name), [View(8), View(LARGEST)])
    plain = mteb.evaluate(PlainModel(), mocked(name), cache=None, show_progress_bar=False, co2_tracker=False)
    score = scores[View(LARGEST)]
    assert score.main == pytest.approx(plain.task_results[0].get_score(), abs=1e-5, nan_ok=True)
    assert (score.kind, len(score.items), len(score.groups)) == (kind, items, items)
    assert len(encoder.asked) == len(set(encoder.asked)), "a text was embedded twice"
    assert TaskScore.from_json(json.loads(json.dumps(score.to_json()))) == score


def test_every_set_of_an_old_clustering_is_an_item() -> None:
    task = MockClusteringTask()
    task.load_data()
    score = measure(RandomEncoder(), task, [View(LARGEST)])[View(LARGEST)]
    assert (score.kind, score.groups) == ("set", (0,))
    assert score.items == pytest.approx([score.main])


def test_a_task_made_of_tasks_is_their_mean_and_has_their_items() -> None:
    task = mock_tasks.MockAggregatedTask()
    for part in task.tasks:
        part.load_data()
    score = measure(RandomEncoder(), task, [View(LARGEST)])[View(LARGEST)]
    alone = [measure(RandomEncoder(), part, [View(LARGEST)])[View(LARGEST)] for part in task.tasks]
    assert score.main == pytest.approx(np.mean([part.main for part in alone]))
    assert score.kind == "query"
    assert score.items == tuple(item for part in alone for item in part.items)
    assert len(set(score.groups)) == sum(len(set(part.groups)) for part in alone)


def retrieval(texts: Sequence[str], queries: Sequence[str], relevant: Sequence[Sequence[int]], **more: Any) -> dict[str, Any]:
    """One subset of a retrieval task."""
    return {
        "corpus": Dataset.from_dict({"id": [f"d{row}" for row in range(len(texts))], "text": list(texts)}),
        "queries": Dataset.from_dict({"id": [f"q{row}" for row in range(len(queries))], "text": list(queries)}),
        "relevant_docs": {f"q{row}": {f"d{one}": 1 for one in found} for row, found in enumerate(relevant)},
        "top_ranked": None,
    } | more


def two_languages() -> Any:
    """Fifty documents in two languages, twenty queries in one and three in the other, of which each has two relevant documents."""
    task = own_task("languages", "Retrieval")
    task.metadata = task.metadata.model_copy(update={"eval_langs": {"en": ["eng-Latn"], "de": ["deu-Latn"]}})
    task.hf_subsets = ["en", "de"]
    task.dataset = {
        language: {"test": retrieval(
            [f"{word}{row // 2} {'far ' * row}{word}" for row in range(50)],
            [f"{word}{row}" for row in range(count)],
            [(2 * row, 2 * row + 1) for row in range(count)],
        )}
        for language, word, count in (("en", "word", 20), ("de", "Wort", 3))
    }  # fmt: skip
    task.data_loaded = True
    return task


def ndcg(queries: Sequence[str], documents: Sequence[str]) -> list[float]:
    """nDCG@10 of each query, of which documents ``2n`` and ``2n + 1`` are relevant, by the formula."""
    cosines = unit(vectors(queries, "query")) @ unit(vectors(documents, "document")).T
    gain = 1 / np.log2(np.arange(2, 12))
    best = np.argsort(-cosines, axis=1)[:, :10] // 2 == np.arange(len(queries))[:, None]
    return list((best * gain).sum(axis=1) / gain[:2].sum())


def test_queries_of_every_language_are_items() -> None:
    task = two_languages()
    score = measure(RandomEncoder(), task, [View(LARGEST)])[View(LARGEST)]
    tables = [task.dataset[language]["test"] for language in ("en", "de")]
    expected = [ndcg(table["queries"]["text"], table["corpus"]["text"]) for table in tables]
    assert score.kind == "query"
    assert score.items == pytest.approx([*expected[0], *expected[1]], abs=1e-6)
    assert score.groups == (0,) * 20 + (1,) * 3
    assert score.main == pytest.approx((np.mean(expected[0]) + np.mean(expected[1])) / 2, abs=1e-5)
    assert score.lengths[:3] == (3, 5, 7), "the longer of a query's two documents"
    assert score.prompts == {"query": "find: ", "document": ""}
    assert [entry["hf_subset"] for entry in score.mteb["scores"]["test"]] == ["en", "de"]


def test_all_views_come_from_one_pass_and_leave_the_task_as_it_was() -> None:
    task, encoder = two_languages(), RandomEncoder()
    basis = np.eye(LARGEST, dtype=np.float32)[:, :8]
    views = [View(8, form) for form in ("int8", "binary", "cut", "pca", "float32")] + [View(LARGEST), View(LARGEST, "binary")]
    scores = measure(encoder, task, views, bases={8: basis})
    assert list(scores) == views
    assert len(encoder.asked) == len(set(encoder.asked)) == 123
    assert scores[View(8, "cut")].items == scores[View(8)].items, "of this model, whose small head is the start of the large one"
    assert scores[View(8, "pca")].items == pytest.approx(scores[View(8)].items)
    assert scores[View(8, "int8")].main == pytest.approx(scores[View(8)].main, abs=0.05)
    assert scores[View(8, "binary")].main < scores[View(LARGEST, "binary")].main
    assert measure(encoder, task, [View(8)])[View(8)].items == scores[View(8)].items


def test_a_gpu_that_the_encoder_is_not_on_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("the GPU was asked for"))
    assert measure(RandomEncoder(), two_languages(), [View(8)])[View(8)].items


def test_int8_does_not_depend_on_what_else_is_measured() -> None:
    alone = measure(RandomEncoder(), two_languages(), [View(8, "int8")])
    beside = measure(RandomEncoder(), two_languages(), [View(LARGEST), View(8, "int8"), View(8)])
    assert alone[View(8, "int8")].items == beside[View(8, "int8")].items


def test_reranking_looks_only_at_the_candidates() -> None:
    texts = [f"word{row} text" for row in range(6)]
    task = own_task("candidates", "Retrieval")
    candidates = {"q0": ["d4", "d0", "d5"], "q1": ["d2", "d3"]}  # the second query's relevant document is not among them
    task.dataset = {"default": {"test": retrieval(texts, ["word0", "word1"], [[0], [1]], top_ranked=candidates)}}
    task.data_loaded = True
    score = measure(RandomEncoder(), task, [View(LARGEST)])[View(LARGEST)]
    assert score.items == (1.0, 0.0)


def test_a_text_that_could_not_be_embedded_finds_nothing() -> None:
    texts = [f"word{row} text" for row in range(30)]
    task = own_task("zeros", "Retrieval")
    task.dataset = {"default": {"test": retrieval(texts, ["word0", "lost"], [[0], [15]])}}
    task.data_loaded = True
    score = measure(RandomEncoder(), task, [View(LARGEST)])[View(LARGEST)]
    assert score.items[0] == 1.0
    assert score.main <= 1.0
    assert score.failed == 1


def pairs() -> Any:
    task = own_task("pairs", "STS")
    first, second = [f"word{row} one" for row in range(30)], [f"word{row % 7} {'far ' * row}two" for row in range(30)]
    table = Dataset.from_dict({"sentence1": first, "sentence2": second, "score": [float(row % 6) for row in range(30)]})
    task.dataset = {"default": {"test": table}}
    task.data_loaded = True
    return task


def test_cosines_of_pairs_are_items() -> None:
    task = pairs()
    score = measure(RandomEncoder(), task, [View(LARGEST)])[View(LARGEST)]
    table = task.dataset["default"]["test"]
    one, other = (unit(vectors(table[column], None)) for column in ("sentence1", "sentence2"))
    assert score.kind == "pair"
    assert score.items == pytest.approx((one * other).sum(axis=1), abs=1e-6)
    assert score.gold == tuple(table["score"])
    assert score.main == pytest.approx(spearmanr(score.items, score.gold).statistic, abs=1e-6)
    assert score.lengths[:4] == (2, 3, 4, 5)
    assert score.prompts == {"": "same: "}


def test_views_and_models_are_clustered_on_the_same_draws() -> None:
    task = own_task("groups", "Clustering")
    table = Dataset.from_dict(
        {"text": [f"word{row % 5} {row}" for row in range(100)], "label": [str(row % 5) for row in range(100)]}
    )
    task.dataset = {"default": {"test": table}}
    task.data_loaded = True
    task.max_document_to_embed, task.max_documents_per_cluster = 60, 40
    encoder = RandomEncoder()
    first = measure(encoder, task, [View(8), View(LARGEST)])
    assert len(encoder.asked) == 60, "both views drew the same texts"
    again = measure(RandomEncoder(), task, [View(LARGEST)])
    assert first[View(LARGEST)].items == again[View(LARGEST)].items
    assert first[View(LARGEST)].main == pytest.approx(np.mean(first[View(LARGEST)].items))
    assert (first[View(8)].kind, len(first[View(8)].items)) == ("set", 10)


def test_a_model_of_other_sizes_is_refused() -> None:
    with pytest.raises(EvaluationError, match="org/random gives vectors of 8, 32 numbers: it cannot be measured at 16"):
        measure(RandomEncoder(), pairs(), [View(16)])


def test_a_basis_that_is_not_there_is_said() -> None:
    with pytest.raises(EvaluationError, match="form pca at size 8 needs a basis"):
        measure(RandomEncoder(), pairs(), [View(8, "pca")])


def test_lengths_are_left_out_where_nobody_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RandomEncoder, "count_tokens", lambda self, texts: None)
    assert measure(RandomEncoder(), pairs(), [View(8)])[View(8)].lengths == ()
