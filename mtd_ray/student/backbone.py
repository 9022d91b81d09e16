"""From a student's configuration to its backbone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModel

from mtd_ray.config import StudentConfig
from mtd_ray.errors import RecipeError
from mtd_ray.quiet import without_progress_bars
from mtd_ray.student.architecture import cannot_load, chosen_layers, load_architecture, locate_student
from mtd_ray.student.reached import reached_parameters

# How many missing tensors a message names.
_NAMED = 3


def load_backbone(config: StudentConfig, seed: int) -> Any:
    """The backbone in float32: the layers that ``config.layers`` names, attending in both directions.

    Args:
        config: ``init: random`` takes only the architecture from the model and draws weights from ``seed``.
        seed: of the random weights.

    Raises:
        RecipeError: the model cannot be loaded, its weights do not fill the architecture, it has no such layers, takes fewer tokens
            than ``max_tokens``, or its attention cannot be made bidirectional.
    """
    try:
        backbone = _random(config, seed) if config.init == "random" else _pretrained(config)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise cannot_load(config, error) from error
    if not attends_both_ways(backbone):
        raise RecipeError(f"student.model: the attention of {config.model} is causal and cannot be made bidirectional")
    return backbone


def transformer_layers(backbone: Any) -> nn.ModuleList:
    """The stack of transformer layers: the first module list that is as long as the config says."""
    depth = backbone.config.num_hidden_layers
    for module in backbone.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise RecipeError(f"student.model: {type(backbone).__name__} has no list of {depth} transformer layers")


@torch.no_grad()
def attends_both_ways(backbone: Any) -> bool:
    """Whether the last token changes the first token's state, with and without padding in the batch."""
    device = next(backbone.parameters()).device
    token_ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]], device=device) % backbone.config.vocab_size
    full = torch.ones_like(token_ids)
    padded = torch.nn.functional.pad(token_ids, (0, 1)), torch.nn.functional.pad(full, (0, 1))
    was_training = backbone.training
    backbone.eval()
    states = [backbone(input_ids=ids, attention_mask=mask).last_hidden_state for ids, mask in ((token_ids, full), padded)]
    backbone.train(was_training)
    return all(not torch.equal(state[0, 0], state[1, 0]) for state in states)


def _random(config: StudentConfig, seed: int) -> Any:
    architecture = load_architecture(config)
    _keep_in_config(architecture, chosen_layers(config, architecture.num_hidden_layers))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModel.from_config(architecture, dtype=torch.float32, trust_remote_code=False)


def _pretrained(config: StudentConfig) -> Any:
    with torch.random.fork_rng(devices=[]), without_progress_bars():
        # A pooler that the checkpoint lacks is drawn at random: never used, but saved, so it must not differ from run to run.
        torch.manual_seed(0)
        backbone, found = AutoModel.from_pretrained(
            locate_student(config),
            revision=config.revision,
            trust_remote_code=False,
            config=load_architecture(config),
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
        )
    _check_filled(config, backbone, found["missing_keys"])
    if config.layers is not None:
        _keep_layers(backbone, chosen_layers(config, backbone.config.num_hidden_layers))
    return backbone


def _check_filled(config: StudentConfig, backbone: Any, missing: Collection[str]) -> None:
    """Refuse a checkpoint without tensors that the states depend on: transformers would draw these at random."""
    drawn = sorted(reached_parameters(backbone).intersection(missing)) if missing else []
    if drawn:
        named = ", ".join(drawn[:_NAMED]) + (", ..." if len(drawn) > _NAMED else "")
        raise RecipeError(
            f"student.model: the weights of {config.model} lack {len(drawn)} tensors of {type(backbone).__name__}: {named}; choose "
            "a model whose weights and config.json belong together, or write init: random"
        )


def _keep_layers(backbone: Any, chosen: tuple[int, ...]) -> None:
    layers = transformer_layers(backbone)
    kept = [layers[index] for index in chosen]
    del layers[:]
    layers.extend(kept)
    for index, layer in enumerate(kept):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index  # type: ignore[assignment]
    _keep_in_config(backbone.config, chosen)


def _keep_in_config(architecture: Any, chosen: tuple[int, ...]) -> None:
    kinds = getattr(architecture, "layer_types", None)
    if kinds is not None:
        architecture.layer_types = [kinds[index] for index in chosen]
    architecture.num_hidden_layers = len(chosen)
