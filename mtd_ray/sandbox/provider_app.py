"""The sandbox provider's HTTP routes: one for each wire format, and its own ``/sandbox/…`` for tests."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mtd_ray.sandbox import provider_cohere, provider_openai, provider_voyage
from mtd_ray.sandbox.provider_faults import Fault, FaultPlan, damaged
from mtd_ray.sandbox.provider_ledger import Ledger, catalog_price
from mtd_ray.sandbox.provider_models import ProviderModel, open_model, shortened
from mtd_ray.sandbox.provider_quota import Quota
from mtd_ray.sandbox.provider_settings import ProviderSettings
from mtd_ray.sandbox.provider_timeline import Timeline
from mtd_ray.sandbox.provider_wire import Answer, Question, RefusedError, WireFormat

WIRE_FORMATS: dict[str, WireFormat] = {
    "/v1/embeddings": provider_openai,
    "/v2/embed": provider_cohere,
    "/voyage/v1/embeddings": provider_voyage,
}


class Provider:
    """One account at one provider: its key, quota, faults, models and the ledger of what it was paid for."""

    def __init__(self, key: str, settings: ProviderSettings, clock: Callable[[], float] = time.monotonic) -> None:
        limits = (settings.requests_per_minute, settings.tokens_per_minute, clock, settings.inputs_per_minute)
        self.quota = Quota(*limits, burst_s=settings.burst_s, schedule=settings.quota_schedule)
        self.faults = FaultPlan(settings.faults, settings.seed)
        self.ledger, self.timeline = Ledger(self._price), Timeline()
        self._key, self._settings = key, settings
        self._models: dict[str, ProviderModel] = {}
        self._number = 0
        self._computing = asyncio.Lock()

    def app(self) -> Starlette:
        """The routes."""
        return Starlette(
            routes=[
                *(Route(path, self._embeddings(wire), methods=["POST"]) for path, wire in WIRE_FORMATS.items()),
                Route("/sandbox/ready", self.ready),
                Route("/sandbox/ledger", self.read_ledger),
                Route("/sandbox/faults", self.set_faults, methods=["PUT"]),
                Route("/sandbox/quota", self.set_quota, methods=["PUT"]),
            ]
        )

    def _embeddings(self, wire: WireFormat) -> Callable[[Request], Awaitable[Response]]:
        async def embeddings(request: Request) -> Response:
            body = await request.body()
            try:
                self._authorise(request)
                self.quota.begin()
                question = wire.parse(body)
                self._number += 1
                fault = self.faults.pick(self._number, question.texts)
                return await self._answer(wire, question, fault)
            except RefusedError as error:
                self._record_refusal(error.status)
                return Response(wire.render_error(error), error.status, error.headers, "application/json")

        return embeddings

    def _record_refusal(self, status: int) -> None:
        self.ledger.refuse(status)
        if status == 429:
            self.timeline.reject(self.quota.elapsed_s)

    def _authorise(self, request: Request) -> None:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), self._key.encode()):
            raise RefusedError(401, f"Incorrect API key provided: {sent[:4]}***.", "invalid_api_key")

    async def _answer(self, wire: WireFormat, question: Question, fault: Fault | None) -> Response:
        if fault is not None and fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind == "status":
            headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
            raise RefusedError(fault.status, f"sandbox fault {fault.status}", fault.code, headers=headers)
        model = await self._model(question)
        reading = wire.read(question)
        tokens = sum(reading.tokens)
        headers = self._take(wire, tokens, len(reading.texts))
        async with self._computing:
            vectors = await run_in_threadpool(model.embed, reading.texts)
        self.ledger.pay(question.model, question.texts, tokens)
        vectors = shortened(vectors, question.size) if question.size is not None else vectors
        answer = Answer(vectors, list(range(len(vectors))), tokens)
        if fault is not None:
            answer = Answer(*damaged(vectors, fault, question.texts), tokens)
        return _response(wire.render(question, answer), fault, headers)

    def _take(self, wire: WireFormat, tokens: int, inputs: int) -> dict[str, str]:
        verdict = self.quota.take(tokens, inputs)
        headers = wire.rate_headers(verdict) if self._settings.rate_headers else {}
        if not verdict.allowed:
            raise RefusedError(429, "Rate limit reached. Please try again later.", "rate_limit_exceeded", headers=headers)
        self.ledger.grant(tokens)
        self.timeline.accept(self.quota.elapsed_s, tokens, inputs)
        return headers

    def _price(self, model: str) -> float:
        listed = catalog_price(model)
        return self._settings.usd_per_million_tokens if listed is None else listed

    async def _model(self, question: Question) -> ProviderModel:
        async with self._computing:
            if question.model not in self._models:
                try:
                    self._models[question.model] = await run_in_threadpool(open_model, question.model)
                except KeyError:
                    message = f"The model `{question.model}` does not exist; this sandbox has usem3 and hash-N."
                    raise RefusedError(404, message, "model_not_found", param="model") from None
        model = self._models[question.model]
        if question.size is not None and question.size > model.dimension:
            message = f"Invalid value for 'dimensions' = {question.size}. Must be less than or equal to {model.dimension}."
            raise RefusedError(400, message, param="dimensions")
        return model

    async def ready(self, request: Request) -> Response:
        """200 once the server answers."""
        return Response(status_code=200)

    async def read_ledger(self, request: Request) -> Response:
        """What was paid for and how the quota was used; ``?by_text=0`` leaves out how often each text was paid."""
        paid = self.ledger.to_json(by_text=request.query_params.get("by_text") != "0")
        return Response(orjson.dumps(paid | self.timeline.to_json(self.quota.steps())), media_type="application/json")

    async def set_faults(self, request: Request) -> Response:
        """Replace the faults with a JSON list of :class:`Fault`; the count of requests starts again."""
        listed = orjson.loads(await request.body())
        self.faults = FaultPlan([Fault.model_validate(fault) for fault in listed], self._settings.seed)
        self._number = 0
        return Response(status_code=204)

    async def set_quota(self, request: Request) -> Response:
        """Change the quota: ``{"requests_per_minute": …, "tokens_per_minute": …, "inputs_per_minute": … or null}``."""
        limits = orjson.loads(await request.body())
        self.quota.change(limits["requests_per_minute"], limits["tokens_per_minute"], limits.get("inputs_per_minute"))
        return Response(status_code=204)


def _response(body: bytes, fault: Fault | None, headers: dict[str, str]) -> Response:
    if fault is not None and fault.kind == "cut":
        headers = headers | {"content-length": str(len(body)), "content-type": "application/json"}
        return StreamingResponse(_half(body), headers=headers)
    return Response(body, media_type="application/json", headers=headers)


async def _half(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionResetError("sandbox fault: the connection ends in the middle of the answer")
