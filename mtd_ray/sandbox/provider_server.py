"""A provider of embeddings on this machine, as a process of its own: `python -m mtd_ray.sandbox.provider_server --key-env NAME`.

It speaks the wire formats of OpenAI (``/v1/embeddings``), Cohere (``/v2/embed``) and Voyage (``/voyage/v1/embeddings``, so that a
client's base URL is ``http://host:port/voyage/v1``), enforces the key, the caps and a quota, does wrong on request, and answers
with vectors of real models. :class:`ProviderServer` starts and stops it.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import orjson

from mtd_ray.errors import MtdError
from mtd_ray.sandbox.ports import LOOPBACK
from mtd_ray.sandbox.provider_faults import Fault
from mtd_ray.sandbox.provider_quota import QuotaChange
from mtd_ray.sandbox.provider_settings import ProviderSettings

_ROOT = Path(__file__).resolve().parents[2]  # so that `-m` finds this package, installed or not
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0


class ProviderServer:
    """Runs the server for as long as the ``with`` block lasts.

    Args:
        env: one variable, the name and value of the account's key; handed over in the environment, never on the command line.
        port: 0 takes a free one.
        requests_per_minute, tokens_per_minute, inputs_per_minute: the account's quota; None does not limit the inputs (texts).
        quota_schedule: changes of the quota, counted from the first request that reaches the account.
        burst_s: how many seconds of quota the account may save up; it starts with that much.
        charge_refused: True lets requests that the quota turned away count against it, as OpenAI's rate limit guide says they do.
        rate_headers: False hides every header that tells of the quota, ``retry-after`` too (only a fault that names its own still
            shows it).
        usd_per_million_tokens: the price of models that the catalogue does not list, the sandbox's own.
        faults: what goes wrong from the start; :meth:`set_faults` changes it.
        seed: of faults that strike by chance.

    Raises:
        MtdError: it did not start; what it says about that is on standard error.
    """

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        port: int = 0,
        requests_per_minute: float = 10_000,
        tokens_per_minute: float = 10_000_000,
        inputs_per_minute: float | None = None,
        quota_schedule: Sequence[QuotaChange] = (),
        burst_s: float = 60.0,
        charge_refused: bool = False,
        rate_headers: bool = True,
        usd_per_million_tokens: float = 0.1,
        faults: Sequence[Fault] = (),
        seed: int = 0,
    ) -> None:
        ((key_name, _),) = env.items()
        self._env = dict(env)
        settings = ProviderSettings(
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            inputs_per_minute=inputs_per_minute,
            quota_schedule=tuple(quota_schedule),
            burst_s=burst_s,
            charge_refused=charge_refused,
            rate_headers=rate_headers,
            usd_per_million_tokens=usd_per_million_tokens,
            faults=tuple(faults),
            seed=seed,
        )
        self._command = [
            *(sys.executable, "-m", "mtd_ray.sandbox.provider_server", "--key-env", key_name, "--port", str(port)),
            *("--settings", settings.model_dump_json(exclude_defaults=True), "--end-with-parent"),
        ]
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""

    def __enter__(self) -> ProviderServer:
        self._process = subprocess.Popen(  # noqa: S603 (this module's own command)
            self._command, cwd=_ROOT, env=os.environ | self._env, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        timer = threading.Timer(_START_TIMEOUT_S, self._process.kill)
        timer.start()
        try:
            self.base_url = self._address(self._process)
        except BaseException:
            self._stop()
            raise
        finally:
            timer.cancel()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    @property
    def cohere_url(self) -> str:
        """Base URL for Cohere's clients, which add ``/v2/embed``."""
        return self.base_url.removesuffix("/v1")

    @property
    def voyage_url(self) -> str:
        """Base URL for Voyage's clients, which add ``/embeddings``."""
        return f"{self.cohere_url}/voyage/v1"

    def ledger(self, *, by_text: bool = True) -> dict[str, Any]:
        """What the server was paid for and how its quota was used. It changes only with requests, not with time.

        The keys are those of :meth:`mtd_ray.sandbox.provider_ledger.Ledger.to_json` and
        :meth:`mtd_ray.sandbox.provider_timeline.Timeline.to_json`; ``by_text`` False leaves out ``by_sha256``, which is long after
        many texts. :func:`mtd_ray.sandbox.provider_timeline.quota_use` gives the share of the quota that was used.
        """
        answer = httpx.get(self._admin("ledger"), params={"by_text": int(by_text)}, timeout=60)
        ledger: dict[str, Any] = answer.raise_for_status().json()
        return ledger

    def set_faults(self, *faults: Fault) -> None:
        """Replace what goes wrong; requests are counted from 1 again."""
        httpx.put(self._admin("faults"), content=orjson.dumps([fault.model_dump() for fault in faults])).raise_for_status()

    def set_quota(self, *, requests_per_minute: float, tokens_per_minute: float, inputs_per_minute: float | None = None) -> None:
        """Change the account's quota now; what is left of the schedule is dropped."""
        limits = {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "inputs_per_minute": inputs_per_minute,
        }
        httpx.put(self._admin("quota"), content=orjson.dumps(limits)).raise_for_status()

    def _admin(self, what: str) -> str:
        return f"{self.cohere_url}/sandbox/{what}"

    @staticmethod
    def _address(process: subprocess.Popen[str]) -> str:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("http://"):
            raise MtdError(f"the provider server did not start (exit code {process.poll()}); its own message stands above")
        return line.strip()

    def _stop(self) -> None:
        if self._process is None:
            return
        for sign, patience in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, None)):
            try:
                os.killpg(self._process.pid, sign)
                self._process.wait(timeout=patience)
                break
            except ProcessLookupError:
                self._process.wait()
                break
            except subprocess.TimeoutExpired:
                continue
        if self._process.stdout:
            self._process.stdout.close()
        self._process = None


def main() -> None:
    """Serve until told to stop. Writes the base URL to standard output once it is reachable."""
    import uvicorn

    from mtd_ray.sandbox.provider_app import Provider

    arguments = _parser().parse_args()
    provider = Provider(os.environ[arguments.key_env], ProviderSettings.model_validate_json(arguments.settings))
    listener = socket.create_server((LOOPBACK, arguments.port), backlog=512)
    if arguments.end_with_parent:
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    sys.stdout.write(f"http://{LOOPBACK}:{listener.getsockname()[1]}/v1\n")
    sys.stdout.flush()
    config = uvicorn.Config(
        provider.app(),
        http=provider.connections.protocol(),
        log_level="critical",  # a fault that breaks a connection is no error worth a stack trace
        access_log=False,
        timeout_keep_alive=75,  # longer than clients keep an idle connection: none is closed just as it is used again
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="provider_server", description="A provider of embeddings on loopback.")
    parser.add_argument("--key-env", required=True, help="environment variable that holds the account's key")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--settings", default="{}", help="JSON object: quota, prices, faults; see provider_settings.py")
    parser.add_argument("--end-with-parent", action="store_true", help="stop when the process that started it is gone")
    return parser


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
