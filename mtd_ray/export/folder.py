"""A trained student as a sentence-transformers folder.

```
modules.json                        Transformer "", 1_Pooling, 2_Dense_{default size}
config.json model.safetensors …     the backbone, in files of at most 5 GB, and its tokenizer
1_Pooling/config.json
2_Dense_{size}/                     one linear layer per size; a user changes the size by editing modules.json
config_sentence_transformers.json   prompts, similarity cosine
sentence_bert_config.json           max_seq_length
README.md                           the model card
```

The same layout as the published Stella v5 models. There is no Normalize module: vectors are compared by cosine. File formats are
the oldest that say the same thing, so that old versions of sentence-transformers load the folder too.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sentence_transformers
import torch
import transformers
from safetensors.torch import save_file

from mtd_ray.config import ExportDtype
from mtd_ray.errors import MtdError
from mtd_ray.quiet import without_progress_bars

if TYPE_CHECKING:
    from mtd_ray.card import ModelCard
    from mtd_ray.config import StudentConfig
    from mtd_ray.student import Student

# What transformers wrote for years, and every hub client downloads well.
_SHARD_SIZE = "5GB"

_POOLING = {"mean": "pooling_mode_mean_tokens", "last": "pooling_mode_lasttoken", "cls": "pooling_mode_cls_token"}


def export_student(
    student: Student, folder: Path, *, card: ModelCard | None, dtype: ExportDtype = "float32", shard_size: str = _SHARD_SIZE
) -> None:
    """Write a student as a folder that plain ``SentenceTransformer(folder)`` loads, giving the default head's vectors.

    Args:
        folder: is made when missing; must be empty.
        card: becomes README.md; None writes none.
        dtype: of all weights; a plain load then computes in it too.
        shard_size: how large a file of the backbone's weights may be, as transformers reads it.

    Raises:
        MtdError: the folder holds something already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise MtdError(f"cannot export to {folder}: it is not empty; name a new folder")
    _write_backbone(student.backbone, folder, dtype, shard_size)
    _padding(student.tokenizer).save_pretrained(folder)
    for size in student.config.heads:
        _write_head(*student.linear(size), folder / f"2_Dense_{size}", dtype)
    _write_configs(student.config, student.hidden_size, folder)
    if card is not None:
        (folder / "README.md").write_text(card.markdown(), encoding="utf-8")


def exported_dtype(folder: Path) -> ExportDtype:
    """The dtype in which an exported folder's weights are stored."""
    dtype: ExportDtype = json.loads((folder / "config.json").read_text(encoding="utf-8"))["dtype"]
    return dtype


def _write_backbone(backbone: Any, folder: Path, dtype: ExportDtype, shard_size: str) -> None:
    weights = {name: _stored(tensor, dtype) for name, tensor in backbone.state_dict().items()}
    with without_progress_bars():
        backbone.save_pretrained(folder, state_dict=weights, max_shard_size=shard_size)
    # transformers writes the dtype of the module, which stays as it is.
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _write_json(folder / "config.json", config | {"dtype": dtype})


def _stored(tensor: torch.Tensor, dtype: ExportDtype) -> torch.Tensor:
    tensor = tensor.detach().cpu()
    return tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor


def _write_configs(config: StudentConfig, hidden_size: int, folder: Path) -> None:
    chosen = f"2_Dense_{config.export_head}"
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate((("", "Transformer"), ("1_Pooling", "Pooling"), (chosen, "Dense")))
    ]
    _write_json(folder / "modules.json", modules)
    pooling = {"word_embedding_dimension": hidden_size} | {key: how == config.pooling for how, key in _POOLING.items()}
    _write_json(folder / "1_Pooling" / "config.json", pooling | {"pooling_mode_max_tokens": False, "include_prompt": True})
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": config.max_tokens, "do_lower_case": False})
    versions = {lib.__name__: lib.__version__ for lib in (sentence_transformers, transformers)} | {"pytorch": torch.__version__}
    about = {"__version__": versions, "prompts": config.prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    _write_json(folder / "config_sentence_transformers.json", about)


def _write_head(weight: torch.Tensor, bias: torch.Tensor, folder: Path, dtype: ExportDtype) -> None:
    folder.mkdir()
    # Copies: a prefix of a nested student's layer would be written with the whole layer's memory.
    tensors = {f"linear.{name}": _stored(tensor, dtype).clone() for name, tensor in (("weight", weight), ("bias", bias))}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    out_features, in_features = weight.shape
    config = {"in_features": in_features, "out_features": out_features, "bias": True}
    _write_json(folder / "config.json", config | {"activation_function": "torch.nn.modules.linear.Identity"})


def _padding(tokenizer: Any) -> Any:
    """The tokenizer with a padding token: decoders often have none, and batches cannot be made without. Padding is masked."""
    if tokenizer.pad_token is None:
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
