"""Load on an embedding server: ``wrk``, a generator in C, sends prepared requests of one text each as fast as they are answered."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from reference_texts import reference_texts

MODEL = "measured"
PATIENCE_S = 60
_SCRIPT = Path(__file__).with_name("serve_load.lua")


@dataclass(frozen=True)
class Load:
    """What one server did under one load; latencies are seen by the client, in milliseconds."""

    requests_per_s: float
    mean_ms: float
    p50_ms: float
    p99_ms: float


def texts_of(folder: Path | None, count: int) -> tuple[list[str], str]:
    """Training texts as they come, drawn at random, and where they are from: the folder, or Python's language reference."""
    rng = random.Random(17)
    if folder is None:
        return reference_texts(count, rng), "language reference"
    import pyarrow.parquet as pq

    training = pq.read_table(folder / "train_texts" / "train.parquet", columns=["text"])["text"]
    return training.take(rng.sample(range(len(training)), count)).to_pylist(), f"{folder.name}/train_texts"


def body_of(text: str) -> dict[str, Any]:
    """A request as OpenAI's own client sends it, which asks for base64; who does not know ``truncate`` cuts long texts anyway."""
    return {"model": MODEL, "input": text, "encoding_format": "base64", "truncate": True}


def write_bodies(texts: Sequence[str], file: Path) -> Path:
    """One request body a line."""
    file.write_text("".join(json.dumps(body_of(text)) + "\n" for text in texts), encoding="utf-8")
    return file


def require_generator() -> None:
    """End with a word of what to do when ``wrk`` is missing."""
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark needs the load generator wrk on the path (Debian and Ubuntu: apt-get install wrk)")


def load(url: str, bodies: Path, *, concurrency: int, seconds: float) -> Load:
    """Keep ``concurrency`` requests under way for so many seconds.

    Raises:
        SystemExit: a request failed; figures with failures in them compare nothing.
    """
    options = ["-t1", f"-c{concurrency}", f"-d{seconds:.0f}s", f"--timeout={PATIENCE_S}s", f"-s{_SCRIPT}"]
    command = ["wrk", *options, url, "--", str(bodies)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=seconds + 2 * PATIENCE_S).stdout
    found = json.loads(output.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise SystemExit(f"{url}: {found['failed']} requests failed and {found['requests']} were answered\n{output}")
    return Load(found["requests"] / found["seconds"], found["mean_ms"], found["p50_ms"], found["p99_ms"])


def served_vectors(url: str, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Vectors (texts, dim) of the server, asked one after the other."""
    rows = []
    with httpx.Client(timeout=PATIENCE_S) as client:
        for text in texts:
            answer = client.post(url, json=body_of(text)).raise_for_status().json()
            rows.append(np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4"))
    return np.stack(rows)
