"""The peer of the training benchmark: sentence-transformers' trainer with its EmbedDistillLoss on the same texts and targets."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.base.training_args import BatchSamplers
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from throughput_ours import BATCH, LAYERS, MAX_TOKENS, Speed
from torch import nn
from transformers import TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler


class _Clock(TrainerCallback):
    """When the first batch was asked for, and when the last step ended."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ended = time.perf_counter()


def peer(texts: list[str], vectors: npt.NDArray[np.float32], model: Path, *, steps: int, grouped: bool, threads: int) -> Speed:
    """Train in this process, after two steps to warm up.

    Args:
        grouped: draw batches of like length. The trainer has no option for that, but takes a sampler; it is given transformers'.
    """
    torch.set_num_threads(threads)
    os.environ.update(TOKENIZERS_PARALLELISM="false")
    student = _student(model)
    lengths = (
        [len(ids) for ids in student.tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]] if grouped else None
    )
    dataset = Dataset.from_dict({"sentence": texts, "label": vectors})
    loss = EmbedDistillLoss(student, distance_metric="cosine", projection_dim=vectors.shape[1])
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        for count in (2, steps):
            SentenceTransformerTrainer(
                model=student, args=_arguments(folder, count, lengths), train_dataset=dataset, loss=loss, callbacks=[clock]
            ).train()
    return Speed(steps * BATCH / (clock.ended - clock.began))


def _student(model: Path) -> SentenceTransformer:
    transformer = Transformer(str(model), max_seq_length=MAX_TOKENS)
    encoder = transformer.auto_model.encoder
    encoder.layer = nn.ModuleList([encoder.layer[index] for index in LAYERS])
    transformer.auto_model.config.num_hidden_layers = len(LAYERS)
    return SentenceTransformer(modules=[transformer, Pooling(transformer.get_embedding_dimension())], device="cpu")


def _arguments(folder: str, steps: int, lengths: list[int] | None) -> Any:
    return SentenceTransformerTrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-4,
        batch_sampler=BatchSamplers.BATCH_SAMPLER if lengths is None else partial(_of_like_length, lengths),
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )


def _of_like_length(lengths: list[int], dataset: Dataset, batch_size: int, drop_last: bool, **_: Any) -> DefaultBatchSampler:
    return DefaultBatchSampler(LengthGroupedSampler(batch_size, lengths=lengths), batch_size=batch_size, drop_last=drop_last)
