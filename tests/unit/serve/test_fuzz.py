"""Random requests: what benchmarks/serve_fuzz.py does ten thousand times, a few hundred times."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.responses import JSONResponse

from benchmarks.serve_fuzz import Fuzzer
from serve.api.application import create_api
from serve.engine.engine import Engine


def test_no_request_ends_in_a_server_error_or_an_answer_that_is_not_described(engine: Engine) -> None:
    fuzzer = Fuzzer(create_api(engine))
    fuzzer.run(300, number=7)
    tally = fuzzer.tally
    assert not tally.server_errors, tally.server_errors[0]
    assert not tally.undescribed, tally.undescribed[0]
    assert tally.cases > 200
    assert {200, 400, 404} <= set(tally.statuses)
    assert tally.slowest_s < 5


def test_what_is_wrong_is_found() -> None:
    api = FastAPI()

    @api.get("/breaks")
    async def breaks() -> JSONResponse:
        return JSONResponse({}, 500)

    @api.get("/surprises/{number}")
    async def surprises(number: int) -> JSONResponse:
        return JSONResponse({}, 418)

    fuzzer = Fuzzer(api)
    fuzzer.run(40, number=1)
    assert "GET /breaks" in fuzzer.tally.server_errors[0]
    assert any("418" in wrong or "/surprises" in wrong for wrong in fuzzer.tally.undescribed)
