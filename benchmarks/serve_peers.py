"""The servers that ``serve_load.py`` compares, each started for its turn and ended after it: only one is there at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import httpx
from serve_load_generator import MODEL, body_of

from mtd_ray.sandbox.ports import LOOPBACK, free_port

# With transformers 5 it does not start: its warm-up calls a method of tokenizers that is gone.
INFINITY = ("infinity-emb[server,torch]==0.0.78", "transformers<5")
_HERE = Path(__file__).parent
_START_S, _STOP_S, _POLL_S = 180.0, 30.0, 0.2


@dataclass(frozen=True)
class Contender:
    """A way of serving a model folder.

    Attributes:
        command: ``{model}`` and ``{port}`` are put in.
        route: where it takes OpenAI's requests.
        env: variables of its process besides ours.
    """

    name: str
    command: Sequence[str]
    route: str = "/v1/embeddings"
    env: Mapping[str, str] = field(default_factory=dict)


def bare_fastapi() -> Contender:
    return Contender("fastapi", (sys.executable, str(_HERE / "serve_bare.py"), "{model}", "{port}"))


def ours(mode: str, replicas: int, threads: int) -> Contender:
    """As ``serve_load_ours.py`` starts it."""
    script = str(_HERE / "serve_load_ours.py")
    return Contender("ours", (sys.executable, script, "{model}", "{port}", mode, str(replicas), str(threads)))


def infinity(venv: Path) -> Contender:
    """As it comes, which is with torch.compile; in float32 on the CPU, without logs of single requests."""
    options = [
        *("--engine", "torch", "--no-bettertransformer", "--device", "cpu", "--dtype", "float32", "--log-level", "warning"),
        *("--host", LOOPBACK, "--port", "{port}", "--model-id", "{model}", "--served-model-name", MODEL),
    ]
    command = (str(venv / "bin" / "infinity_emb"), "v2", *options)
    return Contender("infinity", command, "/embeddings", {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"})


def make_infinity(folder: Path) -> Path:
    """A virtual environment with infinity, the newest packages that it takes, and the version of torch that runs here."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    torch = f"torch=={version('torch').split('+')[0]}"
    subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *INFINITY, torch], check=True)
    return folder


class Running:
    """A contender that answers, for as long as the ``with`` block runs.

    Attributes:
        url: where it takes OpenAI's requests.

    Raises:
        SystemExit: it did not come up; the message ends with its last lines of output.
    """

    def __init__(self, contender: Contender, model: Path, log: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}{contender.route}"
        self._command = [part.format(model=model, port=port) for part in contender.command]
        self._env, self._log = os.environ | dict(contender.env), log

    def __enter__(self) -> Running:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, env=self._env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise SystemExit(f"{self._command} did not come up:\n{self._log.read_text(errors='replace')[-3000:]}")
            time.sleep(_POLL_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _answers(self) -> bool:
        try:
            return httpx.post(self.url, json=body_of("ready?"), timeout=_START_S).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
