"""A served model under load: ours on Ray Serve, infinity-emb, and a bare FastAPI with ``SentenceTransformer.encode``.

    python benchmarks/serve_load.py --models DIR [--data DIR] [--student FOLDER] [--infinity-venv DIR]

Every server has the whole machine to itself for its turn, in float32 and with its own defaults; turns alternate, round by round,
and a figure is the median over the rounds. ``wrk`` sends requests of one text each, of the lengths that the training texts in
``--data`` have (without it: paragraphs of Python's language reference), with 1, 8, 64 and 256 of them under way. Infinity comes
from a virtual environment that is made for this run unless ``--infinity-venv`` names one.

The last line is one JSON object:

- ``vs_infinity_c64``, ``vs_fastapi_c64``: our requests per second by theirs, 64 under way
- ``p99_vs_infinity_c64``: our 99th percentile of latency by theirs
- ``overhead_ms_c1``: mean latency of single requests less the mean time of the forward pass over the same texts without a server,
  with as many threads as a replica has
- ``max_abs_diff``: largest difference between served vectors and those of a plain load of the folder
- ``student``: the same of the folder named by ``--student``, else null
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from serve_load_generator import Load, load, require_generator, served_vectors, texts_of, write_bodies
from serve_peers import Contender, Running, bare_fastapi, infinity, make_infinity, ours

Figures = dict[str, list[dict[int, Load]]]
OURS = "ours"
KNOWN = (OURS, "infinity", "fastapi")
COMPARED = 64
SETTLE_S, WARM_UP_S = 1.0, 3.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured how."""

    contenders: Sequence[Contender]
    concurrency: Sequence[int]
    seconds: float
    rounds: int
    threads: int


class Work:
    """What is sent, and how far the answers are from the exported vectors.

    Args:
        folder: takes files and logs.
    """

    def __init__(self, texts: Sequence[str], folder: Path) -> None:
        self.folder, self.exported = folder, folder / "exported.npy"
        self.bodies = write_bodies(texts, folder / "bodies.jsonl")
        self.differences: list[float] = []
        self._texts = texts[:COMPARED]

    def compare(self, url: str) -> None:
        expected = np.load(self.exported)[:COMPARED]
        self.differences.append(float(np.abs(served_vectors(url, self._texts) - expected).max()))


def turn(plan: Plan, contender: Contender, model: Path, work: Work) -> dict[int, Load]:
    """One contender's figures per concurrency."""
    with Running(contender, model, work.folder / f"{contender.name}.log") as server:
        load(server.url, work.bodies, concurrency=8, seconds=WARM_UP_S)
        figures = {}
        for concurrency in plan.concurrency:
            time.sleep(SETTLE_S)
            figures[concurrency] = load(server.url, work.bodies, concurrency=concurrency, seconds=plan.seconds)
            print(f"{contender.name:10}{concurrency:>5}  {describe(figures[concurrency])}", flush=True)
        if contender.name == OURS:
            work.compare(server.url)
    return figures


def describe(found: Load) -> str:
    return f"{found.requests_per_s:8.1f} requests/s  mean {found.mean_ms:8.1f} ms  p50 {found.p50_ms:8.1f}  p99 {found.p99_ms:8.1f}"


def measured(plan: Plan, model: Path, work: Work) -> dict[str, Any]:
    """The figures of one model."""
    figures: Figures = {contender.name: [] for contender in plan.contenders}
    forwards = []
    for number in range(plan.rounds):
        forwards.append(forward(model, work, plan.threads))
        for contender in (*plan.contenders[number % 2 :], *plan.contenders[: number % 2]):
            figures[contender.name].append(turn(plan, contender, model, work))
    return compared(figures) | {
        "overhead_ms_c1": overhead(figures, forwards),
        "forward_ms": round(float(np.median(forwards)), 2),
        "max_abs_diff": max(work.differences, default=None),
        "loads": {name: table(rounds) for name, rounds in figures.items()},
    }


