"""The Ray Serve application. HTTP, checks and model share one process: a request crosses no second queue."""

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, PositiveInt
from ray import serve
from ray.serve import Application
from ray.serve.config import BackpressureConfig

from serve.api.application import create_api
from serve.engine.engine import Engine
from serve.engine.limits import Limits
from serve.engine.model import ServedModel
from serve.source import default_name, student_folder


class Options(BaseModel):
    """What ``serve run serve.app:build`` and the ``args`` of ``config.yaml`` take.

    Attributes:
        folder: the exported student: a folder on the serving node, or the ``s3://`` URL of a run.
        name: what clients call the model; by default the run's or the folder's name.
        batch_tokens: padded tokens of one forward pass; by default what is fastest on the device.
        device: a torch device; by default a GPU when the replica has one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    name: str | None = None
    batch_tokens: PositiveInt | None = None
    device: str | None = None


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
        name = options.name or default_name(options.folder)
        with student_folder(options.folder) as folder:
            model = ServedModel.load(folder, name=name, device=options.device, batch_tokens=options.batch_tokens)
        self._engine = Engine({name: model}, limits=Limits())
        self._api = create_api(self._engine)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._api

    async def check_health(self) -> None:
        """Called by Serve, at first before the replica gets requests: warms the model up, later proves that it still answers."""
        await self._engine.check_alive(30)


def build(options: Options) -> Application:
    """The application; ``serve run serve.app:build folder=…`` calls this."""
    return Embeddings.bind(options)  # type: ignore[attr-defined]
