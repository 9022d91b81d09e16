"""A headless Chromium, driven over chromedriver's HTTP protocol."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


class Browser:
    """One session: a page at a time."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, page: Path) -> None:
        self._ask("url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """What a script in the page returns."""
        return self._ask("execute/sync", {"script": script, "args": []})

    def messages(self) -> list[dict[str, Any]]:
        """What the console said since the last call."""
        found: list[dict[str, Any]] = self._ask("se/log", {"type": "browser"})
        return found

    def resize(self, width: int, height: int) -> None:
        """The page's own size, as a phone's or a desktop's."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        return _post(f"{self._url}/{path}", body)


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser whose profile is in an empty folder; gone at the end."""
    driver = subprocess.Popen([shutil.which("chromedriver") or "", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        started = next(found for line in driver.stdout if (found := re.search(r"started successfully on port (\d+)", line)))
        base = f"http://127.0.0.1:{started[1]}/session"
        session = _post(base, {"capabilities": {"alwaysMatch": _capabilities(folder)}})["sessionId"]
        try:
            yield Browser(f"{base}/{session}")
        finally:
            _send(urllib.request.Request(f"{base}/{session}", method="DELETE"))
    finally:
        driver.terminate()
        driver.wait(30)


def _capabilities(folder: Path) -> dict[str, Any]:
    options: dict[str, Any] = {"args": [*FLAGS, f"--user-data-dir={folder}"]}
    if (chromium := shutil.which("chromium")) is not None:
        options["binary"] = chromium
    return {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}


def _post(url: str, body: dict[str, Any]) -> Any:
    data = json.dumps(body).encode()
    return _send(urllib.request.Request(url, data=data, headers={"content-type": "application/json"}))


def _send(request: urllib.request.Request) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as answer:
        return json.load(answer)["value"]
