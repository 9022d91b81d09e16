"""Random requests to the served API: none may end in a server error, in an answer that is not described, or hang.

schemathesis makes requests from the OpenAPI document, such as it describes and such as it does not. Beside them stand bodies that
no description leads to: bytes, JSON that is cut off or damaged, deep lists, huge numbers, lone surrogates, fields given twice,
thousands of texts, texts of spaces or control characters. All go through the real application, engine and a tiny student, in this
process.

`python benchmarks/serve_fuzz.py`; the last line is one JSON object: ``cases``, ``distinct`` (of them), ``server_errors``,
``undescribed`` (answers that do not fit the description), ``slowest_s``.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the packages `serve`, `tests` and this one

import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis import checks as described

from benchmarks.serve_fuzz_bodies import bodies
from serve.api.application import create_api
from serve.engine.engine import Engine
from serve.engine.limits import Limits
from serve.engine.model import ServedModel
from tests.tiny_export import tiny_export

HANGS_S = 60
ROUTES = {"/v1/embeddings": "input", "/embed": "inputs"}
CHECKS = [
    described.not_a_server_error,
    described.status_code_conformance,
    described.content_type_conformance,
    described.response_schema_conformance,
]


@dataclass
class Tally:
    """What came of the requests."""

    cases: int = 0
    distinct: set[int] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    server_errors: list[str] = field(default_factory=list)
    undescribed: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, asked: str, call: Callable[[], Any]) -> Any:
        """Make a call and count it; gives its answer."""
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        started = perf_counter()
        answer = call()
        self.slowest_s = max(self.slowest_s, perf_counter() - started)
        faulthandler.cancel_dump_traceback_later()
        self.cases += 1
        self.distinct.add(hash(asked))
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 500:
            self.server_errors.append(f"{answer.status_code} for {asked[:300]}: {answer.text[:300]}")
        return answer

    def figures(self) -> dict[str, float]:
        """By the names that stand in the benchmark's last line."""
        return {
            "cases": self.cases,
            "distinct": len(self.distinct),
            "server_errors": len(self.server_errors),
            "undescribed": len(self.undescribed),
            "slowest_s": round(self.slowest_s, 3),
        }


class Fuzzer:
    """Random requests to one application."""

    def __init__(self, api: FastAPI) -> None:
        schema = schemathesis.openapi.from_asgi("/openapi.json", api)
        self._operations = [found.ok() for found in schema.get_all_operations()]
        self._client = TestClient(api, raise_server_exceptions=False)
        self.tally = Tally()

    def run(self, cases: int, number: int) -> None:
        """About so many requests, of which half are as described; the same ones for the same number."""
        for operation in self._operations:
            name = ROUTES.get(operation.path)
            self._each(operation.as_strategy(), self._described, cases // (4 if name else 40), number)
            if name is None:
                continue
            wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
            self._each(wrong, self._described, cases // 8, number)
            self._each(bodies(name), self._raw(operation.path), cases // 8, number)

    def _each(self, strategy: Any, ask: Callable[[Any], None], cases: int, number: int) -> None:
        run = settings(
            max_examples=max(cases, 1),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(number)(run(given(strategy)(ask)))()

    def _described(self, case: Case) -> None:
        asked = f"{case.method} {case.formatted_path} {case.body!r}"
        answer = self.tally.add(asked, case.call)
        try:
            case.validate_response(answer, checks=CHECKS)
        except* AssertionError as wrong:
            self.tally.undescribed.append(f"{asked[:300]}: {wrong.exceptions[0]}")

    def _raw(self, path: str) -> Callable[[bytes], None]:
        def ask(body: bytes) -> None:
            answer = self.tally.add(f"POST {path} {body!r}", lambda: self._client.post(path, content=body))
            if answer.status_code not in (200, 400, 404, 413, 422):
                self.tally.undescribed.append(f"{answer.status_code} for {body[:300]!r}: {answer.text[:300]}")

        return ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        exported = tiny_export(Path(folder) / "tiny", Path(folder) / "bert")
        engine = Engine({"tiny": ServedModel.load(exported, name="tiny", device="cpu")}, limits=Limits())
    fuzzer = Fuzzer(create_api(engine))
    number = given.seed
    while fuzzer.tally.cases < given.cases:
        fuzzer.run(2_000, number)
        number += 1
        print(f"{fuzzer.tally.cases} cases, answers {dict(sorted(fuzzer.tally.statuses.items()))}", flush=True)
    engine.close()
    for wrong in (*fuzzer.tally.server_errors[:5], *fuzzer.tally.undescribed[:5]):
        print(wrong)
    print(json.dumps(fuzzer.tally.figures()))


if __name__ == "__main__":
    main()