def forward(model: Path, work: Work, threads: int) -> float:
    """Mean milliseconds of a forward pass with so many threads; writes the exported vectors."""
    script = Path(__file__).with_name("serve_load_forward.py")
    command = [sys.executable, str(script), str(model), str(work.bodies), str(work.exported), str(threads)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: float = json.loads(output.splitlines()[-1])["forward_ms"]
    print(f"forward pass alone: {found:.2f} ms", flush=True)
    return found


def middle(rounds: Sequence[dict[int, Load]], concurrency: int, figure: str) -> float:
    return float(np.median([getattr(found[concurrency], figure) for found in rounds]))


def ratio(figures: Figures, peer: str, figure: str) -> float | None:
    """Ours by the peer's at 64 under way, the median of the rounds' ratios; None where one was not measured."""
    pairs = list(zip(figures.get(OURS, []), figures.get(peer, []), strict=False))
    if not pairs or any(64 not in found for pair in pairs for found in pair):
        return None
    return round(float(np.median([getattr(mine[64], figure) / getattr(theirs[64], figure) for mine, theirs in pairs])), 3)


def overhead(figures: Figures, forwards: Sequence[float]) -> float | None:
    pairs = [(found[1].mean_ms, alone) for found, alone in zip(figures.get(OURS, []), forwards, strict=False) if 1 in found]
    return round(float(np.median([served - alone for served, alone in pairs])), 2) if pairs else None


def compared(figures: Figures) -> dict[str, float | None]:
    return {
        "vs_infinity_c64": ratio(figures, "infinity", "requests_per_s"),
        "p99_vs_infinity_c64": ratio(figures, "infinity", "p99_ms"),
        "vs_fastapi_c64": ratio(figures, "fastapi", "requests_per_s"),
    }


def table(rounds: Sequence[dict[int, Load]]) -> dict[int, dict[str, float]]:
    """Medians over the rounds, by concurrency."""
    names = [field.name for field in dataclasses.fields(Load)]
    return {at: {name: round(middle(rounds, at, name), 1) for name in names} for at in rounds[0]}


@contextmanager
def infinity_place(given: argparse.Namespace) -> Iterator[Path]:
    if given.infinity_venv or "infinity" not in given.only:
        yield Path(given.infinity_venv or "none").absolute()
        return
    with tempfile.TemporaryDirectory(prefix="infinity-") as folder:
        yield make_infinity(Path(folder))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, help="folder with train_texts/")
    parser.add_argument("--student", type=Path, help="an exported student, measured too")
    parser.add_argument("--infinity-venv", type=Path, help="with infinity-emb installed; made when not given")
    parser.add_argument("--mode", default="haproxy", help="how ours is served: see serve_load_ours.py")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each replica")
    parser.add_argument("--only", nargs="+", choices=KNOWN, default=KNOWN)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--seconds", type=float, default=8, help="of one load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--texts", type=int, default=4000, help="different ones; more than are answered in one load, so that none comes twice"
    )
    return parser.parse_args()


def main() -> None:
    given = arguments()
    require_generator()
    texts, source = texts_of(given.data, given.texts)
    with tempfile.TemporaryDirectory(prefix="serve-load-") as scratch, infinity_place(given) as venv:
        known = [ours(given.mode, given.replicas, given.threads), infinity(venv), bare_fastapi()]
        chosen = [contender for contender in known if contender.name in given.only]
        plan = Plan(chosen, given.concurrency, given.seconds, given.rounds, given.threads)
        record = measured(plan, (given.models / "all-MiniLM-L6-v2").absolute(), Work(texts, Path(scratch)))
        student = measured(plan, given.student.absolute(), Work(texts, Path(scratch))) if given.student else None
    print(json.dumps({"benchmark": "serve_load", "data": source, "rounds": given.rounds} | record | {"student": student}))


if __name__ == "__main__":
    main()
