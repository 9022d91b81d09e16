"""The Ray Serve application. HTTP, checks and model share one process: a request crosses no second queue."""

from collections.abc import Sequence

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, PositiveInt
from ray import serve
from ray.serve import Application
from ray.serve.config import BackpressureConfig

from serve.engine import Chunk, Engine
from serve.routes import check_alive, create_api
from serve.schemas import Vectors
from serve.source import default_name, student_folder

_BATCH_TOKENS = 8_192


class Options(BaseModel):
    """What ``serve run serve.app:build`` and the ``args`` of ``config.yaml`` take.

    Attributes:
        folder: the exported student: a folder on the serving node, or the ``s3://`` URL of a run.
        name: what clients call the model; by default the run's or the folder's name.
        batch_tokens: tokens of one forward pass.
        device: a torch device; by default a GPU when the replica has one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    name: str | None = None
    batch_tokens: PositiveInt = _BATCH_TOKENS
    device: str | None = None


def tokens_of(chunks: Sequence[Chunk]) -> int:
    """The size of a batch, as Serve counts it."""
    return sum(chunk.tokens for chunk in chunks)


# Batches fill with tokens, so many short requests must be let in at once for one to fill. What is beyond both numbers is answered
# with 429 and a time to come back, which OpenAI's clients obey.
@serve.deployment(
    name="embeddings",
    max_ongoing_requests=256,
    max_queued_requests=512,
    backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
    health_check_period_s=10,
    health_check_timeout_s=35,
    ray_actor_options={"num_cpus": 1},
)
@serve.ingress()
class Embeddings:
    """One replica."""

    def __init__(self, options: Options) -> None:
        with student_folder(options.folder) as folder:
            self._engine = Engine.load(
                folder, name=options.name or default_name(options.folder), batch_tokens=options.batch_tokens, device=options.device
            )
        self._embed.set_max_batch_size(options.batch_tokens)
        self._api = create_api(self._engine, self._embed)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._api

    @serve.batch(max_batch_size=_BATCH_TOKENS, batch_wait_timeout_s=0.002, batch_size_fn=tokens_of)
    async def _embed(self, chunks: list[Chunk]) -> list[Vectors]:
        return await self._engine.embed(chunks)

    async def check_health(self) -> None:
        """Called by Serve, at first before the replica gets requests: warms the model up, later proves that it still answers."""
        await check_alive(self._engine, self._embed)


def build(options: Options) -> Application:
    """The application; ``serve run serve.app:build folder=…`` calls this."""
    return Embeddings.bind(options)  # type: ignore[attr-defined]
