"""A transformer encoder computed with 8-bit weights and activations on a CPU, by OpenVINO.

The transformer is traced, its weights are rounded to 8 bits by NNCF, and the result is kept in the user's cache under a digest of
the weights, so that a machine does this once per model. Activations are rounded while running, 64 numbers to a scale: unlike fixed
scales these need no calibration texts, and for all-MiniLM-L6-v2 the lowest cosine to float32 vectors is 0.997 on 200 mixed texts.
Everything that stays in floating point is computed in float32 on every processor: left to itself, OpenVINO takes bfloat16 where a
processor has it, and the vectors would depend on the machine. Pooling and everything after it stay as they are.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from mtd_ray.encoder.cache import built_once
from mtd_ray.encoder.traced import Traceable, example_inputs, tracing_quietly
from mtd_ray.errors import MtdError

_FAMILIES = ("bert", "camembert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
# Numbers of an activation that share a scale; with 384 it takes a tenth less time, and the lowest cosine falls to 0.991.
_GROUP_SIZE = 64
# Part of the digest of a stored model; raise it when anything below builds it differently.
_FORMAT = 1
_COMPRESSION = "INT8_SYM"


class Toolkit(NamedTuple):
    """The two packages, loaded only where they are used."""

    openvino: ModuleType
    nncf: ModuleType


def use_int8(model: SentenceTransformer, cache: Path) -> None:
    """Put an 8-bit copy in the place of the model's transformer; quantised now (seconds to a minute) unless it is in ``cache``.

    Vectors are slightly off: their cosine to float32 ones is above 0.99. That is on processors with 8-bit dot products (VNNI);
    others round the weights only.

    Raises:
        MtdError: OpenVINO or NNCF is not installed, or the model is not a text encoder of a family that is known to work.
    """
    tools = toolkit("backend openvino-int8")
    family = model[0].config.model_type if isinstance(model[0], Transformer) else type(model[0]).__name__
    if family not in _FAMILIES:
        raise MtdError(f"backend openvino-int8 does not know {family!r} models, only {', '.join(_FAMILIES)}; use backend torch")
    folder = cache / f"int8-{_digest(model[0].auto_model, tools)[:24]}"
    built_once(folder, lambda scratch: tools.openvino.save_model(quantised(model, tools), scratch / "model.xml"))
    model[0].model = Int8Transformer(model[0].config, folder / "model.xml", tools.openvino)


class Int8Transformer(nn.Module):
    """Answers like the transformers model whose quantised copy it runs: token ids → ``last_hidden_state`` (rows, tokens, size).

    Args:
        config: the transformers model's.
        file: OpenVINO's ``model.xml``.
    """

    def __init__(self, config: Any, file: Path, openvino: Any) -> None:
        super().__init__()
        self.config = config
        self.device = torch.device("cpu")
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP_SIZE,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = openvino.Core().compile_model(str(file), "CPU", options)
        self._names = [port.any_name for port in compiled.inputs]
        self._request = compiled.create_infer_request()

    def forward(self, **features: Tensor) -> BaseModelOutput:
        result = self._request.infer({name: features[name].numpy() for name in self._names}, share_inputs=True)
        return BaseModelOutput(last_hidden_state=torch.from_numpy(result[0]))


def toolkit(what: str) -> Toolkit:
    """OpenVINO and NNCF, silenced.

    Args:
        what: they are for, as whoever asked for it calls it.

    Raises:
        MtdError: one of them is not installed.
    """
    # Both packages report their use to their makers through this one, unless it cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise MtdError(f"{what} needs the package {error.name!r}: pip install 'mtd-ray[int8]'") from None
    # Not nncf.set_log_level, which also raises the level of every handler that others have put on its logger.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return Toolkit(openvino, nncf)


def _digest(model: PreTrainedModel, tools: Toolkit) -> str:
    """Of all that decides the stored model: weights, architecture, how it is rounded, and what traces, rounds and writes it."""
    versions = (tools.openvino.__version__, tools.nncf.__version__, torch.__version__, transformers.__version__)
    digest = hashlib.sha256(repr((_FORMAT, _COMPRESSION, *map(str, versions))).encode())
    digest.update(model.config.to_json_string().encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def quantised(model: SentenceTransformer, tools: Toolkit) -> Any:
    """The model's transformer with weights rounded to 8 bits, as OpenVINO's model: one output, ``last_hidden_state``."""
    with tracing_quietly():
        traced = tools.openvino.convert_model(Traceable(model[0].auto_model), example_input=example_inputs(model))
        traced.outputs[0].get_tensor().set_names({"last_hidden_state"})
        return tools.nncf.compress_weights(traced, mode=tools.nncf.CompressWeightsMode[_COMPRESSION])
