"""What a bulk embedding is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mtd_ray.embed.forms import Dtype
from mtd_ray.encoder.backends import Backend
from mtd_ray.encoder.prompts import InputType

ComputeDtype = Literal["float32", "bfloat16", "float16"]
COMPUTE_DTYPES: tuple[ComputeDtype, ...] = get_args(ComputeDtype)


@dataclass(frozen=True)
class EmbedOptions:
    """Which vectors, of which texts, and what computes them.

    Attributes:
        size: of the vectors; None for the student's default.
        input_type: what the texts are: the student's prompt for that stands before each, where it has one.
        prompt_name: this of the student's prompts instead; an empty name is none.
        dtype, normalize: see :func:`mtd_ray.embed.forms.as_dtype`.
        text_column: where the texts are.
        vector_column: what the vectors' column is called.
        columns: of the input, those that come back beside the vectors; None for all but the texts.
        compute_dtype, backend, batch_tokens: as for :meth:`mtd_ray.encoder.Encoder.load`.
        workers: actors; they may be fewer while the cluster has no room for more.
        cpus, gpus: what each takes.
        in_flight: pieces that each works at at once, so that reading, tokenising and writing go on during a forward pass.
        piece_rows: about how many rows are lost when a worker dies.
    """

    size: int | None = None
    input_type: InputType = "document"
    prompt_name: str | None = None
    dtype: Dtype = "float32"
    normalize: bool = False
    text_column: str = "text"
    vector_column: str = "vector"
    columns: tuple[str, ...] | None = None
    compute_dtype: ComputeDtype = "float32"
    backend: Backend = "torch"
    batch_tokens: int | None = None
    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    in_flight: int = 2
    piece_rows: int = 4_096
