"""The peer of the quality benchmark: sentence-transformers' trainer with EmbedDistillLoss, towards the concatenated teachers."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from quality_data import MAX_TOKENS, TrainingSet
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch import nn


def cut_student(model: Path, layers: tuple[int, ...]) -> SentenceTransformer:
    """The same backbone, layers and pooling as the recipe's student."""
    transformer = Transformer(str(model), max_seq_length=MAX_TOKENS)
    encoder = transformer.auto_model.encoder
    encoder.layer = nn.ModuleList([encoder.layer[index] for index in layers])
    transformer.auto_model.config.num_hidden_layers = len(layers)
    return SentenceTransformer(modules=[transformer, Pooling(transformer.get_embedding_dimension()), Normalize()], device="cpu")


def train_peer(
    data: TrainingSet, model: Path, layers: tuple[int, ...], *, steps: int, batch_size: int, lr: float, threads: int, into: Path
) -> None:
    """Train in this process; ``into``/student and ``into``/projection.npz hold the result, ``into``/timing.json the seconds."""
    torch.set_num_threads(threads)
    os.environ.update(TOKENIZERS_PARALLELISM="false")
    torch.manual_seed(0)
    student = cut_student(model, layers)
    target = np.concatenate([data.targets[name].astype(np.float32) for name in data.targets], axis=1)
    loss = EmbedDistillLoss(student, distance_metric="cosine", projection_dim=target.shape[1])
    dataset = Dataset.from_dict({"sentence": data.texts, "label": target})
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SentenceTransformerTrainer(
            model=student, args=_arguments(scratch, steps, batch_size, lr), train_dataset=dataset, loss=loss
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
    student.save(str(into / "student"))
    assert loss.projection is not None
    weights = {name: parameter.detach().numpy() for name, parameter in loss.projection.named_parameters()}
    np.savez(into / "projection.npz", **weights)
    (into / "timing.json").write_text(json.dumps({"seconds": seconds, "steps": steps}))


def _arguments(folder: str, steps: int, batch_size: int, lr: float) -> Any:
    return SentenceTransformerTrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=lr,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
