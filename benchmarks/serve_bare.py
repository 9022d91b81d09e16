"""The server that anybody writes first: FastAPI and ``SentenceTransformer.encode`` in one thread.

python benchmarks/serve_bare.py MODEL PORT
"""

from __future__ import annotations

import asyncio
import base64
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer


class Question(BaseModel):
    """The part of OpenAI's request that is used here."""

    input: str | list[str]
    model: str
    encoding_format: Literal["float", "base64"] = "float"


def create_app(model: str) -> FastAPI:
    app, encoder, thread = FastAPI(), SentenceTransformer(model, device="cpu"), ThreadPoolExecutor(1)

    def encode(texts: list[str]) -> Any:
        return encoder.encode(texts, show_progress_bar=False)

    @app.post("/v1/embeddings")
    async def embeddings(question: Question) -> dict[str, Any]:
        texts = [question.input] if isinstance(question.input, str) else question.input
        vectors = await asyncio.get_running_loop().run_in_executor(thread, encode, texts)
        if question.encoding_format == "base64":
            rows = [base64.b64encode(vector.tobytes()).decode() for vector in vectors]
        else:
            rows = vectors.tolist()
        return {"object": "list", "model": question.model, "data": [{"index": i, "embedding": row} for i, row in enumerate(rows)]}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
