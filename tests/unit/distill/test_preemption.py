"""Notice that a machine is about to be taken away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from mtd_ray.distill.checkpoints.preemption import Preemption, aws_spot_notice, notice_sigterm


class Metadata(BaseHTTPRequestHandler):
    """EC2's instance metadata, version 2: nothing without a token that was asked for."""

    notice: str | None = None

    def do_PUT(self) -> None:
        known = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200 if known else 403, "secret-token")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "secret-token":
            self.answer(401, "")
        elif self.path != "/latest/meta-data/spot/instance-action" or self.notice is None:
            self.answer(404, "")
        else:
            self.answer(200, self.notice)

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Metadata, "notice", None)
    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_aws_tells_when_a_spot_machine_ends(metadata: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert aws_spot_notice(metadata) is None
    monkeypatch.setattr(Metadata, "notice", '{"action": "terminate", "time": "2030-01-02T08:22:00Z"}')
    assert aws_spot_notice(metadata) == "terminate at 2030-01-02T08:22:00Z"


def test_elsewhere_nobody_answers() -> None:
    with pytest.raises(httpx.HTTPError):
        aws_spot_notice("http://127.0.0.1:1")


def test_a_notice_is_taken_once_and_failures_to_ask_are_none() -> None:
    told = threading.Event()
    answers: list[Exception | str | None] = [httpx.ConnectError("no"), None, "terminate at noon"]

    def watch() -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            told.set()
        return answer

    with Preemption([watch], every_s=0.0) as preemption:
        assert told.wait(10)
        preemption._thread.join(10)
        assert preemption.taken()
        assert not preemption.taken()
    assert answers == []


def test_sigterm_is_a_notice_and_not_the_end() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        notice_sigterm()
        with Preemption() as preemption:
            assert not preemption.taken()
            os.kill(os.getpid(), signal.SIGTERM)
            assert preemption.taken()
            assert not preemption.taken()
    finally:
        signal.signal(signal.SIGTERM, before)
