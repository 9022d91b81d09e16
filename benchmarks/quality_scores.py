"""What vectors are worth on the evaluation sets of ``--data``: similarity, retrieval, classification, clustering; 0 to 100 each.

The protocols are those of the tasks' MTEB classes, but for k-means: on minibatches, as there, its score moves by several points
with its start; here it runs to its end, ten starts each. Seeds are fixed, so that two students are measured on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score

Vectors = npt.NDArray[np.float32]
Encode = Callable[[Sequence[str]], dict[int, Vectors]]
_CLASSIFICATION = ("Banking77Classification", "SUBJ", "TRECQC")
_SAMPLES_PER_LABEL, _EXPERIMENTS = 16, 10
_CLUSTERING_SETS, _CLUSTERING_TEXTS = 5, 4_000


def score_sets(encode: Encode, data: Path) -> dict[int, dict[str, float]]:
    """Per vector size, the score of each set and their ``mean``.

    Args:
        encode: texts → unit vectors ``(rows, size)`` of each size.
        data: folder with one folder per set.
    """
    found: dict[int, dict[str, float]] = {}
    for name, score in _sets(data).items():
        for size, value in score(encode).items():
            found.setdefault(size, {})[name] = 100 * value
    return {size: scores | {"mean": fmean(scores.values())} for size, scores in found.items()}


def _sets(data: Path) -> dict[str, Callable[[Encode], dict[int, float]]]:
    sets: dict[str, Callable[[Encode], dict[int, float]]] = {
        "STSBenchmark": partial(_similarity, folder=data / "STSBenchmark"),
        "SciFact": partial(_retrieval, folder=data / "SciFact"),
        "StackOverflowShortText": partial(_clustering, folder=data / "StackOverflowShortText"),
    }
    return sets | {name: partial(_classification, folder=data / name) for name in _CLASSIFICATION}


def _similarity(encode: Encode, folder: Path) -> dict[int, float]:
    """Spearman correlation of cosines with people's judgements (STSBenchmark test)."""
    pairs = pq.read_table(folder / "test.parquet").to_pydict()
    one, other = encode(pairs["sentence1"]), encode(pairs["sentence2"])
    return {size: float(spearmanr((one[size] * other[size]).sum(axis=1), pairs["score"]).statistic) for size in one}


def _retrieval(encode: Encode, folder: Path) -> dict[int, float]:
    """nDCG@10 over the whole collection (BEIR SciFact test)."""
    tables = ("corpus", "queries_test", "qrels_test")
    corpus, queries, judged = (pq.read_table(folder / f"{name}.parquet").to_pydict() for name in tables)
    place = {key: index for index, key in enumerate(corpus["_id"])}
    relevant: dict[str, set[int]] = {}
    for query, document, grade in zip(judged["query-id"], judged["corpus-id"], judged["score"], strict=True):
        if grade > 0:
            relevant.setdefault(query, set()).add(place[document])
    documents = encode([f"{title} {text}".strip() for title, text in zip(corpus["title"], corpus["text"], strict=True)])
    asked = encode(queries["text"])
    scores = {}
    for size in asked:
        best = np.argsort(-(asked[size] @ documents[size].T), axis=1, kind="stable")[:, :10]
        scores[size] = fmean(_ndcg(ranked, relevant[key]) for ranked, key in zip(best, queries["_id"], strict=True))
    return scores


def _ndcg(ranked: npt.NDArray[np.int64], relevant: set[int]) -> float:
    discounts = 1 / np.log2(np.arange(2, 12))
    gain = sum(discount for discount, row in zip(discounts, ranked, strict=True) if int(row) in relevant)
    return float(gain / discounts[: len(relevant)].sum())


def _classification(encode: Encode, folder: Path) -> dict[int, float]:
    """Mean accuracy of logistic regressions, each on a draw of 16 training texts per label."""
    train, test = (pq.read_table(folder / f"{split}.parquet").to_pydict() for split in ("train", "test"))
    labels, expected = np.array(train["label"]), np.array(test["label"])
    draws = [_few_of_each(labels, np.random.default_rng(seed)) for seed in range(_EXPERIMENTS)]
    used = np.unique(np.concatenate(draws))
    known, asked = encode([train["text"][row] for row in used]), encode(test["text"])
    places = [np.searchsorted(used, draw) for draw in draws]
    return {
        size: fmean(
            LogisticRegression(max_iter=100).fit(known[size][rows], labels[draw]).score(asked[size], expected)
            for draw, rows in zip(draws, places, strict=True)
        )
        for size in known
    }


def _few_of_each(labels: npt.NDArray[np.int64], random: np.random.Generator) -> npt.NDArray[np.int64]:
    order = random.permutation(len(labels))
    return np.sort(np.concatenate([order[labels[order] == label][:_SAMPLES_PER_LABEL] for label in np.unique(labels)]))


def _clustering(encode: Encode, folder: Path) -> dict[int, float]:
    """Mean v-measure of k-means on draws of the titles, k the number of tags."""
    table = pq.read_table(folder / "test.parquet").to_pydict()
    labels = np.array(table["label"])
    draws = [np.random.default_rng(seed).choice(len(labels), _CLUSTERING_TEXTS, replace=False) for seed in range(_CLUSTERING_SETS)]
    used = np.unique(np.concatenate(draws))
    vectors = encode([table["text"][row] for row in used])
    return {
        size: fmean(_v_measure(known[np.searchsorted(used, draw)], labels[draw], seed) for seed, draw in enumerate(draws))
        for size, known in vectors.items()
    }


def _v_measure(vectors: Vectors, labels: npt.NDArray[np.int64], seed: int) -> float:
    groups = KMeans(len(np.unique(labels)), n_init=10, random_state=seed).fit_predict(vectors)
    return float(v_measure_score(labels, groups))
