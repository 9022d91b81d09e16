"""How good a student gets in equal time: this engine against sentence-transformers' trainer with EmbedDistillLoss.

Teachers all-mpnet-base-v2 ‖ all-MiniLM-L6-v2 ‖ wordllama, embedded once; the student is three layers of MiniLM. Every trainer gets
the same texts, vectors, threads and seconds; a third training gives this engine only as many steps (of all stages) as the peer
managed.

    python benchmarks/quality.py --data DATA --models MODELS [--minutes 6] [--cache CACHE]

The last line is one JSON object: ``ours``, ``embed_distill``, ``untrained``, ``best_teacher`` (scores per set and mean),
``head256_share`` (mean of the 256 head ÷ that of the largest), ``ours_at_equal_steps``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import quality_scores
from quality_data import MAX_TOKENS, TrainingSet, choose_texts, training_set
from quality_ours import HEADS_STEPS, export_untrained, recipe_for, train_ours
from quality_peer import train_peer
from quality_scores import Vectors, score_sets
from stored_vectors import store_vectors

from mtd_ray.encoder import Encoder, StudentEncoder

TEACHERS = {"mpnet": "all-mpnet-base-v2", "minilm": "all-MiniLM-L6-v2"}
_TRIAL_STEPS = 20
Scores = dict[int, dict[str, float]]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(_compare(options, Path(name))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train_texts and the evaluation sets")
    parser.add_argument("--models", type=Path, required=True, help="folder with all-mpnet-base-v2 and all-MiniLM-L6-v2")
    parser.add_argument("--cache", type=Path, default=Path("build/quality"), help="where teachers' vectors and scores are kept")
    parser.add_argument("--minutes", type=float, default=6.0, help="training time of each trainer")
    parser.add_argument("--steps", type=int, help="of this engine's last stage, whatever time they take; instead of --minutes")
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--peer-lr", type=float, nargs="+", default=[5e-5], help="rates of the peer, the best is kept; its default is 5e-5"
    )
    parser.add_argument("--length-window", type=int, default=16, help="1: batches of random length")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--without-teachers", action="store_true", help="scoring the larger one takes 20 minutes on two cores")
    return parser.parse_args()


def _compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    teachers = {
        name: str(options.models / model) for name, model in (("mpnet", "all-mpnet-base-v2"), ("minilm", "all-MiniLM-L6-v2"))
    }
    data = training_set(choose_texts(options.data, options.rows), teachers | {"wordllama": "package:wordllama"}, options.cache)
    runs = _Runs(options, data, folder)
    seconds = options.minutes * 60
    ours, ours_steps, ours_seconds = runs.ours(options.steps or runs.steps_of_ours(seconds))
    best = max(ours)
    outcome: dict[str, Any] = {
        "ours": ours,
        "ours_steps": ours_steps,
        "ours_seconds": ours_seconds,
        "head256_share": ours[256]["mean"] / ours[best]["mean"],
    }
    if options.ours_only:
        return outcome
    peer, peer_steps, peer_seconds = runs.peer(runs.steps_of_peer(seconds))
    equal, equal_steps, _ = runs.ours(peer_steps - HEADS_STEPS)
    return outcome | {
        "embed_distill": peer,
        "embed_distill_steps": peer_steps,
        "embed_distill_seconds": peer_seconds,
        "ours_at_equal_steps": equal,
        "equal_steps": equal_steps,
        "untrained": runs.untrained(),
        "best_teacher": None
        if options.without_teachers
        else max((runs.teacher(name, model) for name, model in teachers.items()), key=lambda scores: scores["mean"]),
    }


class _Runs:
    """The trainings, each in a process of its own, and their scores."""

    def __init__(self, options: argparse.Namespace, data: TrainingSet, folder: Path) -> None:
        self.options, self.data, self.folder = options, data, folder
        self.count = 0

    def steps_of_ours(self, seconds: float) -> int:
        """How many steps the last stage may have so that the whole training takes so long."""
        _, timing = self._train_ours(60)
        (_, heads_end), (steps, end) = timing["stages"].values()
        return int((seconds - (timing["seconds"] - (end - heads_end))) / ((end - heads_end) / steps))

    def steps_of_peer(self, seconds: float) -> int:
        """How many steps the peer makes in so long."""
        _, timing = self._train_peer(_TRIAL_STEPS, self.options.peer_lr[0])
        return int(seconds / (timing["seconds"] / _TRIAL_STEPS))

    def ours(self, steps: int) -> tuple[Scores, int, float]:
        """Scores per head, all steps, seconds."""
        into, timing = self._train_ours(steps)
        scores = score_sets(_encode_student(into / "student"), self.options.data)
        total = sum(stage_steps for stage_steps, _ in timing["stages"].values())
        return _shown("ours", scores, timing["seconds"]), total, timing["seconds"]

    def peer(self, steps: int) -> tuple[dict[str, float], int, float]:
        """Scores at its best rate, of its vectors before or behind the projection, whichever are better; steps; seconds."""
        outcomes = []
        for lr in self.options.peer_lr:
            into, timing = self._train_peer(steps, lr)
            scores = _shown(f"EmbedDistillLoss, rate {lr:g}", score_sets(_encode_peer(into), self.options.data), timing["seconds"])
            outcomes += [(found, timing["seconds"]) for found in scores.values()]
        best, seconds = max(outcomes, key=lambda outcome: outcome[0]["mean"])
        return best, steps, seconds

    def untrained(self) -> dict[str, float]:
        """Scores of the plain pooled vectors."""
        folder = self.folder / "untrained"
        recipe = recipe_for(self.folder, self.options.models, all_steps=1)
        export_untrained(recipe, folder)
        # The backbone and the pooling alone: modules.json names a head that nothing has trained.
        modules = json.loads((folder / "modules.json").read_text())[:2]
        (folder / "modules.json").write_text(json.dumps(modules))
        return _shown("untrained", score_sets(_encode_model(str(folder)), self.options.data), 0.0).popitem()[1]

    def teacher(self, name: str, model: str) -> dict[str, float]:
        """Scores of a teacher; kept, as nothing changes them."""
        protocol = Path(quality_scores.__file__).read_text()
        measured = f"{Path(model).resolve()} {self.options.data.resolve()} {MAX_TOKENS} {protocol}"
        kept: Path = self.options.cache / f"scores-{name}-{hashlib.sha256(measured.encode()).hexdigest()[:16]}.json"
        if not kept.exists():
            kept.write_text(json.dumps(score_sets(_encode_model(model), self.options.data).popitem()[1]))
        scores: dict[str, float] = json.loads(kept.read_text())
        return scores

    def _train_ours(self, steps: int) -> tuple[Path, Any]:
        into = self._new_folder()
        recipe = recipe_for(into, self.options.models, all_steps=steps, length_window=self.options.length_window)
        manifest = store_vectors(recipe, self.data.texts, self.data.targets, into)
        _in_a_process(train_ours, recipe, manifest, self.options.threads, into)
        return into, json.loads((into / "timing.json").read_text())

    def _train_peer(self, steps: int, lr: float) -> tuple[Path, Any]:
        into = self._new_folder()
        recipe = recipe_for(into, self.options.models, all_steps=1)
        weighted = {name: vectors * np.float16(recipe.teachers[name].weight ** 0.5) for name, vectors in self.data.targets.items()}
        layers = recipe.student.layers
        assert layers is not None
        train = partial(
            train_peer,
            steps=steps,
            batch_size=recipe.stages[-1].batch_size,
            lr=lr,
            threads=self.options.threads,
            into=into,
        )
        _in_a_process(train, TrainingSet(self.data.texts, weighted), self.options.models / "all-MiniLM-L6-v2", layers)
        return into, json.loads((into / "timing.json").read_text())

    def _new_folder(self) -> Path:
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        return folder


def _in_a_process(work: Callable[..., None], *arguments: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"a training ended with exit code {process.exitcode}")


def _encode_student(folder: Path) -> Callable[[Sequence[str]], dict[int, Vectors]]:
    student = StudentEncoder.load(folder)
    return lambda texts: {size: _unit(vectors) for size, vectors in student.encode(texts, heads=student.heads).items()}


def _encode_model(model: str) -> Callable[[Sequence[str]], dict[int, Vectors]]:
    encoder = Encoder.load(model, max_tokens=MAX_TOKENS)
    return lambda texts: {encoder.dimension: _unit(encoder.encode(texts))}


def _encode_peer(into: Path) -> Callable[[Sequence[str]], dict[int, Vectors]]:
    encoder, projection = Encoder.load(str(into / "student"), max_tokens=MAX_TOKENS), np.load(into / "projection.npz")

    def encode(texts: Sequence[str]) -> dict[int, Vectors]:
        vectors = encoder.encode(texts)
        projected = vectors @ projection["weight"].T + projection["bias"]
        return {vectors.shape[1]: _unit(vectors), projected.shape[1]: _unit(projected)}

    return encode


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
    return unit


def _shown(name: str, scores: Scores, seconds: float) -> Scores:
    for size, found in sorted(scores.items(), reverse=True):
        sets = "  ".join(f"{key} {value:.2f}" for key, value in found.items())
        print(f"{name} {size}: {sets}  ({seconds:.0f} s of training)", flush=True)
    return scores


if __name__ == "__main__":
    main()
