"""8-bit variants of an exported student for CPUs, in the files that sentence-transformers looks for.

```
onnx/model_qint8_avx512.onnx                        SentenceTransformer(folder, backend="onnx", model_kwargs={"file_name": …})
openvino/openvino_model_qint8_quantized.xml, .bin   the same with backend="openvino"
```

Only the transformer is in them; pooling and heads are the folder's. sentence-transformers writes such files with Optimum, whose
releases do not take the transformers that students are trained with, so they are written here with the same libraries below it:
ONNX Runtime's dynamic quantisation, as Optimum's ``avx512`` preset configures it but with a scale per channel, and NNCF's
compression of weights, which unlike fixed scales for activations needs no calibration texts. Whoever loads them needs Optimum.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from mtd_ray.encoder.int8 import quantised, toolkit
from mtd_ray.encoder.traced import Traceable, example_inputs, tracing_quietly
from mtd_ray.errors import MtdError
from mtd_ray.quiet import without_progress_bars

Variant = Literal["onnx", "openvino"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)

FILES: Mapping[Variant, str] = {"onnx": "onnx/model_qint8_avx512.onnx", "openvino": "openvino/openvino_model_qint8_quantized.xml"}
"""Where each variant lies in the folder."""

NEEDS: Mapping[Variant, str] = {"onnx": "sentence-transformers[onnx]<6", "openvino": "sentence-transformers[openvino]"}
"""What pip installs for whoever loads one. Optimum's ONNX part takes no transformers of sentence-transformers 6 yet."""

_OPENVINO = "the openvino variant"

# A file of ONNX is one protobuf message.
_MOST_BYTES = 2 * 10**9
_OPSET = 17
_CHECKED = ("one text", "another text, which is somewhat longer than those it was traced with, " * 3, "short")
# What was rounded differs by a few thousandths; what was traced wrongly differs in kind.
_LEAST_COSINE = 0.9


def add_variant(folder: Path, variant: Variant) -> float:
    """Write a variant into an exported folder.

    Returns:
        The lowest cosine between its pooled states and those of the folder's own weights, on a few texts.

    Raises:
        MtdError: a library is missing, or the student's transformer cannot be written so: it is too large, or does not trace.
    """
    with without_progress_bars():
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32})
    path = folder / FILES[variant]
    path.parent.mkdir(exist_ok=True)
    {"onnx": _write_onnx, "openvino": _write_openvino}[variant](model, path)
    cosine = _lowest_cosine(model, {"onnx": _run_onnx, "openvino": _run_openvino}[variant](path))
    if not cosine >= _LEAST_COSINE:
        raise MtdError(
            f"the {variant} variant of this student is not the same model (cosine {cosine:.3f} to its own vectors): its "
            f"transformer, {type(model[0].auto_model).__name__}, cannot be traced; export without this variant"
        )
    return cosine


def _write_onnx(model: SentenceTransformer, path: Path) -> None:
    transformer = model[0].auto_model
    if (size := 4 * sum(parameter.numel() for parameter in transformer.parameters())) > _MOST_BYTES:
        raise MtdError(
            f"an ONNX file holds at most 2 GB and this student's weights take {size / 1e9:.1f}; use the openvino variant"
        )
    inputs = example_inputs(model)
    axes = {0: "batch_size", 1: "sequence_length"}
    quantization = _onnx("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as scratch, tracing_quietly():
        whole = Path(scratch) / "model.onnx"
        torch.onnx.export(
            Traceable(transformer),
            tuple(inputs.values()),
            str(whole),
            input_names=list(inputs),
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys([*inputs, "last_hidden_state"], axes),
            opset_version=_OPSET,
            dynamo=False,
        )
        _quantise_onnx(quantization, whole, path)


def _quantise_onnx(quantization: Any, whole: Path, path: Path) -> None:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises, through the root logger, to pre-process
    try:
        quantization.quantize_dynamic(str(whole), str(path), weight_type=quantization.QuantType.QInt8, per_channel=True)
    finally:
        root.setLevel(level)


def _write_openvino(model: SentenceTransformer, path: Path) -> None:
    tools = toolkit(_OPENVINO)
    tools.openvino.save_model(quantised(model, tools), path)


Run = Callable[[dict[str, Any]], Any]
"""Inputs by name, as arrays → the last hidden state (rows, tokens, size)."""


def _run_onnx(path: Path) -> Run:
    session = _onnx("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["last_hidden_state"], inputs)[0]


def _run_openvino(path: Path) -> Run:
    compiled = toolkit(_OPENVINO).openvino.Core().compile_model(str(path), "CPU")
    return lambda inputs: compiled(inputs)["last_hidden_state"]


def _onnx(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise MtdError(f"the onnx variant needs the package {error.name!r}: pip install 'mtd-ray[onnx]'") from None


@torch.inference_mode()
def _lowest_cosine(model: SentenceTransformer, run: Run) -> float:
    inputs = example_inputs(model, _CHECKED)
    ours = model[0].auto_model(**inputs).last_hidden_state
    theirs = torch.from_numpy(run({name: tensor.numpy() for name, tensor in inputs.items()}))
    mask = inputs["attention_mask"].unsqueeze(-1).float()
    return float(torch.cosine_similarity(_mean(ours, mask), _mean(theirs, mask)).min())


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return (states * mask).sum(1) / mask.sum(1)
